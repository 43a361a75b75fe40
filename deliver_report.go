// Reports that deliveries call for: they are mail, too, and go where their sender lives.
package main

import (
	"fmt"
)

// makeReport writes a report about a message and makes it ready for place. It is nil when it has no way to go: a report is
// never answered by a report (RFC 5321 §4.5.5), so that is only logged. account is whose message it is about, msg its name and
// flags its facts. A report on a message that is only to go over checked TLS asks for the same, but is not thrown away where a server
// does not offer it (RFC 8689 §5): if it leaves this machine, it repeats nothing of the message that tells what it was about.
func (s *Server) makeReport(r *Report, msg, account string, flags int) (*Mail, error) {
	r.MTA, r.From, r.ID, r.Date = s.asciiHost(), Addr{"postmaster", s.cfg.DomainsNow()[0]}, newMailID(), s.store.Now()
	if d := s.publicDomain(); d != "" && s.isForeign(r.To.Domain) { // which can be answered, and is signed
		r.From.Domain = d
	}
	r.UTF8 = flags&MailUTF8 != 0
	if flags&MailRequireTLS != 0 && s.leaves(r.To) {
		r.redact()
	}
	for _, rc := range r.Rcpts {
		r.UTF8 = r.UTF8 || !rc.Final.IsASCII()
	}
	m := &Mail{To: rcptsTo(r.To), Body: s.store.NewSpool(int64(s.cfg.Limits.Message) + 1<<20), Report: true, ID: r.ID, Account: account}
	m.Flags = flags & MailRequireTLS
	if r.UTF8 {
		m.Flags |= MailUTF8
	}
	if _, err := r.WriteTo(m.Body); err != nil {
		m.Body.Close()
		return nil, fmt.Errorf("write report: %w", err)
	}
	if err := s.prepare(m); err != nil {
		s.crew.Complain("report dropped", err, "msg", msg, "rcpt", r.To)
		m.Body.Close()
		return nil, nil
	}
	return m, nil
}

// leaves says whether mail for an address goes to another machine, as far as is known; a forward counts.
func (s *Server) leaves(a Addr) bool {
	to, err := s.resolve(a)
	return err != nil || len(to.remote) > 0
}

// successReport is a report of success that is ready for place, and for whom of the message's recipients.
type successReport struct {
	action ReportAction
	rcpts  []int
	mail   *Mail // nil: it has no way to go
}

// successReports makes the reports for those local recipients whose sender asked to hear of success (RFC 3461 §5.2), one for
// each action. An alias for several people is a list to its sender: it is told that the message was sent on, and no more
// (§5.2.7.3).
func (s *Server) successReports(m *Mail) error {
	m.reports = nil
	if m.From.IsZero() || m.Stranger {
		return nil
	}
	all := []successReport{{action: ActionDelivered}, {action: ActionExpanded}}
	for i := range m.To {
		r := &m.To[i]
		if r.Notify&NotifySuccess == 0 || (len(r.resolved.users) == 0 && !r.resolved.aliased) || m.Hold.After(s.store.Now()) {
			continue
		}
		switch {
		case len(r.resolved.users)+len(r.resolved.remote) > 1:
			all[1].rcpts = append(all[1].rcpts, i)
			r.Notify &^= NotifySuccess
		case len(r.resolved.remote) > 0: // one alias for one address elsewhere: the next server tells
		default:
			all[0].rcpts = append(all[0].rcpts, i)
		}
	}
	for _, r := range all {
		if len(r.rcpts) == 0 {
			continue
		}
		err := s.writeSuccess(m, &r)
		if err != nil {
			m.closeReports()
			return err
		}
		m.reports = append(m.reports, r)
	}
	return nil
}

// writeSuccess writes the report for those of its recipients who got the message, as far as is known.
func (s *Server) writeSuccess(m *Mail, r *successReport) error {
	head, err := m.Body.Head()
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	rep := &Report{Action: r.action, To: m.From, Arrived: s.store.Now(), EnvID: envID(m.EnvID), Header: head[returnPathLen(head):]}
	for _, i := range r.rcpts {
		if to := m.To[i]; to.Err == nil {
			rep.Rcpts = append(rep.Rcpts, ReportRcpt{Final: to.Addr, Original: originalRecipient(to.ORcpt), Status: "2.1.5"})
		}
	}
	r.mail = nil
	if len(rep.Rcpts) > 0 {
		r.mail, err = s.makeReport(rep, m.ID, m.account(), m.Flags)
	}
	return err
}

// complete says whether everybody whom the report is about got the message.
func (r *successReport) complete(m *Mail) bool {
	for _, i := range r.rcpts {
		if m.To[i].Err != nil {
			return false
		}
	}
	return true
}

// reportRest sends the reports that could not go with the message because some of those they are about did not get it.
func (s *Server) reportRest(m *Mail) error {
	for _, r := range m.reports {
		if r.complete(m) {
			continue
		}
		rest := r
		err := s.writeSuccess(m, &rest)
		if err != nil {
			return err
		}
		if rest.mail == nil {
			continue
		}
		err = s.store.Write(func(tx *Tx) error { _, err := s.place(tx, rest.mail); return err })
		rest.mail.Body.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (m *Mail) closeReports() {
	for _, r := range m.reports {
		if r.mail != nil {
			r.mail.Body.Close()
		}
	}
}

// wantsReport says whether a recipient's NOTIFY asks for a report; without one, failures and delays are told
// (RFC 3461 §4.1).
func wantsReport(notify int, action ReportAction) bool {
	switch action {
	case ActionFailed:
		return notify == 0 || notify&NotifyFailure != 0
	case ActionDelayed:
		return notify == 0 || notify&NotifyDelay != 0
	}
	return notify&NotifySuccess != 0
}
