// Quotas: how much an owner's mail may take, what people are writing included.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// sharedShare is the part of what the disk can hold for mail (a half) that the mailboxes of SharedOwner may take together, unless
// somebody has set another limit: everybody may add to them, also those who have a quota of their own.
const sharedShare = 2

// Used returns how many octets and messages an owner has: what the mailboxes hold, and what letters and their files take beyond
// their copies in Drafts.
func (tx *Tx) Used(owner UserID) (bytes, messages int64, err error) {
	err = tx.one(`SELECT coalesce(sum(bytes),0), coalesce(sum(n_exists),0) FROM mailboxes WHERE owner=?`, []any{owner}, &bytes, &messages)
	if err != nil {
		return 0, 0, err
	}
	var letters int64
	err = tx.one(`SELECT coalesce(sum(max(0, octet_length(l.fields)
		+ coalesce((SELECT sum(f.size) FROM letter_files f WHERE f.letter=l.id),0)
		- coalesce((SELECT m.size FROM messages m WHERE m.mailbox=l.mailbox AND m.uid=l.uid AND NOT m.gone),0))),0)
		FROM letters l WHERE l.user=?`, []any{owner}, &letters)
	return bytes + letters, messages, err
}

// Room returns ErrQuota when the owner may not have so many more octets and messages.
func (tx *Tx) Room(owner UserID, bytes, messages int64) error {
	maxBytes, maxMessages, err := tx.quota(owner)
	if err != nil || (maxBytes == 0 && maxMessages == 0) {
		return err
	}
	usedBytes, used, err := tx.Used(owner)
	switch {
	case err != nil:
		return err
	case maxBytes > 0 && usedBytes+bytes > maxBytes:
		return fmt.Errorf("%w: %d of %d octets used", ErrQuota, usedBytes, maxBytes)
	case maxMessages > 0 && used+messages > maxMessages:
		return fmt.Errorf("%w: %d of %d messages", ErrQuota, used, maxMessages)
	}
	return nil
}

// quota is what an owner may have; 0 is no limit.
func (tx *Tx) quota(owner UserID) (bytes, messages int64, err error) {
	err = tx.one(`SELECT quota,quota_messages FROM users WHERE id=?`, []any{owner}, &bytes, &messages)
	if owner == SharedOwner && bytes == 0 {
		bytes = tx.s.sharedQuota()
	}
	return bytes, messages, err
}

// sharedQuota is the limit of the shared mailboxes that nobody has set; 0 where the system does not say how big the disk is.
func (s *Store) sharedQuota() int64 {
	var fs syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(s.path), &fs); err != nil {
		return 0
	}
	room := int64(fs.Bavail) * int64(fs.Bsize)
	if fi, err := os.Stat(s.path); err == nil {
		room += fi.Size()
	}
	return room / sharedShare
}

// SharedQuota returns how many octets the shared mailboxes may take and how many they do. set says that somebody has chosen the
// limit.
func (tx *Tx) SharedQuota() (limit, used int64, set bool, err error) {
	err = tx.one(`SELECT quota FROM users WHERE id=?`, []any{SharedOwner}, &limit)
	set = limit != 0
	if err == nil && !set {
		limit = tx.s.sharedQuota()
	}
	if err == nil {
		used, _, err = tx.Used(SharedOwner)
	}
	return limit, used, set, err
}

// SetSharedQuota limits the octets of the shared mailboxes; 0 is a half of what the disk can hold.
func (tx *Tx) SetSharedQuota(limit int64) error {
	return tx.changeOne(`UPDATE users SET quota=? WHERE id=?`, limit, SharedOwner)
}
