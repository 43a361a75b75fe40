// Outcomes: what became of a message at its next hop, stored together with the reports that it calls for.
package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

const queueReportSize = 100 << 10 // octets of a message that is given back whole when the sender did not say (RET)

// outcome is what became of one recipient in one try, or at a deadline.
type outcome struct {
	rcpt    QueueRcpt
	action  ReportAction // ActionRelayed (done), ActionDelayed (it waits for the next try) or ActionFailed
	status  string       // enhanced code
	remote  string       // the host that said so; "" it was us
	said    string
	again   bool // it goes in the next transaction: there is nothing to store yet
	warn    bool // delayed: the sender is told
	untried bool // delayed: decided at a deadline, and no try is counted
	dsn     bool // the host sends reports itself when the sender wants them
}

func queueFailAll(q *QueueItem, status, said string) []outcome {
	var out []outcome
	for _, r := range q.Rcpts {
		out = append(out, outcome{rcpt: r, action: ActionFailed, status: status, said: said})
	}
	return out
}

// queueStatus is the enhanced status code for an error of ours (RFC 3463).
func queueStatus(err error) string {
	for _, e := range []struct {
		err  error
		code string
	}{{errNoDomain, "5.1.2"}, {errNullMX, "5.1.10"}, {errMXSelf, "5.4.6"}, {errForeign, "5.4.4"}, {errNoUser, "5.1.1"},
		{errDisabled, "5.2.1"}, {errAliasLoop, "5.4.6"}, {errAliasMany, "5.2.4"}, {errNeverFits, "5.2.3"}, {ErrQuota, "4.2.2"}, {smtpErrTLS, "4.7.5"}, {errSTSHost, "4.7.5"}, {errLate, "5.4.7"}} {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return "4.4.1"
}

// deliverLocal delivers what waits for people here: their mailbox was full, or their domain was somebody else's when it came.
func (j *queueJob) deliverLocal(q *QueueItem) error {
	var out []outcome
	for _, r := range q.Rcpts {
		err := j.s.deliverQueued(q, r)
		if err == nil {
			continue
		}
		o := outcome{rcpt: r, action: ActionDelayed, status: queueStatus(err), said: queueText(err)}
		if strings.HasPrefix(o.status, "5") {
			o.action = ActionFailed
		}
		out = append(out, o)
	}
	return j.record(q, out)
}

// deliverQueued gives a message of the queue to somebody who lives here, and takes them off the queue, in one commit.
func (s *Server) deliverQueued(q *QueueItem, r QueueRcpt) error {
	m := &Mail{SMTPEnvelope: q.SMTPEnvelope, Account: q.Account, EachAlone: true, ID: q.Name, To: []Rcpt{{Recipient: r.Recipient}}}
	var err error
	m.To[0].resolved, err = s.resolve(r.Addr)
	if err != nil {
		return err
	}
	report, err := s.report(q, ActionDelivered, []outcome{{rcpt: r, status: "2.1.5"}})
	if err != nil {
		return err
	}
	if report != nil {
		defer report.Body.Close()
	}
	return s.store.Write(func(tx *Tx) error {
		p := placement{m: m, b: q.Blob, full: map[UserID]error{}}
		if err := p.deliver(tx, &m.To[0]); err != nil {
			return err
		}
		if p.quota != nil {
			return p.quota
		}
		if err := s.enqueue(tx, &p); err != nil {
			return err
		}
		if err := tx.SentOutcome(q.Name, r.Addr.String(), SentDelivered, ""); err != nil {
			return err
		}
		if report != nil {
			if _, err := s.place(tx, report); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
		return tx.QueueDone(q.ID, r)
	})
}

// record stores the outcomes of a message together with the reports that they call for, in one commit: all of it or nothing.
func (j *queueJob) record(q *QueueItem, out []outcome) error {
	out = slices.DeleteFunc(slices.Clone(out), func(o outcome) bool { return o.again })
	if len(out) == 0 {
		return nil
	}
	now := j.s.store.Now()
	for i := range out {
		j.decide(q, &out[i], now)
	}
	reports, err := j.reports(q, out)
	if err != nil {
		return err
	}
	defer closeReports(reports)
	err = j.s.store.Write(func(tx *Tx) error {
		for _, o := range out {
			if err := recordOne(tx, q, o); err != nil {
				return err
			}
			if j.domains == nil { // no try is under way that would do it
				if err := tx.tidyDestinations([]string{o.rcpt.Addr.Domain}); err != nil {
					return err
				}
			}
		}
		if err := j.s.renewDeadline(tx, q.ID); err != nil {
			return err
		}
		for _, m := range reports {
			if _, err := j.s.place(tx, m); err != nil {
				return fmt.Errorf("report: %w", err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, o := range out {
		switch o.action {
		case ActionFailed:
			j.s.refused.Add(1)
		case ActionDelayed:
		default:
			j.s.went.Add(1)
		}
	}
	return nil
}

// decide turns a try that was put off into what its time calls for: another try later, a warning, or the end.
func (j *queueJob) decide(q *QueueItem, o *outcome, now time.Time) {
	if o.action != ActionDelayed || o.untried {
		return
	}
	r := &o.rcpt
	r.Error = queueText(errors.New(o.said))
	r.Tries++
	r.Next = now.Add(j.s.retryAfter(r.Tries))
	switch j.s.queuePolicy(r.Addr.Domain).verdict(q, r, now) {
	case verdictWarn:
		o.warn = true
	case verdictFail:
		o.action, o.status = ActionFailed, queueGaveUp(o.status)
		if q.overdue(now) && q.ByMode == "R" {
			o.status = "5.4.7"
		}
	}
}

// reports writes the reports that outcomes call for, one for each action. A fault of ours in one costs that report and
// nothing else.
func (j *queueJob) reports(q *QueueItem, out []outcome) ([]*Mail, error) {
	var all []*Mail
	for _, action := range []ReportAction{ActionFailed, ActionDelayed, ActionRelayed} {
		var some []outcome
		for _, o := range out {
			if o.action == action && (o.warn || action != ActionDelayed) {
				some = append(some, o)
			}
		}
		if len(some) == 0 {
			continue
		}
		var m *Mail
		err := j.s.crew.Guard("report", func() error {
			var err error
			m, err = j.s.report(q, action, some)
			return err
		})
		var fault *PanicError
		if errors.As(err, &fault) {
			continue
		}
		if err != nil {
			closeReports(all)
			return nil, err
		}
		if m != nil {
			all = append(all, m)
		}
	}
	return all, nil
}

func closeReports(all []*Mail) {
	for _, m := range all {
		m.Body.Close()
	}
}

// recordOne stores the outcome of one recipient.
func recordOne(tx *Tx, q *QueueItem, o outcome) error {
	if o.action == ActionDelayed {
		if o.warn {
			if err := tx.QueueWarned(o.rcpt); err != nil {
				return err
			}
		}
		if o.untried {
			return nil
		}
		return tx.QueueDefer(o.rcpt)
	}
	state := SentDelivered
	if o.action == ActionFailed {
		state = SentFailed
	}
	if err := tx.SentOutcome(q.Name, o.rcpt.Addr.String(), state, o.said); err != nil {
		return err
	}
	return tx.QueueDone(q.ID, o.rcpt)
}

// queueGaveUp turns the status of a passing failure into the one of a message that has waited long enough: the class
// changes, the reason stays (RFC 3463 §2).
func queueGaveUp(status string) string {
	if rest, ok := strings.CutPrefix(status, "4."); ok {
		return "5." + rest
	}
	return "5.4.7"
}

// report writes the delivery report that the sender of a message in the queue gets; nil when nobody wants it.
func (s *Server) report(q *QueueItem, action ReportAction, out []outcome) (*Mail, error) {
	r := &Report{Action: action, To: q.From, Arrived: q.Created, EnvID: envID(q.EnvID)}
	for _, o := range out {
		if action == ActionFailed || action == ActionDelayed {
			s.log.Info("undelivered", "msg", q.Name, "from", q.From, "rcpt", o.rcpt.Addr, "action", string(action), "err", o.said)
		}
		if !wantsReport(o.rcpt.Notify, action) || (action == ActionRelayed && o.dsn) {
			continue
		}
		rc := ReportRcpt{Final: o.rcpt.Addr, Original: originalRecipient(o.rcpt.ORcpt), Status: o.status, Remote: o.remote, Said: o.said, Last: s.store.Now()}
		if action == ActionDelayed {
			rc.Until = q.Since.Add(time.Duration(s.cfg.Queue.GiveUp))
		}
		r.Rcpts = append(r.Rcpts, rc)
	}
	if len(r.Rcpts) == 0 || q.From.IsZero() {
		return nil, nil
	}
	content, err := s.store.Content(q.Blob.ID)
	if err != nil {
		return nil, err
	}
	skip := returnPathLen(content.Head)
	r.Message = io.NewSectionReader(content, skip, content.Size-skip)
	r.Header = content.Head[skip:]
	wanted := (q.Ret == "FULL" || (q.Ret == "" && content.Size <= queueReportSize)) && q.Flags&MailRequireTLS == 0 // RET=FULL is disregarded (RFC 8689 §5)
	r.Whole = action == ActionFailed && wanted && content.Sound(0, content.Size) == nil
	return s.makeReport(r, q.Name, q.Account, q.Flags)
}
