// Signing: the DKIM-Signature fields of a message that leaves, over the octets that leave.
package main

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
)

// Fields that are signed where they are (RFC 6376 §5.4.1). Those with true are signed once more than they are there, so that nobody can
// add another one.
var dkimSigned = []struct {
	name string
	over bool
}{
	{"From", true}, {"Reply-To", true}, {"Subject", true}, {"Date", true}, {"To", true}, {"Cc", true}, {"Message-ID", true},
	{"In-Reply-To", true}, {"References", true}, {"MIME-Version", true}, {"Content-Type", true}, {"Content-Transfer-Encoding", true},
	{"Sender", false}, {"Content-Disposition", false}, {"Auto-Submitted", false}, {"Disposition-Notification-To", false}, {"Autocrypt", false},
	{"List-Id", false}, {"List-Help", false}, {"List-Unsubscribe", false}, {"List-Unsubscribe-Post", false}, {"List-Subscribe", false},
	{"List-Post", false}, {"List-Owner", false}, {"List-Archive", false},
}

const dkimEach = 8 // fields of one name that are signed: more of them are nobody's usual mail

// dkimSigner is a key that signs for a domain.
type dkimSigner struct {
	domain   string // in A-labels
	selector string
	key      crypto.Signer
}

// signMail returns the DKIM-Signature fields, with their line ends, that go in front of what write writes: one for each of the keys.
// pick chooses the keys by the header. write is called once and must write the same octets when it is called again; memory is the
// header's, which is bounded by most, and a few KiB.
func signMail(write func(io.Writer) error, most int, pick func(header string) []dkimSigner) (string, error) {
	body := newDKIMBody(true)
	split := &dkimSplit{body: body, most: most}
	err := write(split)
	if err != nil {
		return "", err
	}
	header := string(split.header)
	keys := pick(header)
	if len(keys) == 0 {
		return "", nil
	}
	sum, _ := body.end()
	fields := dkimFields(header)
	var b strings.Builder
	for _, k := range keys {
		one, err := k.field(fields, sum)
		if err != nil {
			return "", fmt.Errorf("DKIM: %w", err)
		}
		b.WriteString(one)
	}
	return b.String(), nil
}

// field is one signature. It does not say when it was made (t=): opendkim takes none from the future for good, and a board's clock may be
// wrong.
func (k dkimSigner) field(fields []dkimField, body []byte) (string, error) {
	picker := newDKIMPicker(fields)
	var names []string
	for _, s := range dkimSigned {
		n := min(len(picker[strings.ToLower(s.name)]), dkimEach)
		if s.over {
			n++
		}
		for range n {
			names = append(names, s.name)
		}
	}
	algorithm := "rsa-sha256"
	if _, ok := k.key.(ed25519.PrivateKey); ok {
		algorithm = "ed25519-sha256"
	}
	f := fmt.Sprintf("DKIM-Signature: v=1; a=%s; c=%s; d=%s; s=%s;\r\n\th=%s;\r\n\tbh=%s;\r\n\tb=", algorithm, dkimCanon{true, true}, k.domain,
		k.selector, dkimFold(strings.Join(names, ":"), ":"), base64.StdEncoding.EncodeToString(body))
	h := sha256.New()
	picker.hashFields(h, names, true)
	io.WriteString(h, strings.TrimSuffix(canonField(f, true), "\r\n"))
	sig, err := dkimSeal(k.key, [sha256.Size]byte(h.Sum(nil)))
	if err != nil {
		return "", err
	}
	return f + dkimFold(base64.StdEncoding.EncodeToString(sig), "") + "\r\n", nil
}

// dkimFold breaks a long value into lines of at most 72 octets, behind a separator or anywhere if that is "".
func dkimFold(s, sep string) string {
	var b strings.Builder
	for len(s) > 64 {
		n := 64
		if sep != "" {
			n = strings.LastIndex(s[:64], sep) + len(sep)
		}
		if n <= 0 {
			break
		}
		b.WriteString(s[:n] + "\r\n\t ")
		s = s[n:]
	}
	return b.String() + s
}
