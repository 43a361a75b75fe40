// What others say of our domains: the reports on mail under their names, and on TLS to us.
package main

// webReportsShown is how many reports the page has.
const webReportsShown = 200

// webReportsPage is the page.
type webReportsPage struct {
	webTabs
	Reports []HeardReport
}

func (q *webReq) getReports() error {
	all, err := read(q.s.store, func(tx *Tx) ([]HeardReport, error) { return tx.Heard("", webReportsShown) })
	if err != nil {
		return err
	}
	return q.page("admin-reports", "Reports", webReportsPage{webTabs{"reports"}, all})
}
