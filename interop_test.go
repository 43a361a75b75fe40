package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// interopMail is a message of the kind that people send, and what must come out at the other end.
type interopMail struct{ name, content, subject, text string }

// interopCorpus has text in the charsets that mail is written in, as 8-bit, and a binary attachment.
func interopCorpus(t *testing.T) (all []interopMail) {
	for _, c := range []struct {
		charset, text string
		enc           encoding.Encoding
	}{
		{"gb18030", "您好，附件是上个月的报告。\r\n谢谢！\r\n", simplifiedchinese.GB18030}, {"gbk", "天气很好\r\n", simplifiedchinese.GBK},
		{"big5", "您好，謝謝您的來信。\r\n", traditionalchinese.Big5}, {"iso-2022-jp", "お元気ですか。\r\n", japanese.ISO2022JP},
		{"koi8-r", "Привет, как дела?\r\n", charmap.KOI8R}, {"iso-8859-1", "Grüße aus Köln\r\n", charmap.ISO8859_1}, {"utf-8", "Grüße 你好 🙂\r\n.\r\n..\r\nFrom here\r\n", encoding.Nop},
	} {
		b, err := c.enc.NewEncoder().String(c.text)
		if err != nil {
			t.Fatal(err)
		}
		subject := fmt.Sprintf("=?%s?B?%s?=", c.charset, base64.StdEncoding.EncodeToString([]byte(strings.TrimSpace(strings.Split(b, "\r\n")[0]))))
		if c.charset == "iso-2022-jp" {
			subject = "=?utf-8?B?44GK5YWD5rCX44Gn44GZ44GL44CC?="
		}
		content := "From: ann@home.arpa\r\nSubject: " + subject + "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" +
			"Content-Type: text/plain; charset=" + c.charset + "\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + b +
			"\r\n--b\r\nContent-Type: application/octet-stream; name*=utf-8''%E6%8A%A5%E5%91%8A.bin\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQF/v8=\r\n--b--\r\n"
		all = append(all, interopMail{c.charset, content, strings.TrimSpace(strings.Split(c.text, "\r\n")[0]), c.text})
	}
	return all
}

// check says what of the message is not as it was sent.
func (m interopMail) check(got string) error {
	r := NewMIMEReader()
	io.WriteString(r, got)
	p := r.Tree()
	src := strings.NewReader(got)
	if s := ParseHeader([]byte(got)).Text("Subject"); s != m.subject {
		return fmt.Errorf("subject %q, not %q", s, m.subject)
	}
	tp := p.TextPart("plain")
	if tp == nil || len(p.Parts) != 2 {
		return fmt.Errorf("no text in %q", got)
	}
	text, _ := io.ReadAll(tp.Text(src))
	if strings.TrimRight(string(text), "\r\n") != strings.TrimRight(m.text, "\r\n") {
		return fmt.Errorf("text %q, not %q", text, m.text)
	}
	bin, _ := io.ReadAll(p.Parts[1].Decoded(src))
	if string(bin) != "\x00\x01\x02\x03\x04\x05\xfe\xff" || p.Parts[1].Filename() != "报告.bin" {
		return fmt.Errorf("attachment %q %q", p.Parts[1].Filename(), bin)
	}
	return nil
}

// offers are the extensions that the other server hides, one set for each port of it.
var interopHidden = []string{"", "8bitmime", "smtputf8", "chunking", "pipelining", "dsn", "starttls", "8bitmime,smtputf8,chunking,pipelining,dsn,starttls,enhancedstatuscodes,size"}

// interopServer is somebody else's mail server: mail for x@post.arpa ends in a Maildir, mail for home.arpa goes to us.
type interopServer struct {
	ports []string // 127.0.0.1:port, one for each of interopHidden
	box   string   // Maildir
	log   string
}

// mails waits for n messages in the Maildir, and takes them out.
func (s *interopServer) mails(t *testing.T, n int) (all []string) {
	t.Helper()
	for end := time.Now().Add(testPatience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		files, _ := filepath.Glob(s.box + "/new/*")
		if len(files) < n {
			continue
		}
		for _, f := range files {
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, strings.ReplaceAll(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n", "\r\n"))
			os.Remove(f)
		}
		return all
	}
	log, _ := os.ReadFile(s.log)
	t.Fatalf("not %d messages in %s; log:\n%s", n, s.box, log)
	return nil
}

func freePort(t *testing.T) string {
	_, port, _ := net.SplitHostPort(freeAddr(t))
	return port
}

func selfSigned(t *testing.T, path string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "post.arpa"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	kb, _ := x509.MarshalECPrivateKey(key)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kb}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
}

// startPostfix runs Debian's Postfix on ports of its own, in a folder of its own.
func startPostfix(t *testing.T, ours string) *interopServer {
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		skip(t, "interoperation with Postfix needs root and `apt-get install postfix`")
	}
	dir, err := os.MkdirTemp("/tmp", "postfix")
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	s := &interopServer{box: dir + "/mail/box", log: dir + "/log"}
	for _, d := range []string{"etc", "queue", "data", "mail"} {
		os.Mkdir(dir+"/"+d, 0o755)
	}
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			log, _ := os.ReadFile(s.log)
			t.Fatalf("%q: %v\n%s%s", args, err, out, log)
		}
	}
	run("chown", "postfix", dir+"/data")
	run("chown", "-R", "65534:65534", dir+"/mail")
	selfSigned(t, dir+"/etc/cert.pem")
	_, port, _ := net.SplitHostPort(ours)
	maps, master := "", ""
	for i, hide := range interopHidden {
		p := freePort(t)
		s.ports = append(s.ports, "127.0.0.1:"+p)
		master += fmt.Sprintf("127.0.0.1:%s inet n - n - - smtpd -o smtpd_discard_ehlo_keywords=%s\n", p, hide)
		master += fmt.Sprintf("out%d unix - - n - - smtp -o smtp_discard_ehlo_keywords=%s\n", i, hide)
		maps += fmt.Sprintf(" {ann+%d@home.arpa = out%d:[127.0.0.1]:%s}", i, i, port)
	}
	for _, l := range []string{"pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "rewrite unix - - n - - trivial-rewrite",
		"bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
		"proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp", "relay unix - - n - - smtp", "showq unix n - n - - showq", "error unix - - n - - error",
		"retry unix - - n - - error", "discard unix - - n - - discard", "local unix - n n - - local", "virtual unix - n n - - virtual", "anvil unix - - n - 1 anvil",
		"scache unix - - n - 1 scache", "postlog unix-dgram n - n - 1 postlogd", "tlsmgr unix - - n 1000? 1 tlsmgr"} {
		master += l + "\n"
	}
	os.WriteFile(dir+"/etc/master.cf", []byte(master), 0o644)
	os.WriteFile(dir+"/etc/main.cf", []byte(strings.NewReplacer("DIR", dir, "MAPS", maps, "PORT", port).Replace(`compatibility_level = 3.6
queue_directory = DIR/queue
data_directory = DIR/data
maillog_file = DIR/log
maillog_file_prefixes = /var, /dev/stdout, /tmp
myhostname = mx.post.arpa
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
mynetworks = 127.0.0.0/8
virtual_mailbox_domains = post.arpa
virtual_mailbox_base = DIR/mail
virtual_mailbox_maps = inline:{ {x@post.arpa = box/}, {用户@post.arpa = box/} }
message_size_limit = 100000000
queue_run_delay = 2s
minimal_backoff_time = 1s
maximal_backoff_time = 2s
virtual_uid_maps = static:65534
virtual_gid_maps = static:65534
virtual_minimum_uid = 1
virtual_mailbox_limit = 0
relay_domains = home.arpa
transport_maps = inline:{ MAPS {home.arpa = smtp:[127.0.0.1]:PORT} }
smtpd_tls_security_level = may
smtpd_tls_chain_files = DIR/etc/cert.pem
smtp_tls_security_level = may
smtputf8_enable = yes
local_recipient_maps =
alias_maps =
`)), 0o644)
	run("postfix", "-c", dir+"/etc", "start")
	t.Cleanup(func() {
		exec.Command("postfix", "-c", dir+"/etc", "abort").Run()
		os.RemoveAll(dir)
	})
	return s
}

// TestInteropPostfix sends a corpus both ways, with extensions hidden one by one, and bounces both ways.
func TestInteropPostfix(t *testing.T) { interop(t, startPostfix) }

func interop(t *testing.T, start func(*testing.T, string) *interopServer) {
	qt := newQueueTest(t, newPeer(t, nil))
	far := start(t, qt.addr["smtp"])
	route := func(i int) { qt.cfg.Routes = map[string]Route{"post.arpa": {Hosts: []string{far.ports[i]}}} }
	for _, port := range far.ports { // it may just be starting
		waitFor(t, port, func() bool {
			nc, err := net.Dial("tcp", port)
			if err != nil {
				return false
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(testPatience))
			line, _ := bufio.NewReader(nc).ReadString('\n') // nothing, if it is not there and interopHider is
			return strings.HasPrefix(line, "220")
		})
	}
	corpus := interopCorpus(t)
	for i, hide := range interopHidden {
		route(i)
		for _, m := range corpus {
			qt.send(t, m, "ann@home.arpa", "x@post.arpa")
		}
		qt.step()
		if items := qt.queue(); len(items) > 0 {
			t.Fatalf("without %q: %+v", hide, items)
		}
		got := far.mails(t, len(corpus))
		for _, m := range corpus {
			if err := interopFind(got, m); err != nil {
				t.Errorf("sent without %q: %s: %v", hide, m.name, err)
			}
		}
	}
	for i, hide := range interopHidden {
		before := len(qt.inbox(t, "ann@home.arpa"))
		for _, m := range corpus {
			talkSend(t, far.ports[0], "x@post.arpa", fmt.Sprintf("ann+%d@home.arpa", i), m.content)
		}
		got := qt.waitInbox(t, "ann@home.arpa", before+len(corpus))[before:]
		for _, m := range corpus {
			if err := interopFind(got, m); err != nil {
				t.Errorf("received without %q: %s: %v", hide, m.name, err)
			}
		}
	}
	interopBounces(t, qt, far)
	interopUTF8(t, qt, far)
	interopBig(t, qt, far)
}

// interopUTF8 has people write whose addresses and subjects are Chinese (RFC 6531), both ways, and a server that does not
// know how be told of in a report.
func interopUTF8(t *testing.T, qt *queueTest, far *interopServer) {
	qt.write(t, func(tx *Tx) error { return tx.AddAlias("用户@home.arpa", "ann@home.arpa") })
	mail := interopMail{name: "SMTPUTF8", content: "From: 用户@home.arpa\r\nTo: 用户@post.arpa\r\nSubject: 你好，世界\r\n\r\n谢谢！\r\n"}
	check := func(got string) {
		t.Helper()
		h := ParseHeader([]byte(got))
		if h.Get("Subject") != "你好，世界" || h.Get("From") != "用户@home.arpa" || !strings.HasSuffix(strings.TrimRight(got, "\r\n"), "\r\n\r\n谢谢！") {
			t.Errorf("SMTPUTF8 came as %q", got)
		}
	}
	before := len(qt.inbox(t, "ann@home.arpa"))
	qt.cfg.Routes = map[string]Route{"post.arpa": {Hosts: []string{far.ports[0]}}}
	qt.send(t, mail, "用户@home.arpa", "用户@post.arpa")
	qt.step()
	check(far.mails(t, 1)[0])
	qt.cfg.Routes = map[string]Route{"post.arpa": {Hosts: []string{far.ports[2]}}}
	qt.send(t, mail, "用户@home.arpa", "用户@post.arpa")
	qt.step()
	box := qt.waitInbox(t, "ann@home.arpa", before+1)
	if _, groups, _ := parseReport(t, box[before]); groups[1].Get("Status") != "5.6.7" || groups[1].Get("Action") != "failed" {
		t.Errorf("where SMTPUTF8 is not known: %v", groups)
	}
	talkSend(t, far.ports[0], "用户@post.arpa", "用户@home.arpa", mail.content)
	check(qt.waitInbox(t, "ann@home.arpa", before+2)[before+1])
}

// interopBig sends nearly 50 MB both ways, as they are and converted to 7 bits on the way. Only so much of it is in memory.
func interopBig(t *testing.T, qt *queueTest, far *interopServer) {
	if testing.Short() {
		return
	}
	line := strings.Repeat("Grüße aus Köln, 1234567890. ", 40)[:74] + "\r\n"
	text := strings.Repeat(line, (44<<20)/len(line))
	content := "Subject: big\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + text
	check := func(what, got string) {
		t.Helper()
		r := NewMIMEReader()
		io.WriteString(r, got)
		b, err := io.ReadAll(r.Tree().TextPart("plain").Text(strings.NewReader(got)))
		if s := strings.TrimRight(strings.ReplaceAll(string(b), "\r\n", "\n"), "\n"); err != nil || s != strings.TrimRight(strings.ReplaceAll(text, "\r\n", "\n"), "\n") {
			t.Errorf("%s: %d octets of text came of %d, %v", what, len(b), len(text), err)
		}
	}
	for i, what := range []string{"8BITMIME", "7 bits"} {
		qt.cfg.Routes = map[string]Route{"post.arpa": {Hosts: []string{far.ports[i]}}}
		most := int64(0)
		for try := range 3 { // what is made while the collector works counts as alive, which may be much after many other tests
			m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa")}, To: rcptsTo(mustAddr(t, "x@post.arpa")), Body: qt.store.NewSpool(50 << 20)}
			io.WriteString(m.Body, content)
			if err := qt.accept(m); err != nil {
				t.Fatal(err)
			}
			m.Body.Close()
			most = heapPeak(func() { qt.step() })
			got := far.mails(t, 1)[0]
			if try == 0 && (what != "7 bits" || isASCII(got)) {
				check(what, got)
			} else if try == 0 {
				t.Errorf("%s are not", what)
			}
			t.Logf("%s: at most %d KB more on the heap", what, most>>10)
			if most <= 24<<20 { // of 44
				break
			}
		}
		if most > 24<<20 {
			t.Errorf("%s: %d octets more on the heap", what, most)
		}
	}
	before := len(qt.inbox(t, "ann@home.arpa"))
	talkSend(t, far.ports[0], "x@post.arpa", "ann@home.arpa", content)
	check("received", qt.waitInbox(t, "ann@home.arpa", before+1)[before])
}

// interopHider stands before a server that can't hide an extension itself, and takes it out of the answer to EHLO, with
// STARTTLS, behind which it could not.
func interopHider(t *testing.T, to, hide string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer s.Close()
				go func() {
					io.Copy(s, c)
					s.(*net.TCPConn).CloseWrite()
				}()
				for r := bufio.NewReader(s); ; {
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					word, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "250-")), " ")
					if !strings.HasPrefix(line, "250-") || !slices.Contains(strings.Split(hide+",starttls", ","), strings.ToLower(word)) {
						io.WriteString(c, line)
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// interopFind looks for a message among those that came.
func interopFind(got []string, m interopMail) (err error) {
	err = fmt.Errorf("not there")
	for _, g := range got {
		if ParseHeader([]byte(g)).Text("Subject") == m.subject {
			if err = m.check(g); err == nil {
				return nil
			}
		}
	}
	return err
}

// send has a message go through accept.
func (qt *queueTest) send(t *testing.T, m interopMail, from, to string) {
	t.Helper()
	mail := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, from)}, To: rcptsTo(mustAddr(t, to)), Body: qt.store.NewSpool(1 << 20)}
	defer mail.Body.Close()
	io.WriteString(mail.Body, m.content)
	if err := qt.accept(mail); err != nil {
		t.Fatal(err)
	}
}

func (s *testServer) waitInbox(t *testing.T, user string, n int) []string {
	t.Helper()
	var got []string
	waitFor(t, fmt.Sprintf("%d messages of %s", n, user), func() bool {
		got = s.inbox(t, user)
		return len(got) >= n
	})
	return got
}

// talkSend hands a message to a server as a client would.
func talkSend(t *testing.T, addr, from, to, content string) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	k := newTalk(t, nc)
	k.want(220)
	k.cmd("EHLO [127.0.0.1]", 250)
	params := " BODY=8BITMIME"
	if !isASCII(from) {
		params += " SMTPUTF8"
	}
	k.cmd("MAIL FROM:<"+from+">"+params, 250)
	k.cmd("RCPT TO:<"+to+">", 250)
	k.cmd("DATA", 354)
	k.cmd(strings.ReplaceAll(strings.ReplaceAll(content, "\r\n.", "\r\n.."), "\r\n", "\r\n")+".", 250)
	k.cmd("QUIT", 221)
}

// interopBounces has each side refuse a recipient, and the other side's sender understand the report.
func interopBounces(t *testing.T, qt *queueTest, far *interopServer) {
	qt.cfg.Routes = map[string]Route{"post.arpa": {Hosts: []string{far.ports[0]}}}
	before := len(qt.inbox(t, "ann@home.arpa"))
	qt.submit("ann@home.arpa", "nobody@post.arpa")
	qt.step()
	box := qt.waitInbox(t, "ann@home.arpa", before+1)
	_, groups, _ := parseReport(t, box[len(box)-1])
	if g := groups[1]; g.Get("Final-Recipient") != "rfc822; nobody@post.arpa" || g.Get("Action") != "failed" || !strings.HasPrefix(g.Get("Status"), "5.") {
		t.Errorf("our report %v", g)
	}
	talkSend(t, far.ports[0], "x@post.arpa", "nobody@home.arpa", "Subject: to nobody\r\n\r\nx\r\n")
	got := far.mails(t, 1)
	_, groups, _ = parseReport(t, got[0])
	if g := groups[1]; g.Get("Action") != "failed" || !strings.Contains(g.Get("Diagnostic-Code"), "there is no such mailbox here") {
		t.Errorf("their report %v", g)
	}
	// A list of ours leads to nobody there: our report goes to their sender.
	qt.write(t, func(tx *Tx) error { return tx.AddAlias("list@home.arpa", "nobody@post.arpa") })
	talkSend(t, far.ports[0], "x@post.arpa", "list@home.arpa", "Subject: to the list\r\n\r\nx\r\n")
	waitFor(t, "our report there", func() bool {
		qt.step()
		files, _ := filepath.Glob(far.box + "/new/*")
		return len(files) > 0
	})
	_, groups, _ = parseReport(t, far.mails(t, 1)[0])
	if g := groups[1]; g.Get("Final-Recipient") != "rfc822; nobody@post.arpa" || g.Get("Action") != "failed" {
		t.Errorf("our report there %v", g)
	}
}

// startExim runs Exim; EXIM names its binary where Debian's package can't be installed beside another server's.
func startExim(t *testing.T, ours string) *interopServer {
	bin := os.Getenv("EXIM")
	if bin == "" {
		bin, _ = exec.LookPath("exim4")
	}
	if bin == "" || os.Getuid() != 0 {
		skip(t, "interoperation with Exim needs root and exim4-daemon-light (or its binary named by EXIM)")
	}
	dir, err := os.MkdirTemp("/tmp", "exim")
	if err != nil {
		t.Fatal(err)
	}
	s := &interopServer{box: dir + "/mail/box", log: dir + "/log_main"}
	os.MkdirAll(dir+"/mail", 0o777)
	os.MkdirAll(dir+"/spool", 0o777)
	for _, d := range []string{dir, dir + "/mail", dir + "/spool"} {
		os.Chmod(d, 0o777)
	}
	selfSigned(t, dir+"/cert.pem")
	_, port, _ := net.SplitHostPort(ours)
	var ifs []string
	hidden := map[string][]string{}
	for _, hide := range interopHidden {
		p := freePort(t)
		s.ports = append(s.ports, "127.0.0.1:"+p)
		ifs = append(ifs, "127.0.0.1."+p)
		for _, k := range strings.Split(hide, ",") {
			hidden[k] = append(hidden[k], p)
		}
		if strings.Contains(hide, "8bitmime") { // Exim has no way to hide it, or SIZE
			s.ports[len(s.ports)-1] = interopHider(t, "127.0.0.1:"+p, hide)
		}
	}
	advertise := func(k string) string {
		return fmt.Sprintf("${if inlist{$received_port}{%s}{}{*}}", strings.Join(hidden[k], ":"))
	}
	conf := strings.NewReplacer("BIN", bin, "DIR", dir, "PORT", port, "IFS", strings.Join(ifs, " ; "), "UTF8", advertise("smtputf8"), "CHUNK", advertise("chunking"),
		"PIPE", advertise("pipelining"), "DSN", advertise("dsn"), "TLS", advertise("starttls")).Replace(`exim_path = BIN
exim_user = nobody
exim_group = nogroup
spool_directory = DIR/spool
log_file_path = DIR/log_%s
pid_file_path = DIR/pid
primary_hostname = mx.post.arpa
local_interfaces = <; IFS
keep_environment =
message_size_limit = 100M
smtputf8_advertise_hosts = UTF8
chunking_advertise_hosts = CHUNK
pipelining_advertise_hosts = PIPE
dsn_advertise_hosts = DSN
tls_advertise_hosts = TLS
tls_certificate = DIR/cert.pem
tls_privatekey = DIR/cert.pem
acl_smtp_rcpt = rcpt
begin acl
rcpt:
  deny domains = post.arpa
       !local_parts = x : 用户
       message = nobody of that name
  accept
begin routers
ours:
  driver = manualroute
  domains = home.arpa
  route_list = home.arpa 127.0.0.1::PORT byname
  self = send
  transport = out
here:
  driver = accept
  domains = post.arpa
  local_parts = x : 用户
  transport = box
begin transports
out:
  driver = smtp
  hosts_try_fastopen = :
  hosts_try_chunking = ${if match{$local_part_suffix$local_part}{3}{}{*}}
  hosts_avoid_pipelining = ${if match{$local_part}{4}{*}{}}
  hosts_avoid_tls = ${if match{$local_part}{6}{*}{}}
box:
  driver = appendfile
  user = nobody
  group = nogroup
  directory = DIR/mail/box
  maildir_format
  create_directory
  delivery_date_add
  return_path_add
begin retry
* * F,1h,1s
`)
	os.WriteFile(dir+"/exim.conf", []byte(conf), 0o644)
	cmd := exec.Command(bin, "-C", dir+"/exim.conf", "-bdf", "-q2s")
	out, _ := os.Create(dir + "/out")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.log = dir + "/log_main"
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			for _, f := range []string{"/out", "/log_main", "/log_panic", "/log_reject"} {
				b, _ := os.ReadFile(dir + f)
				t.Logf("%s: %s", f, b)
			}
		}
		os.RemoveAll(dir)
	})
	return s
}

// TestInteropExim is the same with Exim.
func TestInteropExim(t *testing.T) { interop(t, startExim) }

// BenchmarkQueueDrain has 10,000 messages of 4 KB wait for a host that is down, brings it up, and compares the rate at which
// they leave with the one at which Postfix's smtp-source hands as many to the same smtp-sink over one connection, from memory:
//
//	go test -run XXX -bench QueueDrain -benchtime 1x .
func BenchmarkQueueDrain(b *testing.B) {
	const messages = 10_000
	if _, err := exec.LookPath("smtp-sink"); err != nil {
		skip(b, "smtp-sink and smtp-source come with `apt-get install postfix`")
	}
	for range b.N {
		b.StopTimer()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		s := openServer(b, filepath.Join(b.TempDir(), "mail.db"), StoreOptions{}, "[routes]", fmt.Sprintf("\".\" = %q", addr))
		q := newQueueRunner(s.Server)
		fillQueue(b, s, messages)
		q.pass() // it is down
		q.wg.Wait()
		sink := exec.Command("smtp-sink", "-u", "nobody", addr, "100")
		if err := sink.Start(); err != nil {
			b.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		start := time.Now()
		if out, err := exec.Command("smtp-source", "-m", fmt.Sprint(messages), "-l", "4096", "-d", addr).CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		source := messages / time.Since(start).Seconds()
		if err := s.store.Write(func(tx *Tx) error { _, err := tx.QueueAsk("far.example"); return err }); err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		b.StartTimer()
		q.pass()
		q.wg.Wait()
		b.StopTimer()
		rate := messages / time.Since(start).Seconds()
		left := 0
		s.store.Read(func(tx *Tx) (err error) { left, err = tx.QueueLength(); return err })
		if left > 0 {
			b.Errorf("%d messages are left", left)
		}
		b.ReportMetric(rate, "messages/s")
		b.ReportMetric(100*rate/source, "%source")
		sink.Process.Kill()
		sink.Wait()
	}
}

func fillQueue(b testing.TB, s *testServer, n int) {
	body := strings.Repeat(strings.Repeat("x", 78)+"\r\n", 50)
	slots := make(chan bool, 64)
	for range n {
		slots <- true
		go func() {
			m := &Mail{SMTPEnvelope: SMTPEnvelope{From: Addr{"ann", "home.arpa"}}, Body: s.store.NewSpool(1 << 20), To: rcptsTo(Addr{"x", "far.example"})}
			io.WriteString(m.Body, "Subject: x\r\n\r\n"+body)
			if err := s.accept(m); err != nil {
				b.Error(err)
			}
			m.Body.Close()
			<-slots
		}()
	}
	for range cap(slots) {
		slots <- true
	}
}
