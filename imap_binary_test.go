package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// binaryPiece is octets as a picture or a program has them.
func binaryPiece(n int) string {
	b := make([]byte, n)
	dice := rand.New(rand.NewPCG(uint64(n), 3))
	for i := range b {
		b[i] = byte(dice.IntN(256))
	}
	b[0] = 0
	return string(b)
}

// binaryMail is mail that came with binary parts, in forms of every kind.
func binaryMail() []string {
	leaf := func(typ, body string) string {
		return "Content-Type: " + typ + "\r\nContent-Transfer-Encoding: binary\r\n\r\n" + body
	}
	mixed := func(parts ...string) string {
		return "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + strings.Join(parts, "\r\n--b\r\n") + "\r\n--b--\r\n"
	}
	picture := leaf("image/png", binaryPiece(1043))
	signed := "Content-Type: multipart/signed; boundary=s; protocol=\"application/pkcs7-signature\"\r\n\r\n--s\r\n\r\n" + strings.Repeat("long ", 300) +
		"\r\n--s\r\n" + leaf("application/pkcs7-signature; name=smime.p7s", binaryPiece(300)) + "\r\n--s--\r\n"
	top := "From: a@example.org\r\nMIME-Version: 1.0\r\n"
	return []string{
		top + picture,
		top + leaf("application/octet-stream", binaryPiece(200_001)),
		top + mixed("\r\nhi", picture),
		top + mixed("\r\nhi", leaf("text/plain; charset=utf-16le", "h\x00i\x00\n\x00"), leaf("application/zip", "\x00"), leaf("image/gif", "a\nb\rc")),
		top + mixed("Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n"+picture, "\r\nend"),
		top + mixed("Content-Type: message/rfc822\r\nContent-Transfer-Encoding: binary\r\n\r\n"+mixed(picture, "\r\nx")),
		top + mixed(signed, picture),
		top + signed,
		top + mixed("Content-Type: text/plain\r\n\r\nNUL \x00 in text", leaf("image/jpeg", binaryPiece(70_000)), "Content-Transfer-Encoding: base64\r\n\r\nAAEC"),
		"From: raw \xff name\r\n" + picture,
	}
}

// binaryLeaves are a message's leaves, decoded.
func binaryLeaves(tb testing.TB, text string) []string {
	tb.Helper()
	m := NewMIMEReader()
	io.WriteString(m, text)
	var all []string
	var walk func(p *Part)
	walk = func(p *Part) {
		if len(p.Parts) > 0 {
			for _, c := range p.Parts {
				walk(c)
			}
			return
		}
		b, err := io.ReadAll(p.Decoded(strings.NewReader(text)))
		if err != nil {
			tb.Fatal(err)
		}
		all = append(all, string(b))
	}
	walk(m.Tree())
	return all
}

// fetched is the one literal, string or number of a FETCH answer.
func fetched(tb testing.TB, c *imapClient, item string) string {
	tb.Helper()
	got := c.ok("UID FETCH " + item)
	if len(got) != 1 {
		tb.Fatalf("%s: %q", item, got)
	}
	_, value, _ := strings.Cut(got[0], "FETCH (UID ")
	_, value, _ = strings.Cut(value, " ")
	_, value, _ = strings.Cut(value, " ")
	value = strings.TrimSuffix(value, ")")
	if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "~{") {
		_, value, _ = strings.Cut(value, "}\r\n")
	}
	return value
}

// TestBinaryTextual reads mail with binary parts as a client without BINARY, by POP3 and from an exported file: all of it is
// there, what describes it agrees with what is sent, and nothing but the binary parts is encoded.
func TestBinaryTextual(t *testing.T) {
	s := startServer(t)
	mail := binaryMail()
	addMail(t, s.store, "ann@home.arpa", mail...)
	c := dialIMAP(t, s, "ann")
	c.ok("EXAMINE INBOX")
	p := dialPOP3(t, s)
	p.login()
	for i, m := range mail {
		want := binaryLeaves(t, m)
		whole := fetched(t, c, fmt.Sprintf("%d BODY.PEEK[]", i+1))
		if got := binaryLeaves(t, whole); !slices.Equal(got, want) {
			t.Errorf("message %d: its parts differ", i+1)
		}
		if strings.Contains(whole, "\x00") {
			t.Errorf("message %d: a NUL in a literal", i+1)
		}
		if size := fetched(t, c, fmt.Sprintf("%d RFC822.SIZE", i+1)); size != strconv.Itoa(len(whole)) {
			t.Errorf("message %d: RFC822.SIZE %s, and %d octets come", i+1, size, len(whole))
		}
		var parts strings.Builder
		for off := 0; off < len(whole); off += 777 {
			parts.WriteString(strings.Trim(fetched(t, c, fmt.Sprintf("%d BODY.PEEK[]<%d.777>", i+1, off)), `"`))
		}
		if !strings.Contains(whole, `"`) && parts.String() != whole {
			t.Errorf("message %d: in parts it is another", i+1)
		}
		p.must("RETR %d", i+1)
		if got := binaryLeaves(t, p.body()); !slices.Equal(got, want) {
			t.Errorf("message %d: by POP3 its parts differ", i+1)
		}
	}
	p.must("LIST")
	sizes := strings.Split(strings.TrimSpace(p.body()), "\r\n")
	for i := range mail {
		p.must("RETR %d", i+1)
		if said := fmt.Sprintf("%d %d", i+1, len(p.body())); sizes[i] != said {
			t.Errorf("LIST says %q, RETR %q", sizes[i], said)
		}
	}
	binarySections(t, c, 3)
	binaryExport(t, s, mail)
	if whole := fetched(t, c, "8 BODY.PEEK[]"); !strings.Contains(whole, strings.Repeat("long ", 300)) {
		t.Error("what is signed was encoded, and no part of it had to be")
	}
}

// binarySections compares BODYSTRUCTURE, BODY[n], BODY[n.MIME] and BINARY[n] of the picture in a message.
func binarySections(t *testing.T, c *imapClient, uid int) {
	t.Helper()
	structure := fetched(t, c, fmt.Sprintf("%d BODYSTRUCTURE", uid))
	if !strings.Contains(structure, `("image" "png" NIL NIL NIL "base64" `) || strings.Contains(structure, "binary") {
		t.Errorf("BODYSTRUCTURE %s", structure)
	}
	body := fetched(t, c, fmt.Sprintf("%d BODY.PEEK[2]", uid))
	if !strings.Contains(structure, fmt.Sprintf(`"base64" %d `, len(body))) {
		t.Errorf("BODYSTRUCTURE %s, and %d octets come", structure, len(body))
	}
	raw, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(body, "\r\n", ""))
	if err != nil || string(raw) != binaryPiece(1043) {
		t.Errorf("BODY[2] is not the picture: %v", err)
	}
	if head := fetched(t, c, fmt.Sprintf("%d BODY.PEEK[2.MIME]", uid)); !strings.Contains(head, "Content-Transfer-Encoding: base64\r\n") {
		t.Errorf("BODY[2.MIME] %q", head)
	}
	if got := fetched(t, c, fmt.Sprintf("%d BINARY.PEEK[2]", uid)); got != binaryPiece(1043) {
		t.Error("BINARY[2] is not the picture")
	}
	if got := fetched(t, c, fmt.Sprintf("%d BINARY.SIZE[2]", uid)); got != "1043" {
		t.Errorf("BINARY.SIZE[2] %s", got)
	}
}

// binaryExport exports the mailbox and reads the file.
func binaryExport(t *testing.T, s *testServer, mail []string) {
	t.Helper()
	box, err := read(s.store, func(tx *Tx) (Mailbox, error) {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return Mailbox{}, err
		}
		return tx.MailboxByName(u.ID, "INBOX")
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := exportBox(s.store, box, &out); err != nil {
		t.Fatal(err)
	}
	parts := strings.Split("\n"+out.String(), "\n\nFrom MAILER-DAEMON ")
	if len(parts) != len(mail) {
		t.Fatalf("%d messages in the file", len(parts))
	}
	for i, part := range parts {
		_, text, _ := strings.Cut(part, "\n")
		if i == 0 {
			_, text, _ = strings.Cut(text, "\n")
		}
		want, got := binaryLeaves(t, mail[i]), binaryLeaves(t, strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n"))
		if len(got) != len(want) {
			t.Errorf("message %d: %d parts in the file, %d here", i+1, len(got), len(want))
			continue
		}
		for k := range want {
			if strings.TrimRight(got[k], "\r\n") != strings.TrimRight(want[k], "\r\n") {
				t.Errorf("message %d, part %d: differs in the file", i+1, k+1)
			}
		}
	}
}

// TestBinaryUpgrade opens a file of before FormBinary was known: what has NULs is encoded all the same.
func TestBinaryUpgrade(t *testing.T) {
	s := startServer(t)
	st := s.store
	addMail(t, st, "ann@home.arpa", "Subject: plain\r\n\r\nx\r\n", binaryMail()[2])
	err := st.Write(func(tx *Tx) error {
		if _, err := tx.exec(`UPDATE messages SET form=form&~4`); err != nil {
			return err
		}
		_, err := tx.exec(formBinary)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	forms, err := read(st, func(tx *Tx) ([]int64, error) { return tx.ints(`SELECT form&4 FROM messages ORDER BY uid`) })
	if err != nil || !slices.Equal(forms, []int64{0, 4}) {
		t.Errorf("%v, %v", forms, err)
	}
}

// TestBinarySizes opens a file of before FormSized was known: its binary messages get the size that is sent, their mailboxes the sum of
// those, and what is damaged keeps its own.
func TestBinarySizes(t *testing.T) {
	s := startServer(t)
	st := s.store
	addMail(t, st, "ann@home.arpa", "Subject: plain\r\n\r\nx\r\n", binaryMail()[2], binaryMail()[2])
	m := s.folder(t, "ann", "INBOX")
	sums := func() []int64 {
		t.Helper()
		all, err := read(st, func(tx *Tx) ([]int64, error) {
			return tx.ints(`SELECT size FROM messages WHERE mailbox=? UNION ALL SELECT bytes FROM mailboxes WHERE id=? UNION ALL SELECT form&20 FROM messages WHERE mailbox=?`, m.ID, m.ID, m.ID)
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := sums()
	stored := int64(len(binaryMail()[2]))
	if want[1] <= stored || want[3] != want[0]+2*want[1] {
		t.Fatalf("%v, of which %d are stored", want, stored)
	}
	err := st.Write(func(tx *Tx) error {
		if _, err := tx.exec(`UPDATE messages SET form=form&~16, size=? WHERE mailbox=? AND form&4<>0`, stored, m.ID); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE mailboxes SET bytes=? WHERE id=?`, want[0]+2*stored, m.ID)
		return err
	})
	if err == nil {
		err = st.Collect()
	}
	if got := sums(); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	checkStore(t, st)
	err = st.Write(func(tx *Tx) error {
		_, err := tx.exec(`UPDATE messages SET form=form&~16, size=?, blob=blob+1000 WHERE mailbox=? AND form&4<>0`, stored, m.ID)
		return err
	})
	if err == nil {
		err = st.sizeOld()
	}
	if got := sums(); err != nil || got[1] != stored || got[5] != 20 {
		t.Errorf("without content: %v %v", got, err)
	}
}
