// How mail under the names of others was judged, until their domains are told.
package main

// dmarcSchema: a row for each day (of UTC, counted from 1970), domain with a policy, address, and what was seen of its mail.
const dmarcSchema = `
CREATE TABLE dmarc_counts(
  day INTEGER NOT NULL, domain TEXT NOT NULL, address TEXT NOT NULL, seen TEXT NOT NULL, n INTEGER NOT NULL,
  PRIMARY KEY(day,domain,address,seen)) WITHOUT ROWID;
`

const (
	dmarcRows  = 5000 // counts in the file; others are not kept
	dmarcOfDay = 200  // of them, of one domain and day
)

// DMARCCount is what is counted.
type DMARCCount struct {
	Day     int64  // of UTC, since 1970
	Domain  string // whose policy it was, in A-labels
	Address string // that brought the mail
	Seen    string // the rest of a report's record
}

// CountDMARC adds to the counts.
func (tx *Tx) CountDMARC(counts map[DMARCCount]int64) error {
	var rows int64
	err := tx.one(`SELECT count(*) FROM dmarc_counts`, nil, &rows)
	for c, n := range counts {
		if err != nil {
			return err
		}
		err = tx.countDMARC(c, n, &rows)
	}
	return err
}

func (tx *Tx) countDMARC(c DMARCCount, n int64, rows *int64) error {
	done, err := tx.exec(`UPDATE dmarc_counts SET n=n+? WHERE day=? AND domain=? AND address=? AND seen=?`, n, c.Day, c.Domain, c.Address, c.Seen)
	if err != nil || done > 0 {
		return err
	}
	var same int64
	err = tx.one(`SELECT count(*) FROM dmarc_counts WHERE day=? AND domain=?`, []any{c.Day, c.Domain}, &same)
	if err != nil || *rows >= dmarcRows || same >= dmarcOfDay {
		return err
	}
	*rows++
	_, err = tx.exec(`INSERT INTO dmarc_counts(day,domain,address,seen,n) VALUES(?,?,?,?,?)`, c.Day, c.Domain, c.Address, c.Seen, n)
	return err
}

// DMARCToTell returns a day before the given one and a domain that something was counted of, the first behind another; "" if there is none.
func (tx *Tx) DMARCToTell(before, after int64, than string) (day int64, domain string, err error) {
	err = tx.each(`SELECT day,domain FROM dmarc_counts WHERE day<?1 AND (day,domain)>(?2,?3) ORDER BY day,domain LIMIT 1`, []any{before, after, than},
		func(scan func(...any) error) error { return scan(&day, &domain) })
	return day, domain, err
}

// DMARCCounts returns what was counted of a domain on a day, in the order of addresses.
func (tx *Tx) DMARCCounts(day int64, domain string) (counts []DMARCCount, times []int64, err error) {
	query := `SELECT address,seen,n FROM dmarc_counts WHERE day=? AND domain=? ORDER BY address,seen`
	err = tx.each(query, []any{day, domain}, func(scan func(...any) error) error {
		c := DMARCCount{Day: day, Domain: domain}
		var n int64
		err := scan(&c.Address, &c.Seen, &n)
		counts, times = append(counts, c), append(times, n)
		return err
	})
	return counts, times, err
}

// ForgetDMARC forgets what was counted of a domain on a day.
func (tx *Tx) ForgetDMARC(day int64, domain string) error {
	_, err := tx.exec(`DELETE FROM dmarc_counts WHERE day=? AND domain=?`, day, domain)
	return err
}
