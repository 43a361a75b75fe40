package main

import (
	"testing"
)

// TestQuotaMeanwhile gives a user a quota while a session is open: the session sees it with its next question.
func TestQuotaMeanwhile(t *testing.T) {
	s := startServer(t)
	c := dialIMAP(t, s, "ann")
	c.is("GETQUOTAROOT INBOX", `* QUOTAROOT "INBOX"`)
	s.write(t, func(tx *Tx) error {
		_, err := tx.exec(`UPDATE users SET quota=307200, quota_messages=7 WHERE name='ann@home.arpa'`)
		return err
	})
	c.is("GETQUOTAROOT INBOX", `* QUOTAROOT "INBOX" ""`, `* QUOTA "" (STORAGE 0 300 MESSAGE 0 7)`)
	c.is("GETQUOTAROOT Later", `* QUOTAROOT "Later" ""`, `* QUOTA "" (STORAGE 0 300 MESSAGE 0 7)`)
	c.is("GETQUOTAROOT Shared/x", `* QUOTAROOT "Shared/x"`)
}
