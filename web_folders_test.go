package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// folder finds somebody's folder.
func (s *testServer) folder(t *testing.T, user, name string) Mailbox {
	t.Helper()
	m, err := read(s.store, func(tx *Tx) (Mailbox, error) {
		u, err := tx.UserByName(user + "@home.arpa")
		if err != nil {
			return Mailbox{}, err
		}
		return tx.MailboxByName(u.ID, name)
	})
	if err != nil {
		t.Fatalf("%s of %s: %v", name, user, err)
	}
	return m
}

// TestWebFolders: a new name's parents are made, rights are asked of all that is inside, and an unknown button does nothing.
func TestWebFolders(t *testing.T) {
	s := startServer(t)
	ann, bob := newWebClient(t, s).login("ann"), newWebClient(t, s).login("bob")
	ann.get("/folders")
	ann.post2("/folders", "do", "create", "name", "A/B")
	id := fmt.Sprint(s.folder(t, "ann", "A/B").ID)
	ann.post2("/folders", "do", "rename", "box", id, "name", "X/Y/Z")
	for _, name := range []string{"A", "X", "X/Y", "X/Y/Z"} {
		s.folder(t, "ann", name)
	}
	ann.post("/folders", "do", "strange", "box", id, "name", "Q")
	if ann.code != http.StatusBadRequest {
		t.Errorf("an unknown button: %d", ann.code)
	}
	s.folder(t, "ann", "X/Y/Z")
	top := s.folder(t, "ann", "X")
	s.write(t, func(tx *Tx) error {
		return tx.SetACL(top, ACLEntry{"bob@home.arpa", RightLookup | RightRead | RightDelete | RightCreate})
	})
	bob.get("/folders")
	bob.post("/folders", "do", "rename", "box", fmt.Sprint(top.ID), "name", "X/W")
	if bob.code == http.StatusOK {
		t.Errorf("bob renamed what he may not: %d at %s", bob.code, bob.at)
	}
	s.folder(t, "ann", "X/Y/Z")
}

// TestWebQuota: an upload that there is no room for is refused and leaves nothing behind; the shared folders' limit can be set.
func TestWebQuota(t *testing.T) {
	s := startServer(t)
	s.setQuota(t, "bob@home.arpa", 1<<20)
	bob := newWebClient(t, s).login("bob")
	bob.get("/compose")
	for range 2 {
		bob.letter(map[string]string{"big.bin": strings.Repeat("x", 3<<20)}, "to", "ann@home.arpa", "subject", "big", "text", "x", "do", "auto")
		if bob.code != http.StatusInsufficientStorage {
			t.Errorf("3 MB for somebody who may have 1: %d", bob.code)
		}
	}
	var files, used int64
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("bob@home.arpa")
		if err != nil {
			return err
		}
		used, _, err = tx.Used(u.ID)
		return errors.Join(err, tx.one(`SELECT count(*) FROM letter_files`, nil, &files))
	})
	if files != 0 || used > 1<<20 {
		t.Errorf("%d files, %d octets", files, used)
	}
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	ann.get("/admin/shared")
	ann.post("/admin/shared", "do", "quota", "quota", "7")
	ann.want(`name="quota" inputmode="numeric" pattern="[0-9]*" maxlength="9" value="7"`)
}
