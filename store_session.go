// Sessions of web mail.
package main

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"
)

const maxPassing = 100 // sessions that are only in memory; the oldest goes

// WebSession is a browser that is logged in.
type WebSession struct {
	Hash          []byte // of the token in its cookie
	User          UserID
	Created, Seen time.Time
	Lasts         time.Duration // without being used
	Remote, Agent string
}

const sessionMost = 180 * 24 * time.Hour // a session ends then, however often it was used

const sessionName = 8 // octets of a session's hash that name it

// Name identifies a session to its user without giving anything away.
func (w WebSession) Name() string { return fmt.Sprintf("%x", w.Hash[:sessionName]) }

const sessionColumns = `hash,user,created,seen,lasts,remote,agent`

func sessionRow(w *WebSession) []any {
	return []any{&w.Hash, &w.User, (*unixTime)(&w.Created), (*unixTime)(&w.Seen), (*seconds)(&w.Lasts), &w.Remote, &w.Agent}
}

// AddWebSession stores a session, and ends those of the user that have run out or are too many.
func (tx *Tx) AddWebSession(w WebSession) error {
	if err := tx.endStaleSessions(w.User); err != nil {
		return err
	}
	_, err := tx.exec(insertInto("web_sessions", sessionColumns), sessionRow(&w)...)
	return err
}

func (tx *Tx) endStaleSessions(user UserID) error {
	if tx.s.ClockTrusted() {
		if _, err := tx.exec(`DELETE FROM web_sessions WHERE user=? AND seen+lasts<?`, user, tx.s.Now().Unix()); err != nil {
			return err
		}
	}
	_, err := tx.exec(`DELETE FROM web_sessions WHERE user=? AND hash NOT IN
		(SELECT hash FROM web_sessions WHERE user=? ORDER BY seen DESC LIMIT ?)`, user, user, maxSessions-1)
	return err
}

// WebSession finds a session that has not run out, and its user. Otherwise, and for a disabled user, it is ErrNotFound.
func (tx *Tx) WebSession(hash []byte) (WebSession, User, error) {
	var w WebSession
	err := tx.one(`SELECT `+sessionColumns+` FROM web_sessions WHERE hash=?`, []any{hash}, sessionRow(&w)...)
	if errors.Is(err, ErrNotFound) {
		w, err = tx.s.passingSession(hash)
	}
	if err != nil {
		return WebSession{}, User{}, err
	}
	if now := tx.s.Now(); now.Sub(w.Seen) > w.Lasts || now.Sub(w.Created) > sessionMost {
		return WebSession{}, User{}, ErrNotFound
	}
	u, err := tx.UserByID(w.User)
	if err != nil {
		return WebSession{}, User{}, err
	}
	if u.Disabled {
		return WebSession{}, User{}, ErrNotFound
	}
	return w, u, nil
}

// FindWebSession says whether there is a session of a name, as WebSession says it: ErrNotFound if not.
func (tx *Tx) FindWebSession(name string) error {
	first, err := hex.DecodeString(name)
	if err != nil || len(first) != sessionName {
		return ErrNotFound
	}
	var hash []byte
	last := append(bytes.Clone(first), bytes.Repeat([]byte{0xff}, 32)...)
	if err := tx.one(`SELECT hash FROM web_sessions WHERE hash>=? AND hash<=?`, []any{first, last}, &hash); err != nil {
		return err
	}
	_, _, err = tx.WebSession(hash)
	return err
}

// WebSessions lists a user's sessions, the last used first.
func (tx *Tx) WebSessions(user UserID) ([]WebSession, error) {
	return rows(tx, `SELECT `+sessionColumns+` FROM web_sessions WHERE user=? ORDER BY seen DESC`, []any{user}, sessionRow)
}

// SeeWebSession notes that a session is in use. Call it rarely: it writes.
func (tx *Tx) SeeWebSession(hash []byte) error {
	_, err := tx.exec(`UPDATE web_sessions SET seen=? WHERE hash=?`, tx.s.Now().Unix(), hash)
	return err
}

// AddPassingSession keeps a session in memory, until the file can be written again or the appliance stops, for people who want to read
// their mail although nothing can be written.
func (s *Store) AddPassingSession(w WebSession) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.passing) >= maxPassing {
		s.passing = s.passing[1:]
	}
	s.passing = append(s.passing, w)
}

// EndPassingSession ends one, and says whether there was one.
func (s *Store) EndPassingSession(hash []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.passing)
	s.passing = slices.DeleteFunc(s.passing, func(w WebSession) bool { return bytes.Equal(w.Hash, hash) })
	return len(s.passing) < before
}

// passingSession finds one. Once the file can be written there are none: whatever ends sessions ends those in the file.
func (s *Store) passingSession(hash []byte) (WebSession, error) {
	writable := s.Writable() == nil
	s.mu.Lock()
	defer s.mu.Unlock()
	if writable {
		s.passing = nil
	}
	i := slices.IndexFunc(s.passing, func(w WebSession) bool { return bytes.Equal(w.Hash, hash) })
	if i < 0 {
		return WebSession{}, ErrNotFound
	}
	return s.passing[i], nil
}

// EndWebSession logs one browser out; its event streams are woken to find that out.
func (tx *Tx) EndWebSession(hash []byte) error {
	var user UserID
	err := tx.one(`DELETE FROM web_sessions WHERE hash=? RETURNING user`, []any{hash}, &user)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	tx.Touch(user)
	return err
}

// EndWebSessions logs all of a user's browsers out but one; nil spares none.
func (tx *Tx) EndWebSessions(user UserID, but []byte) error {
	if but == nil {
		but = []byte{}
	}
	tx.Touch(user)
	_, err := tx.exec(`DELETE FROM web_sessions WHERE user=? AND hash<>?`, user, but)
	return err
}
