// Reports that deliveries call for: they are mail, too, and go where their sender lives.
package main

import (
	"fmt"
)

// makeReport writes a report and makes it ready for place. It is nil when it has no way to go: a report is never answered
// by a report (RFC 5321 §4.5.5), so that is only logged. msg is the name of the message that it is about.
func (s *Server) makeReport(r *Report, msg string) (*Mail, error) {
	r.MTA, r.From, r.ID, r.Date = s.asciiHost(), Addr{"postmaster", s.cfg.Domains[0]}, newMailID(), s.store.Now()
	for _, rc := range r.Rcpts {
		r.UTF8 = r.UTF8 || !rc.Final.IsASCII()
	}
	m := &Mail{To: rcptsTo(r.To), Body: s.store.NewSpool(int64(s.cfg.Limits.Message) + 1<<20), Report: true, ID: r.ID}
	if r.UTF8 {
		m.Flags |= MailUTF8
	}
	if _, err := r.WriteTo(m.Body); err != nil {
		m.Body.Close()
		return nil, fmt.Errorf("write report: %w", err)
	}
	if err := s.prepare(m); err != nil {
		s.log.Warn("report dropped", "msg", msg, "rcpt", r.To, "err", err)
		m.Body.Close()
		return nil, nil
	}
	return m, nil
}

// successReports makes the reports for those local recipients whose sender asked to hear of success (RFC 3461 §5.2). An
// alias for several people is a list to its sender: it is told that the message was sent on, and no more (§5.2.7.3).
func (s *Server) successReports(m *Mail) error {
	m.reports = nil
	if m.From.IsZero() {
		return nil
	}
	for i := range m.To {
		r := &m.To[i]
		if r.Notify&NotifySuccess == 0 || (len(r.resolved.users) == 0 && !r.resolved.aliased) || m.Hold.After(s.store.Now()) {
			continue
		}
		if m.reports == nil {
			m.reports = make([]*Mail, len(m.To))
		}
		action := ActionDelivered
		switch {
		case len(r.resolved.users)+len(r.resolved.remote) > 1:
			action = ActionExpanded
			r.Notify &^= NotifySuccess
		case len(r.resolved.remote) > 0:
			continue // one alias for one address elsewhere: the next server tells
		}
		head, err := m.Body.Head()
		if err != nil {
			return fmt.Errorf("read spool: %w", err)
		}
		head = head[returnPathLen(head):]
		m.reports[i], err = s.makeReport(&Report{Action: action, To: m.From, Arrived: s.store.Now(), EnvID: envID(m.EnvID), Header: head,
			UTF8:  m.Flags&MailUTF8 != 0,
			Rcpts: []ReportRcpt{{Final: r.Addr, Original: originalRecipient(r.ORcpt), Status: "2.1.5"}}}, m.ID)
		if err != nil {
			m.closeReports()
			return err
		}
	}
	return nil
}

func (m *Mail) closeReports() {
	for _, r := range m.reports {
		if r != nil {
			r.Body.Close()
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
