package main

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dkimRFCZone has the keys of the examples in RFC 6376 appendix C and RFC 8463 appendix A.
const dkimRFCZone = `
	brisbane._domainkey.example.com TXT v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYtIxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhitdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB
	test._domainkey.football.example.com TXT v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB
	brisbane._domainkey.football.example.com TXT v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
`

// dkimRFC6376 is the message of RFC 6376 appendix A.2, dkimRFC8463 that of RFC 8463 appendix A.3.
const (
	dkimRFC6376 = `DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
      4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
      KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
      4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
` + dkimRFCMail
	dkimRFC8463 = `DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
` + dkimRFCMail
	dkimRFCMail = `From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
`
)

var dkimTestNow = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// dkimCheck checks the signatures of a message.
func dkimCheck(t testing.TB, zone testZone, msg []byte) []dkimResult {
	t.Helper()
	header, body, _ := bytes.Cut(msg, []byte("\r\n\r\n"))
	fields := dkimFields(string(header) + "\r\n")
	now := dkimTestNow
	if time.Now().After(now) { // others' programs sign with today's date
		now = time.Now()
	}
	forms := bodyForms(fields, now)
	if err := forms.read(bytes.NewReader(body)); err != nil {
		t.Fatal(err)
	}
	keys := &keyAsker{dns: &testDNS{zone: zone}, skip: func(string) bool { return false }}
	return verifyDKIM(t.Context(), fields, forms.end(), keys, now)
}

func dkimWords(all []dkimResult) string {
	var w []string
	for _, r := range all {
		w = append(w, r.result)
	}
	return strings.Join(w, " ")
}

func TestDKIMVectors(t *testing.T) {
	zone := newTestZone(t, dkimRFCZone)
	for _, m := range []struct{ name, text, want string }{
		{"RFC 6376 A.2", dkimRFC6376, "pass"},
		{"RFC 8463 A.3", dkimRFC8463, "pass pass"},
		{"none", dkimRFCMail, ""},
		{"another body", strings.Replace(dkimRFC8463, "Joe.\n", "Jim.\n", 1), "fail fail"},
		{"another subject", strings.Replace(dkimRFC8463, "dinner", "supper", 1), "fail fail"},
		{"another From in front", strings.Replace(dkimRFC8463, "From:", "From: eve@example.net\nFrom:", 1), "fail fail"},
		{"blanks and empty lines", strings.Replace(dkimRFC8463, "Are you", "Are \t you", 1) + "\n\n", "pass pass"},
		{"blanks in a simple body", strings.Replace(dkimRFC6376, "Are you", "Are  you", 1), "fail"},
	} {
		if got := dkimWords(dkimCheck(t, zone, crlf(m.text))); got != m.want {
			t.Errorf("%s: %q, not %q: %+v", m.name, got, m.want, dkimCheck(t, zone, crlf(m.text)))
		}
	}
	// RFC 6376 §3.4.5
	fields := dkimFields("A: X\r\nB : Y\t\r\n\tZ  \r\n")
	if got := canonField(fields[0].raw, true) + canonField(fields[1].raw, true); got != "a:X\r\nb:Y Z\r\n" {
		t.Errorf("relaxed header %q", got)
	}
	if got := canonField(fields[1].raw, false); got != "B : Y\t\r\n\tZ  \r\n" {
		t.Errorf("simple header %q", got)
	}
	for _, b := range []struct {
		relaxed    bool
		text, want string
	}{
		{true, " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"}, {false, " C \r\nD \t E\r\n\r\n\r\n", " C \r\nD \t E\r\n"},
		{true, "", ""}, {false, "", "\r\n"}, {true, "\r\n \r\n", ""}, {false, "\r\n\r\n", "\r\n"}, {true, "a", "a\r\n"}, {false, "a \r\n\r\n ", "a \r\n\r\n \r\n"},
		{true, "a \r\n\r\n ", "a\r\n"}, {true, "a\rb\nc\r", "a\rb\nc\r\r\n"}, {false, "a\r\r\n", "a\r\r\n"},
	} {
		for cut := range len(b.text) + 1 { // wherever the pieces are cut
			h := newDKIMBody(b.relaxed)
			io.WriteString(h, b.text[:cut])
			io.WriteString(h, b.text[cut:])
			sum, n := h.end()
			if want := sha256.Sum256([]byte(b.want)); !bytes.Equal(sum, want[:]) || n != int64(len(b.want)) {
				t.Errorf("relaxed %v %q cut at %d: %d octets, not those of %q", b.relaxed, b.text, cut, n, b.want)
			}
		}
	}
}

// dkimTestPair is a pair of keys, made once: emulation takes its time for RSA.
var dkimTestPair = sync.OnceValue(func() []DKIMKey {
	keys, err := NewDKIMKeys(1, DKIMActive)
	if err != nil {
		panic(err)
	}
	return keys
})

// dkimTestKeys are keys of example.org, and the zone that has their records.
var dkimTestKeys = sync.OnceValues(func() ([]dkimSigner, string) {
	keys := dkimTestPair()
	var all []dkimSigner
	zone := ""
	for _, k := range keys {
		key, err := k.signer()
		if err != nil {
			panic(err)
		}
		record, err := k.Record()
		if err != nil {
			panic(err)
		}
		all = append(all, dkimSigner{"example.org", k.Selector, key})
		zone += k.Selector + "._domainkey.example.org TXT " + record + "\n"
	}
	return all, zone
})

// dkimSigned signs a message.
func dkimSignedMail(t testing.TB, msg []byte, keys ...dkimSigner) []byte {
	t.Helper()
	write := func(w io.Writer) error {
		for p := range slices.Chunk(msg, 100) {
			if _, err := w.Write(p); err != nil {
				return err
			}
		}
		return nil
	}
	fields, err := signMail(write, 1<<20, func(string) []dkimSigner { return keys })
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte(fields), msg...)
}

// dkimCorpus is mail from example.org in all charsets, in every form in which it can leave, signed.
func dkimCorpus(t *testing.T) map[string][]byte {
	keys, _ := dkimTestKeys()
	all := map[string][]byte{}
	for name, msg := range corpus() {
		if !bytes.Contains(msg, []byte("\r\n\r\n")) || name == "no header" || strings.HasPrefix(name, "bare") {
			continue
		}
		if !bytes.Contains(msg, []byte("From: ")) || name == "global" {
			msg = append([]byte("From: ann@example.org\r\n"), msg...)
		}
		for i, hop := range []PeerCan{{}, {EightBit: true}, {UTF8: true, EightBit: true}, {UTF8: true, EightBit: true, Binary: true}} {
			all[fmt.Sprintf("%s-%d", strings.ReplaceAll(name, " ", "_"), i)] = dkimSignedMail(t, convert(t, hop, msg), keys...)
		}
	}
	return all
}

func TestDKIMSign(t *testing.T) {
	_, text := dkimTestKeys()
	zone := newTestZone(t, text)
	for name, msg := range dkimCorpus(t) {
		if got := dkimWords(dkimCheck(t, zone, msg)); got != "pass pass" {
			t.Errorf("%s: %s\n%s", name, got, msg)
		}
		for line := range bytes.Lines(msg[:bytes.Index(msg, []byte("\r\nFrom: "))]) {
			if len(line) > 100 {
				t.Errorf("%s: a line of %d octets in a signature", name, len(line))
			}
		}
		for _, add := range []string{"From: eve@example.net\r\n", "Subject: win\r\n", "Content-Type: text/html\r\n", "Reply-To: eve@example.net\r\n"} { // none can be put in front
			if got := dkimWords(dkimCheck(t, zone, append([]byte(add), msg...))); got != "fail fail" {
				t.Errorf("%s with %q: %s", name, add, got)
			}
		}
	}
}

// debianPython is a python3 that has the modules, or the test is skipped.
func debianPython(t *testing.T, modules string) string {
	t.Helper()
	for _, p := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(p, "-c", "import "+modules).Run() == nil {
			return p
		}
	}
	skip(t, "no python3 with ", modules)
	return ""
}

// debianProgram is the path of a program, or the test is skipped.
func debianProgram(t *testing.T, name string) string {
	t.Helper()
	program, err := exec.LookPath(name)
	if err != nil {
		program = "/usr/sbin/" + name
	}
	if _, err := os.Stat(program); err != nil {
		skip(t, "no "+name)
	}
	return program
}

// Others' programs check our signatures over every conversion, and theirs are checked here.
func TestDKIMPython(t *testing.T) {
	python := debianPython(t, "dkim, nacl")
	dir := t.TempDir()
	_, text := dkimTestKeys()
	n := 0
	for name, msg := range dkimCorpus(t) {
		if strings.HasPrefix(name, "junk_header") { // it takes no message with such a line
			continue
		}
		n++
		if err := os.WriteFile(filepath.Join(dir, name+".eml"), msg, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "zone"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pem := "-----BEGIN RSA PRIVATE KEY-----\n" + base64.StdEncoding.EncodeToString(x509.MarshalPKCS1PrivateKey(key)) + "\n-----END RSA PRIVATE KEY-----\n"
	os.WriteFile(filepath.Join(dir, "key.pem"), []byte(pem), 0o600)
	out, err := exec.Command(python, "-c", `
import dkim, glob, sys
zone = {}
for line in open(sys.argv[1] + "/zone"):
    name, _, text = line.rstrip("\n").split(" ", 2)
    zone[name + "."] = text.encode()
def txt(name, timeout=5):
    return zone.get(name.decode() if isinstance(name, bytes) else name)
pem = open(sys.argv[1] + "/key.pem", "rb").read()
n = 0
for f in sorted(glob.glob(sys.argv[1] + "/*.eml")):
    m = open(f, "rb").read()
    d = dkim.DKIM(m)
    for i in range(2):
        try:
            if not d.verify(idx=i, dnsfunc=txt): print("fail", i, f)
        except Exception as e: print("error", i, f, repr(e))
        n += 1
    forms = ((b"relaxed", b"relaxed"), (b"simple", b"simple"), (b"relaxed", b"simple"))
    for c in forms[n // 2 % 3:][:f.endswith("-0.eml")]: # its RSA is slow
        sig = dkim.sign(m, b"theirs", b"example.org", pem, canonicalize=c)
        open(f + "." + c[0].decode() + "." + c[1].decode() + ".theirs", "wb").write(sig + m)
print("checked", n)
`, dir).CombinedOutput()
	if err != nil || string(out) != fmt.Sprintf("checked %d\n", 2*n) {
		t.Errorf("python3-dkim: %v\n%s", err, out)
	}
	der, _ := x509.MarshalPKIXPublicKey(key.Public())
	zone := newTestZone(t, text+"theirs._domainkey.example.org TXT v=DKIM1; p="+base64.StdEncoding.EncodeToString(der))
	theirs, _ := filepath.Glob(filepath.Join(dir, "*.theirs"))
	if len(theirs) != n/4 {
		t.Fatalf("%d messages signed by python3-dkim, not %d", len(theirs), n/4)
	}
	for _, f := range theirs {
		msg, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if got := dkimWords(dkimCheck(t, zone, msg)); got != "pass pass pass" {
			t.Errorf("%s: %s", f, got)
		}
	}
}

// opendkim checks our signatures over every conversion, and its own are checked here.
func TestDKIMOpenDKIM(t *testing.T) {
	program := debianProgram(t, "opendkim")
	dir := t.TempDir()
	_, text := dkimTestKeys()
	var keys strings.Builder
	for line := range strings.Lines(text) {
		name, record, _ := strings.Cut(line, " TXT ")
		keys.WriteString(name + " " + record)
	}
	os.WriteFile(filepath.Join(dir, "keys"), []byte(keys.String()), 0o600)
	os.WriteFile(filepath.Join(dir, "conf"), []byte("Mode v\nTestPublicKeys "+filepath.Join(dir, "keys")+"\nRequireSafeKeys no\nSyslog no\n"), 0o600)
	var files, seven []string
	for name, msg := range dkimCorpus(t) {
		if strings.HasPrefix(name, "junk_header") { // to it the header ends in front of a line that is no field, as it does for other servers on the way
			continue
		}
		if bytes.IndexByte(msg, 0) >= 0 { // in the form for BINARYMIME; to it a line ends at a NUL
			continue
		}
		if !bytes.HasSuffix(msg, []byte("\r\n")) { // as DATA sends it
			msg = append(msg, '\r', '\n')
		}
		f := filepath.Join(dir, name+".eml")
		if err := os.WriteFile(f, msg, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		if strings.HasSuffix(name, "-0") && name != "big5-0" { // which is from somebody for whom it has no key
			seven = append(seven, f)
		}
	}
	cmd := exec.Command(program, "-x", filepath.Join(dir, "conf"), "-t", strings.Join(files, ","), "-v")
	var out, more bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &more
	err := cmd.Run()
	if n := strings.Count(out.String()+more.String(), "verification (s=postino1, d=example.org, 2048-bit key) succeeded"); err != nil || n != len(files) {
		t.Errorf("opendkim: %v, %d of %d verified\n%s%s", err, n, len(files), &out, &more)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, _ := x509.MarshalPKIXPublicKey(key.Public())
	zone := newTestZone(t, text+"theirs._domainkey.example.org TXT v=DKIM1; p="+base64.StdEncoding.EncodeToString(der))
	os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}), 0o600)
	for i, f := range seven {
		forms := []string{"relaxed/relaxed", "simple/simple", "relaxed/simple", "simple/relaxed"}
		os.WriteFile(filepath.Join(dir, "conf"), []byte("Mode s\nDomain example.org\nSelector theirs\nKeyFile "+filepath.Join(dir, "key.pem")+
			"\nCanonicalization "+forms[i%len(forms)]+"\nRequireSafeKeys no\nSyslog no\n"), 0o600)
		out, err := exec.Command(program, "-x", filepath.Join(dir, "conf"), "-t", f).Output()
		_, sig, ok := strings.Cut(string(out), "DKIM-Signature: ")
		if err != nil || !ok {
			t.Errorf("opendkim does not sign %s: %v %s", f, err, out)
			continue
		}
		msg, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		sig = "DKIM-Signature: " + strings.ReplaceAll(strings.ReplaceAll(strings.TrimSpace(sig), "\r\n", "\n"), "\n", "\r\n") + "\r\n"
		if got := dkimWords(dkimCheck(t, zone, append([]byte(sig), msg...))); got != "pass pass pass" {
			t.Errorf("signed by opendkim, %s: %s", f, got)
		}
	}
}

// What strangers put into signatures and keys costs little and passes for nothing.
func TestDKIMBounds(t *testing.T) {
	keys, text := dkimTestKeys()
	msg := crlf("From: ann@example.org\nSubject: x\n\nbody\n")
	one := string(dkimSignedMail(t, msg, keys...))
	sig := strings.TrimSuffix(one, string(msg))
	zone := newTestZone(t, text)
	weak, _ := rsa.GenerateKey(rand.Reader, 1024)
	der, _ := x509.MarshalPKIXPublicKey(weak.Public())
	huge := *weak.N
	huge.Lsh(&huge, 16384-1024)
	big, _ := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: &huge, E: 65537})
	zone.add(t, "weak._domainkey.example.org TXT v=DKIM1; p="+base64.StdEncoding.EncodeToString(der))
	zone.add(t, "big._domainkey.example.org TXT v=DKIM1; p="+base64.StdEncoding.EncodeToString(big))
	zone.add(t, "gone._domainkey.example.org TXT v=DKIM1; p=")
	zone.add(t, "sha1._domainkey.example.org TXT v=DKIM1; h=sha1; p="+base64.StdEncoding.EncodeToString(der))
	zone.add(t, "web._domainkey.example.org TXT v=DKIM1; s=web; p="+base64.StdEncoding.EncodeToString(der))
	zone.add(t, "exact._domainkey.example.org TXT v=DKIM1; t=s; p="+base64.StdEncoding.EncodeToString(der))
	zone.add(t, "long._domainkey.example.org TXT v=DKIM1; p="+strings.Repeat("A", 1<<20))
	zone.add(t, "many._domainkey.example.org TXT "+strings.Repeat("x=1;", 1000))
	with := func(old, new string) string { // the first signature, changed
		first := sig[:strings.Index(sig, "DKIM-Signature: v=1; a=ed25519")]
		return strings.Replace(first, old, new, 1) + string(msg)
	}
	for _, c := range []struct{ name, msg, want string }{
		{"as it is", one, "pass pass"},
		{"10,000 signatures", strings.Repeat(sig, 5000) + string(msg), strings.TrimSpace(strings.Repeat("pass ", dkimMost))},
		{"RSA-16384", with("s=postino1;", "s=big;"), "policy"},
		{"taken back", with("s=postino1;", "s=gone;"), "permerror"},
		{"no key", with("s=postino1;", "s=none;"), "permerror"},
		{"SHA-1 only", with("s=postino1;", "s=sha1;"), "permerror"},
		{"for the web", with("s=postino1;", "s=web;"), "permerror"},
		{"a record of 1 MB", with("s=postino1;", "s=long;"), "permerror"},
		{"1,000 tags", with("s=postino1;", "s=many;"), "permerror"},
		{"another key", with("s=postino1;", "s=weak;"), "fail"},
		{"Ed25519's key", with("s=postino1;", "s=postino1e;"), "permerror"},
		{"rsa-sha1", with("a=rsa-sha256", "a=rsa-sha1"), "permerror"},
		{"l= of a part", with("d=example.org;", "d=example.org; l=2;"), "policy"},
		{"l= of more", with("d=example.org;", "d=example.org; l=200;"), "fail"},
		{"l= of nonsense", with("d=example.org;", "d=example.org; l=-1;"), "permerror"},
		{"a tag twice", with("d=example.org;", "d=example.org; d=example.org;"), "permerror"},
		{"i= of others", with("d=example.org;", "d=example.org; i=@badexample.org;"), "permerror"},
		{"i= below, for a key that is exact", with("s=postino1;", "s=exact; i=@a.example.org;"), "permerror"},
		{"expired", with("d=example.org;", "d=example.org; x=1000;"), "permerror"},
		{"no version", with("v=1; ", ""), "permerror"},
		{"no From", with("h=From:From:", "h="), "permerror"},
		{"q=", with("d=example.org;", "d=example.org; q=http;"), "permerror"},
		{"h= of 100,000 names", with("h=From:", "h="+strings.Repeat("From:", 100_000)), "permerror"},
		{"h= of 201 names", with("h=From:", "h="+strings.Repeat("x:", 201)), "permerror"},
	} {
		if got := dkimWords(dkimCheck(t, zone, []byte(c.msg))); got != c.want {
			t.Errorf("%s: %q, not %q: %+v", c.name, got, c.want, dkimCheck(t, zone, []byte(c.msg)))
		}
	}
	dns := &testDNS{}
	a := &keyAsker{dns: dns, skip: func(string) bool { return true }}
	if _, err := a.key(t.Context(), "s", "lab2.arpa"); err != errKeySkipped {
		t.Errorf("a domain that nothing is asked about: %v", err)
	}
	a = &keyAsker{dns: &testDNS{zone: zone}, skip: func(string) bool { return false }}
	_, err := a.key(t.Context(), "postino1", "servfail.example")
	if r, _ := keyResult(err); err == nil {
		t.Errorf("servfail: %v %v", r, err)
	}
	if _, err := (&testDNS{}).Ask(t.Context(), "servfail.x", dnsmessage.TypeTXT); err == nil {
		t.Error("servfail is an error")
	}
}

func BenchmarkDKIMSign(b *testing.B) {
	keys, _ := dkimTestKeys()
	msg := crlf("From: ann@example.org\nTo: bob@example.net\nSubject: x\nDate: Fri, 11 Jul 2003 21:00:37 -0700\n\n" + strings.Repeat("A line of text, as they are.\n", 140))
	for i, name := range []string{"rsa", "ed25519"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				dkimSignedMail(b, msg, keys[i])
			}
		})
	}
}

// A backup that is downloaded has no key that signs; restored over the file that it is of, it has them again.
func TestDKIMBackup(t *testing.T) {
	dir := t.TempDir()
	path, away := filepath.Join(dir, "mail.db"), filepath.Join(dir, "away.db")
	st, err := OpenStore(path, StoreOptions{})
	if err != nil {
		t.Fatal(err)
	}
	keys := dkimTestPair()
	err = st.Write(func(tx *Tx) error { return tx.SetDKIMKeys("example.org", keys) })
	if err != nil {
		t.Fatal(err)
	}
	names, err := dkimKeyNames(st)
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
	err = st.BackupWith(away, map[string][]byte{names[0]: {}})
	if err := errors.Join(err, st.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(away)
	if err != nil || bytes.Contains(b, []byte(`"private"`)) {
		t.Fatalf("the keys are in the copy: %v", err)
	}
	for file, want := range map[string]int{path: 2, filepath.Join(dir, "other.db"): 0} {
		if _, err := Restore(file, away, time.Now(), names...); err != nil {
			t.Fatal(err)
		}
		st, err := OpenStore(file, StoreOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&dkimRing{store: st}).signers("example.org")
		if err != nil || len(got) != want {
			t.Errorf("%s: %d keys, not %d: %v", file, len(got), want, err)
		}
		st.Close()
	}
}
