package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A link on the stick, wherever it stands, has nothing written through it, and is read as nothing.
func TestBundleLinks(t *testing.T) {
	a := newTestCommand(t, "domains = [\"lab1.test\"]\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[routes]\n\"lab2.test\" = { bundle_key = \"both\", intermittent = true }\n")
	b := newTestCommand(t, "domains = [\"lab2.test\"]\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[routes]\n\"lab1.test\" = { bundle_key = \"both\", intermittent = true }\n")
	a.want(0, "", "secret\n", "user", "add", "ann@lab1.test")
	b.want(0, "", "secret\n", "user", "add", "bob@lab2.test")
	mail := "Subject: x\r\n\r\nx\r\n"
	a.want(0, "", mail, "sendmail", "-f", "ann@lab1.test", "bob@lab2.test")
	stick := t.TempDir()
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(name string) string {
		path := filepath.Join(stick, name)
		if err := os.Symlink(victim, path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	path := filepath.Join(stick, "mail.bundle")
	link("mail.bundle.part") // where the file was written before
	a.want(1, "is a link", "", "queue", "export", "lab2.test", link("other.bundle"))
	a.want(0, "1 messages for lab2.test", "", "queue", "export", "lab2.test", path)
	a.want(1, "is there already", "", "queue", "export", "lab2.test", path)
	b.want(1, "is a link", "", "queue", "import", filepath.Join(stick, "other.bundle"))
	receipt := link("mail.bundle.receipt")
	b.want(1, "is a link", "", "queue", "import", path)
	if err := os.Remove(receipt); err != nil {
		t.Fatal(err)
	}
	left := path + ".receipt." + strings.Repeat("a", 26) + partEnd // of a run that was killed
	if err := os.WriteFile(left, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	b.want(0, "1 messages taken", "", "queue", "import", path)
	b.want(0, "0 messages taken, 1 had been before", "", "queue", "import", path)
	a.want(1, "made here, for somebody else", "", "queue", "import", path)
	b.want(1, "for another machine", "", "queue", "import", receipt)
	a.want(0, "1 messages have arrived", "", "queue", "import", receipt)
	if got, err := os.ReadFile(victim); string(got) != "mine" {
		t.Errorf("the victim has %q, %v", got, err)
	}
	for _, name := range []string{"mail.bundle", "mail.bundle.receipt"} {
		fi, err := os.Lstat(filepath.Join(stick, name))
		if err != nil || fi.Mode().Perm() != 0o600 || !fi.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", name, fi, err)
		}
	}
	names, err := filepath.Glob(filepath.Join(stick, "*"+partEnd))
	if err != nil || len(names) != 1 {
		t.Errorf("left over: %q, %v", names, err)
	}
}

// liar gives one text when it is read first, and another one later.
type liar struct {
	first, later string
	r            *strings.Reader
}

func (l *liar) Read(p []byte) (int, error) {
	if l.r == nil {
		l.r = strings.NewReader(l.first)
	}
	return l.r.Read(p)
}

func (l *liar) Seek(offset int64, whence int) (int64, error) {
	l.r = strings.NewReader(l.later)
	return l.r.Seek(offset, whence)
}

// What was checked is what is taken, whatever the medium gives when it is read again.
func TestBundleReadOnce(t *testing.T) {
	a, b := newQueueTest(t, newPeer(t, nil)), startServer(t, `domains = ["far.arpa", "home.arpa"]`)
	b.write(t, func(tx *Tx) error { return tx.AddAlias("x@far.arpa", "bob@home.arpa") })
	a.submit("ann@home.arpa", "x@far.arpa")
	var file bytes.Buffer
	if _, err := a.exportBundle("far.arpa", &file); err != nil {
		t.Fatal(err)
	}
	good := file.String()
	forged := strings.Replace(good, "hi\r\n", "ho\r\n", 1)
	res, err := b.importBundle(&liar{first: good, later: forged})
	if err != nil || res.Taken != 1 {
		t.Errorf("%+v, %v", res, err)
	}
	if got := b.inbox(t, "bob@home.arpa"); len(got) != 1 || !strings.Contains(got[0], "hi\r\n") {
		t.Errorf("bob has %q", got)
	}
	if _, err := b.importBundle(&liar{first: forged, later: good}); !errors.Is(err, errBundleSum) {
		t.Errorf("a forged one: %v", err)
	}
	if _, err := b.importBundle(io.MultiReader(strings.NewReader(good[:100]), &liar{first: good[100:]})); err != nil {
		t.Errorf("in pieces: %v", err)
	}
}
