// Policies of domains on the hosts that take their mail (MTA-STS), which hold for longer than a run of the appliance.
package main

import "time"

// stsSchema: id is that of the record in the DNS, until when the policy ends, used the day on which mail went by it last, and org whose
// domain it is, so that nobody fills the table with names below their own.
const stsSchema = `
CREATE TABLE sts(
  domain TEXT PRIMARY KEY, org TEXT NOT NULL, id TEXT NOT NULL, policy TEXT NOT NULL, until INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
`

const (
	stsKept   = 2000           // policies that are kept
	stsOfOrg  = 20             // of them, of domains of the same organization
	stsUnused = 60             // days after which one that nobody needed is not fetched again
	stsDay    = 24 * time.Hour // how exactly it is noted when one was used
)

// STSStored is a policy in the file.
type STSStored struct {
	Domain string // in A-labels
	Org    string
	ID     string
	Policy string // as STSPolicy.String has it
	Until  time.Time
	Used   time.Time
}

// STS returns the policy of a domain, ErrNotFound without one. Whether it has ended is for those to say who know the clock.
func (tx *Tx) STS(domain string) (STSStored, error) {
	p := STSStored{Domain: domain}
	var until, used int64
	err := tx.one(`SELECT org,id,policy,until,used FROM sts WHERE domain=?`, []any{domain}, &p.Org, &p.ID, &p.Policy, &until, &used)
	p.Until, p.Used = time.Unix(until, 0), time.Unix(used, 0)
	return p, err
}

// KeepSTS stores a policy. Where there are too many, of its organization or in all, those make room that were not used for longest.
func (tx *Tx) KeepSTS(p STSStored) error {
	_, err := tx.exec(`INSERT OR REPLACE INTO sts(domain,org,id,policy,until,used) VALUES(?,?,?,?,?,?)`, p.Domain, p.Org, p.ID, p.Policy, p.Until.Unix(), p.Used.Unix())
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM sts WHERE domain IN (SELECT domain FROM sts WHERE org=?1 ORDER BY domain<>?2, used DESC LIMIT -1 OFFSET ?3)`, p.Org, p.Domain, stsOfOrg)
	if err != nil {
		return err
	}
	_, err = tx.exec(`DELETE FROM sts WHERE domain IN (SELECT domain FROM sts ORDER BY domain<>?1, used DESC LIMIT -1 OFFSET ?2)`, p.Domain, stsKept)
	return err
}

// UseSTS notes that mail goes by a policy, once a day.
func (tx *Tx) UseSTS(domain string, now time.Time) error {
	_, err := tx.exec(`UPDATE sts SET used=? WHERE domain=?`, now.Unix(), domain)
	return err
}

// STSEnding are policies that end before a time and were used lately, those first that end first.
func (tx *Tx) STSEnding(before, now time.Time, most int) ([]STSStored, error) {
	var all []STSStored
	query := `SELECT domain,org,id,policy,until,used FROM sts WHERE until<? AND used>=? ORDER BY until LIMIT ?`
	err := tx.each(query, []any{before.Unix(), now.Add(-stsUnused * stsDay).Unix(), most}, func(scan func(...any) error) error {
		var p STSStored
		var until, used int64
		err := scan(&p.Domain, &p.Org, &p.ID, &p.Policy, &until, &used)
		p.Until, p.Used = time.Unix(until, 0), time.Unix(used, 0)
		all = append(all, p)
		return err
	})
	return all, err
}
