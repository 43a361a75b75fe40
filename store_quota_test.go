package main

import (
	"errors"
	"strings"
	"testing"
)

func (s *treeStore) setQuota(u User, octets int64) {
	s.t.Helper()
	mustWrite(s.t, s.Store, func(tx *Tx) error {
		u, err := tx.UserByID(u.ID)
		u.Quota = octets
		return errors.Join(err, tx.UpdateUser(u))
	})
}

// blob stores content that is so big.
func (s *treeStore) blob(tx *Tx, size int) (Blob, error) {
	sp := s.NewSpool(1 << 30)
	defer sp.Close()
	if _, err := sp.Write([]byte("Subject: x\r\n\r\n" + strings.Repeat("x", size))); err != nil {
		return Blob{}, err
	}
	return tx.AddBlob(sp)
}

func (s *treeStore) addFile(l *Letter, size int) error {
	return s.Write(func(tx *Tx) error {
		b, err := s.blob(tx, size)
		if err != nil {
			return err
		}
		return tx.AddLetterFile(l, LetterFile{Name: "x", Type: "text/plain", Size: int64(size), Blob: b.ID})
	})
}

// TestQuotaLetters: what somebody is writing counts, and once: the files of a letter and its copy in Drafts are the same thing.
func TestQuotaLetters(t *testing.T) {
	s := newTreeStore(t)
	s.setQuota(s.bob, 100_000)
	l := &Letter{User: s.bob.ID, Fields: []byte("{}")}
	mustWrite(t, s.Store, func(tx *Tx) error { return tx.SaveLetter(l) })
	used := func(want int64) {
		t.Helper()
		err := s.Read(func(tx *Tx) error {
			got, _, err := tx.Used(s.bob.ID)
			if got != want {
				t.Errorf("%d octets used, not %d", got, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.addFile(l, 60_000); err != nil {
		t.Fatal(err)
	}
	used(60_002)
	if err := s.addFile(l, 60_000); !errors.Is(err, ErrQuota) {
		t.Errorf("a second file: %v", err)
	}
	used(60_002)
	// The copy in Drafts is bigger, and takes only that much more.
	drafts := s.box(s.bob, "Drafts")
	var b Blob
	mustWrite(t, s.Store, func(tx *Tx) error {
		var err error
		*l, err = tx.Letter(s.bob.ID, l.ID)
		if err != nil {
			return err
		}
		b, err = s.blob(tx, 80_000)
		if err != nil {
			return err
		}
		return tx.AppendDraft(drafts, b, l)
	})
	used(b.Size)
	// Another one in its place.
	err := s.Write(func(tx *Tx) error {
		if _, err := tx.Expunge(drafts, []UID{l.UID}); err != nil {
			return err
		}
		b, err := s.blob(tx, 99_000)
		if err != nil {
			return err
		}
		return tx.AppendDraft(drafts, b, l)
	})
	if err != nil {
		t.Error(err)
	}
	// There is room for a few words, but not for a book.
	if err := s.Write(func(tx *Tx) error {
		return tx.SaveLetter(&Letter{User: s.bob.ID, Fields: []byte(strings.Repeat("x", letterAlways))})
	}); err != nil {
		t.Errorf("a few words: %v", err)
	}
	if err := s.Write(func(tx *Tx) error {
		return tx.SaveLetter(&Letter{User: s.bob.ID, Fields: []byte(strings.Repeat("x", letterAlways+1))})
	}); !errors.Is(err, ErrQuota) {
		t.Errorf("a book: %v", err)
	}
	mustWrite(t, s.Store, func(tx *Tx) error { return tx.removeLetters(s.bob.ID) })
	if got := s.box(s.bob, "Drafts").Bytes; got > 100_000 {
		t.Errorf("Drafts has %d", got)
	}
}

// TestQuotaShared: the mailboxes of everybody have a limit, too, in whatever way mail comes into them.
func TestQuotaShared(t *testing.T) {
	s := newTreeStore(t)
	club, err := write(s.Store, func(tx *Tx) (Mailbox, error) { return tx.CreateShared("Club") })
	if err != nil {
		t.Fatal(err)
	}
	limit := func() (int64, bool) {
		t.Helper()
		var limit int64
		var set bool
		err := s.Read(func(tx *Tx) error {
			var err error
			limit, _, set, err = tx.SharedQuota()
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return limit, set
	}
	if n, set := limit(); n <= 0 || set {
		t.Errorf("at first %d, %v", n, set)
	}
	mustWrite(t, s.Store, func(tx *Tx) error { return tx.SetSharedQuota(50_000) })
	if n, set := limit(); n != 50_000 || !set {
		t.Errorf("then %d, %v", n, set)
	}
	own := s.box(s.bob, "INBOX")
	put := func(m Mailbox, size int) (u UID, err error) {
		return write(s.Store, func(tx *Tx) (UID, error) {
			b, err := s.blob(tx, size)
			if err != nil {
				return 0, err
			}
			msg, err := tx.Append(m, b, Flags{}, s.Now())
			return msg.UID, err
		})
	}
	u, err := put(own, 30_000)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(club, 30_000); err != nil {
		t.Error(err)
	}
	if _, err := put(club, 30_000); !errors.Is(err, ErrQuota) {
		t.Errorf("append: %v", err)
	}
	if err := s.Write(func(tx *Tx) error { _, _, err := tx.Copy(own, []UID{u}, club); return err }); !errors.Is(err, ErrQuota) {
		t.Errorf("copy: %v", err)
	}
	if err := s.Write(func(tx *Tx) error { _, _, err := tx.Move(own, []UID{u}, club); return err }); !errors.Is(err, ErrQuota) {
		t.Errorf("move: %v", err)
	}
}
