// Reports of other servers on our domains: who sends mail under their names (DMARC), and how TLS to us went.
package main

import (
	"encoding/json"
	"errors"
	"time"
)

// heardSchema has what was read out of such reports; found is the JSON of their rows.
const heardSchema = `
CREATE TABLE heard(
  id INTEGER PRIMARY KEY, kind TEXT NOT NULL, domain TEXT NOT NULL, org TEXT NOT NULL, ref TEXT NOT NULL, begins INTEGER NOT NULL,
  ends INTEGER NOT NULL, good INTEGER NOT NULL, bad INTEGER NOT NULL, found TEXT NOT NULL, UNIQUE(kind,domain,org,ref));
`

// heardMost is how many reports of one kind are kept.
const heardMost = 500

// HeardKind is what a report of another server is about.
type HeardKind string

const (
	HeardDMARC HeardKind = "DMARC" // messages that claim to be from a domain of ours (RFC 9990)
	HeardTLS   HeardKind = "TLS"   // sessions with the hosts that take a domain's mail (RFC 8460)
)

// HeardReport is what another organisation says about a domain of ours.
type HeardReport struct {
	ID        int64
	Kind      HeardKind
	Domain    string // ours, as Addr.Domain
	Org       string // the domain that stands for the mail which brought it
	Ref       string // the report's name there
	From      time.Time
	Until     time.Time
	Good, Bad int64 // messages or sessions
	Rows      []HeardRow
}

// HeardRow is one line of a report.
type HeardRow struct {
	Who   string // an address or a host
	Count int64  // messages or sessions
	Good  bool
	What  string // what was found, in the report's words
}

// KeepHeard stores a report, once however often it comes. When there are too many of its kind, the oldest makes room of the
// organisation that has most, so that nobody pushes out all others'.
func (tx *Tx) KeepHeard(r HeardReport) error {
	found, err := json.Marshal(r.Rows)
	if err != nil {
		return err
	}
	_, err = tx.exec(`INSERT OR REPLACE INTO heard(kind,domain,org,ref,begins,ends,good,bad,found) VALUES(?,?,?,?,?,?,?,?,?)`,
		string(r.Kind), r.Domain, r.Org, r.Ref, r.From.Unix(), r.Until.Unix(), r.Good, r.Bad, string(found))
	if err != nil {
		return err
	}
	var n int64
	err = tx.one(`SELECT count(*) FROM heard WHERE kind=?`, []any{string(r.Kind)}, &n)
	if err != nil || n <= heardMost {
		return err
	}
	_, err = tx.exec(`DELETE FROM heard WHERE id=(SELECT min(id) FROM heard WHERE kind=?1 AND
		org=(SELECT org FROM heard WHERE kind=?1 GROUP BY org ORDER BY count(*) DESC, min(id) LIMIT 1))`, string(r.Kind))
	return err
}

// Heard returns the newest reports, those of all kinds for "".
func (tx *Tx) Heard(kind HeardKind, most int) ([]HeardReport, error) {
	var all []HeardReport
	query := `SELECT id,kind,domain,org,ref,begins,ends,good,bad,found FROM heard WHERE ?1='' OR kind=?1 ORDER BY ends DESC, id DESC LIMIT ?2`
	err := tx.each(query, []any{string(kind), most}, func(scan func(...any) error) error {
		var r HeardReport
		var from, until int64
		var found string
		err := scan(&r.ID, (*string)(&r.Kind), &r.Domain, &r.Org, &r.Ref, &from, &until, &r.Good, &r.Bad, &found)
		if err != nil {
			return err
		}
		r.From, r.Until = time.Unix(from, 0), time.Unix(until, 0)
		if json.Unmarshal([]byte(found), &r.Rows) != nil {
			return errors.New("a stored report can't be read")
		}
		all = append(all, r)
		return nil
	})
	return all, err
}
