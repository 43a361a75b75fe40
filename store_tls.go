// How TLS to the hosts of others went, until they are told.
package main

// tlsSchema: a row for each day (of UTC, counted from 1970), domain and kind of result; result is empty for sessions that went well.
const tlsSchema = `
CREATE TABLE tls_counts(
  day INTEGER NOT NULL, domain TEXT NOT NULL, policy TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL, result TEXT NOT NULL,
  n INTEGER NOT NULL, PRIMARY KEY(day,domain,policy,result,host,address)) WITHOUT ROWID;
`

const (
	tlsRows   = 10_000 // counts in the file; others are not kept
	tlsOfDay  = 100    // of them, of one domain and day
	tlsSecDay = 24 * 60 * 60
)

// TLSCount is what is counted.
type TLSCount struct {
	Day           int64  // of UTC, since 1970
	Domain        string // in A-labels
	Policy        string // as RFC 8460 §4.2 has it
	Host, Address string // of a failure; "" for success
	Result        string // as RFC 8460 §4.3 has it; "" is success
}

// CountTLS adds to the counts.
func (tx *Tx) CountTLS(counts map[TLSCount]int64) error {
	var rows int64
	err := tx.one(`SELECT count(*) FROM tls_counts`, nil, &rows)
	for c, n := range counts {
		if err != nil {
			return err
		}
		err = tx.countTLS(c, n, &rows)
	}
	return err
}

func (tx *Tx) countTLS(c TLSCount, n int64, rows *int64) error {
	done, err := tx.exec(`UPDATE tls_counts SET n=n+? WHERE day=? AND domain=? AND policy=? AND result=? AND host=? AND address=?`,
		n, c.Day, c.Domain, c.Policy, c.Result, c.Host, c.Address)
	if err != nil || done > 0 {
		return err
	}
	var same int64
	err = tx.one(`SELECT count(*) FROM tls_counts WHERE day=? AND domain=?`, []any{c.Day, c.Domain}, &same)
	if err != nil || *rows >= tlsRows || same >= tlsOfDay {
		return err
	}
	*rows++
	_, err = tx.exec(`INSERT INTO tls_counts(day,domain,policy,host,address,result,n) VALUES(?,?,?,?,?,?,?)`,
		c.Day, c.Domain, c.Policy, c.Host, c.Address, c.Result, n)
	return err
}

// TLSToTell returns a day before the given one and a domain that something was counted of, the first of all; "" if there is none.
func (tx *Tx) TLSToTell(before, after int64, than string) (day int64, domain string, err error) {
	err = tx.each(`SELECT day,domain FROM tls_counts WHERE day<?1 AND (day,domain)>(?2,?3) ORDER BY day,domain LIMIT 1`, []any{before, after, than},
		func(scan func(...any) error) error { return scan(&day, &domain) })
	return day, domain, err
}

// TLSCounts returns what was counted of a domain on a day.
func (tx *Tx) TLSCounts(day int64, domain string) (map[TLSCount]int64, error) {
	all := map[TLSCount]int64{}
	query := `SELECT policy,host,address,result,n FROM tls_counts WHERE day=? AND domain=?`
	err := tx.each(query, []any{day, domain}, func(scan func(...any) error) error {
		c := TLSCount{Day: day, Domain: domain}
		var n int64
		err := scan(&c.Policy, &c.Host, &c.Address, &c.Result, &n)
		all[c] = n
		return err
	})
	return all, err
}

// ForgetTLS forgets what was counted of a domain on a day.
func (tx *Tx) ForgetTLS(day int64, domain string) error {
	_, err := tx.exec(`DELETE FROM tls_counts WHERE day=? AND domain=?`, day, domain)
	return err
}
