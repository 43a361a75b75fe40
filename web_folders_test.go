package main

import (
	"fmt"
	"net/http"
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
