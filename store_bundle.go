// What is known of bundles: mail that travels as files.
package main

import (
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// BundleNext returns the first message after the item with the given ID that can go into a bundle for a domain, with its
// recipients there: those not on hold, and those that are in a bundle already and have no receipt. What must not go before
// a time (RFC 4865) is left out. ErrNotFound at the end.
func (tx *Tx) BundleNext(domain string, now time.Time, after int64) (QueueItem, error) {
	var id int64
	err := tx.one(`SELECT r.item FROM recipients r JOIN queue q ON q.id=r.item WHERE r.domain=? AND (r.hold=0 OR r.bundle<>'') AND r.item>? AND q.since<=?
		ORDER BY r.item LIMIT 1`, []any{domain, after, now.Unix()}, &id)
	if err != nil {
		return QueueItem{}, err
	}
	q, err := tx.queueItem(id)
	if err == nil {
		q.Rcpts, err = tx.queueRcpts(id, ` AND r.domain=? AND (r.hold=0 OR r.bundle<>'')`, domain)
	}
	return q, err
}

// BundleMark holds recipients whose message is in a bundle of that key until its receipt comes.
func (tx *Tx) BundleMark(rcpts []QueueRcpt, key, text string) error {
	for _, r := range rcpts {
		if _, err := tx.exec(`UPDATE recipients SET hold=1, bundle=?, error=? WHERE id=?`, key, text, r.ID); err != nil {
			return err
		}
		if err := tx.tidyDestinations([]string{r.Addr.Domain}); err != nil {
			return err
		}
	}
	tx.Touch(QueueTopic)
	return nil
}

// Bundled returns the message of a bundle's key with those of its recipients that wait for the receipt.
func (tx *Tx) Bundled(key string) (QueueItem, error) {
	var id int64
	err := tx.one(`SELECT item FROM recipients WHERE bundle=? AND bundle<>'' LIMIT 1`, []any{key}, &id)
	if err != nil {
		return QueueItem{}, err
	}
	q, err := tx.queueItem(id)
	if err == nil {
		q.Rcpts, err = tx.queueRcpts(id, ` AND r.bundle=?`, key)
	}
	return q, err
}

// BundleKeys lists the keys of what Queue lists and is in a bundle.
func (tx *Tx) BundleKeys(match string) ([]string, error) {
	return column[string](tx, `SELECT DISTINCT r.bundle FROM recipients r JOIN queue q ON q.id=r.item WHERE r.bundle<>'' AND (?1='' OR q.name=?1 OR r.domain=?1)`, match)
}

// BundleSeen notes that a message of a bundle was taken in; ErrExists when it was before.
func (tx *Tx) BundleSeen(key string) error {
	_, err := tx.exec(`INSERT INTO bundled(key,at) VALUES(?,?)`, key, tx.s.Now().Unix())
	return err
}

const settingBundleOrigin = "bundle origin"

// BundleOrigin is what this file is called in bundles, so that what was made from it is not taken for somebody else's. It is made
// when it is first asked for.
func (tx *Tx) BundleOrigin() (string, error) {
	v, err := tx.Setting(settingBundleOrigin)
	if !errors.Is(err, ErrNotFound) {
		return string(v), err
	}
	origin := strings.ToLower(rand.Text())
	return origin, tx.SetSetting(settingBundleOrigin, []byte(origin))
}

// copyAside copies what r holds into a file without a name beside the database, and returns it at its beginning. Closing it removes
// it. The disk's reserve is not touched: ErrDiskFull.
func (s *Store) copyAside(r io.Reader) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(s.path), ".spool-*")
	if err != nil {
		return nil, err
	}
	err = os.Remove(f.Name())
	for err == nil {
		err = s.Room(copyStep)
		if err == nil {
			_, err = io.CopyN(f, r, copyStep)
		}
	}
	if errors.Is(err, io.EOF) {
		_, err = f.Seek(0, io.SeekStart)
		if err == nil {
			return f, nil
		}
	}
	return nil, errors.Join(err, f.Close())
}

const copyStep = 1 << 20 // octets between two looks at the room that is left
