// Delivery: accept takes a message in. Every message comes through accept.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"
)

const maxHeaderBlock = 1 << 20

// What an address or a message can be refused for. The texts are for people and end up in replies and reports.
var (
	errNoUser     = errors.New("there is no such mailbox here")
	errDisabled   = errors.New("this mailbox takes no mail")
	errForeign    = errors.New("this machine sends no mail to other domains")
	errAliasLoop  = errors.New("this address leads nowhere but back to itself")
	errAliasMany  = fmt.Errorf("this address stands for more than %d others", maxAliasTargets)
	errMailLoop   = errors.New("the message has passed too many servers: it goes round in circles")
	errHeaderSize = fmt.Errorf("the message's header is longer than %d KB", maxHeaderBlock>>10)
	errCaller     = errors.New("the mail waits until the other side calls for it")
	errNeverFits  = errors.New("the message is bigger than the whole mailbox may be")
	errNotSender  = errors.New("the From field names somebody else")
	errFromTwice  = fmt.Errorf("%w: there is more than one of it", errNotSender)
	errFromNobody = fmt.Errorf("%w: there is nobody in it", errNotSender)
	errLate       = errors.New("the message is late, and was to be returned then (DELIVERBY)")
)

// Mail is a message on its way in: an envelope and the content (RFC 5321 §2.3.1).
type Mail struct {
	SMTPEnvelope
	To   []Rcpt
	Body *Spool

	Trace     string // what Received says before "id": from, by, with; "" leaves the field out
	Submitted bool   // missing From, To and Date are filled in (RFC 6409 §8)
	Login     *User  // who submitted it, and must own its From; nil does not matter
	Sender    Addr   // what its From is made to be, whatever it says: a sending device's; zero leaves it
	Local     string // who submitted it, a user of this machine who may not write under others' addresses; "" does not matter
	EachAlone bool   // recipients whose mailbox is full get their Err and nothing more: the client hears of each (LMTP)

	Report bool // a delivery report: a full mailbox or queue never stops it

	Arrived time.Time // when it came to the account that it was fetched from; zero is now
	Marks   Flags     // that it had there

	// Also runs in the transaction that takes the message in, with the content that was stored; nil does nothing.
	Also func(*Tx, Blob) error

	ID string // names it in the log, in Received and in the queue; accept gives it one if it has none

	Stranger bool   // nobody vouches for it: its sender may be anybody's address, who is told as little as can be
	Account  string // whose places in the queue it takes: a user's or device's name, "net …" for strangers; "" is Login's or nobody's

	Verdict *Verdict // what judge found out about its sender; nil is nothing

	Unfiltered bool // scripts are not asked

	reports  []successReport      // what the sender is told when it is delivered
	filtered map[UserID]*filtered // what scripts have made of it
	beside   []*Mail              // what they have changed and sent on, and refusals, taken in with it
	heard    []HeardReport        // what it says of our domains, see hear

	junk map[UserID]string // for whom it is junk, and why, see weighJunk
}

// account is whose places in the queue the message takes, "" nobody's.
func (m *Mail) account() string {
	if m.Account == "" && m.Login != nil {
		return m.Login.Name
	}
	return m.Account
}

// Rcpt is one recipient of a Mail.
type Rcpt struct {
	Recipient

	Err error // after accept: why this recipient did not get it, while others did

	resolved *resolved
}

// rcptsTo are plain recipients.
func rcptsTo(addrs ...Addr) []Rcpt {
	var all []Rcpt
	for _, a := range addrs {
		all = append(all, Rcpt{Recipient: Recipient{Addr: a}})
	}
	return all
}

// newMailID makes a name for a message: ten letters and digits, different from all others.
func newMailID() string { return strings.ToLower(rand.Text()[:10]) }

// accept takes a message in. When it returns nil the message is in every local recipient's INBOX and in the queue for
// every remote one, committed; recipients who did not get it have their Err. Otherwise nobody got it, and nothing is
// stored. A mailbox that is full does not make the message's other recipients wait: its copy waits in the queue, unless
// nobody else got it.
func (s *Server) accept(m *Mail) error {
	if err := s.prepare(m); err != nil {
		return err
	}
	if err := s.successReports(m); err != nil {
		return err
	}
	defer m.closeReports()
	defer m.closeFiltered()
	answers, err := write(s.store, func(tx *Tx) ([]reply, error) { return s.place(tx, m) })
	if err != nil {
		return err
	}
	err = s.reportRest(m)
	if err != nil {
		s.log.Warn("report", "msg", m.ID, "err", err)
	}
	for _, v := range answers {
		if err := s.reply(m, v); err != nil {
			s.log.Warn("automatic answer", "user", v.user.Name, "rcpt", m.From, "err", err)
		}
	}
	return nil
}

// prepare does what accept does before its transaction.
func (s *Server) prepare(m *Mail) error {
	if m.ID == "" {
		m.ID = newMailID()
	}
	for i := range m.To {
		r := &m.To[i]
		if r.resolved == nil {
			var err error
			r.resolved, err = s.resolve(r.Addr)
			if err != nil {
				return fmt.Errorf("%s: %w", r.Addr, err)
			}
		}
	}
	if err := s.addFields(m); err != nil {
		return err
	}
	if err := s.filter(m); err != nil {
		return err
	}
	if err := s.weighJunk(m); err != nil {
		s.crew.Complain("whether a message is junk", err, "msg", m.ID) // then it is not
	}
	return s.store.Stage(m.Body)
}

// place is accept's transaction. It returns the automatic answers that are to be sent once it is committed.
func (s *Server) place(tx *Tx, m *Mail) ([]reply, error) {
	b, err := tx.AddBlob(m.Body)
	if err != nil {
		return nil, err
	}
	err = s.countShare(tx, m)
	if err != nil {
		return nil, err
	}
	p := placement{m: m, b: b, full: map[UserID]error{}}
	for i := range m.To {
		if err := p.deliver(tx, &m.To[i]); err != nil {
			return nil, err
		}
	}
	if p.stored == 0 && p.quota != nil && !m.Report {
		return nil, p.quota
	}
	if err := s.enqueue(tx, &p); err != nil {
		return nil, err
	}
	for _, x := range m.beside {
		if _, err := s.place(tx, x); err != nil {
			return nil, fmt.Errorf("beside: %w", err)
		}
	}
	for _, r := range m.reports {
		if r.mail != nil && r.complete(m) {
			if _, err := s.place(tx, r.mail); err != nil {
				return nil, fmt.Errorf("report: %w", err)
			}
		}
	}
	for _, r := range m.heard {
		err = tx.KeepHeard(r)
		if err != nil {
			return nil, err
		}
	}
	if m.Also != nil {
		err = m.Also(tx, b)
	}
	return p.answers, err
}

// placement is what one run of place has done so far. A transaction may run twice, so nothing of it may stay in m.
type placement struct {
	m      *Mail
	b      Blob
	full   map[UserID]error // who was seen to, and the error of those whose mailbox is full
	queue  []QueueRcpt
	stored int
	quota  error

	header  Header // parsed when a rule asks for it
	answers []reply
}

// deliver puts the message into the INBOX of every user that a recipient stands for, once for each user.
func (p *placement) deliver(tx *Tx, r *Rcpt) error {
	r.Err = nil
	if p.m.Hold.After(tx.s.Now()) {
		p.queue = append(p.queue, QueueRcpt{Recipient: r.Recipient, Next: p.m.Hold})
		p.stored++
		return nil
	}
	for _, u := range r.resolved.users {
		f := p.m.filtered[u.ID]
		if f != nil && f.refusal != nil && p.m.EachAlone {
			r.Err = f.refusal
			p.stored++
			continue
		}
		err, seen := p.full[u.ID]
		if !seen {
			err = p.store(tx, u, r.resolved.rules[u.ID])
			if err != nil && !errors.Is(err, ErrQuota) {
				return err
			}
			if err != nil && u.Quota > 0 && p.b.Size > u.Quota { // it would wait for days, and then come back
				err = fmt.Errorf("%w (%w)", errNeverFits, err)
			}
			p.full[u.ID] = err
		}
		if err == nil {
			p.stored++
			continue
		}
		p.quota, r.Err = err, err
		if !seen && !p.m.EachAlone {
			a, perr := ParseAddr(u.Name)
			if perr != nil {
				return perr
			}
			waits := QueueRcpt{Recipient: r.as(a), Error: err.Error()}
			if p.m.Stranger { // who gave somebody else's address as theirs would have reports sent there
				waits.Notify = NotifyNever
			}
			p.queue = append(p.queue, waits)
		}
	}
	for _, a := range r.resolved.remote {
		p.queue = append(p.queue, QueueRcpt{Recipient: r.as(a), Forwarded: r.resolved.local})
		p.stored++
	}
	return nil
}

// store puts the message into the mailboxes of one user that their script says, the INBOX without any, and answers it if they want that.
func (p *placement) store(tx *Tx, u User, rules *Rules) error {
	f := p.m.filtered[u.ID]
	if f != nil {
		err := p.storeFiltered(tx, u, f)
		if err != nil {
			return err
		}
	} else if err := p.append(tx, u, Mailbox{ID: u.Inbox, Owner: u.ID}, p.b, Flags{}); err != nil {
		return err
	}
	if rules == nil || (f != nil && f.answers) || !rules.Vacation.Active(tx.s.Now()) || !p.mayAnswer(u, nil) {
		return nil
	}
	first, err := tx.Answer(u.ID, p.m.From.Key())
	if err == nil && first {
		p.answers = append(p.answers, reply{user: u, rules: rules.Vacation})
	}
	return err
}

// append puts content into a mailbox.
func (p *placement) append(tx *Tx, u User, box Mailbox, b Blob, flags Flags) error {
	junk := p.junkFor(u)
	if junk != "" && box.ID == u.Inbox {
		var err error
		box, err = tx.junkOf(u)
		if err != nil {
			return err
		}
		flags.Bits |= FlagJunk
	}
	arrived := p.m.Arrived
	if arrived.IsZero() {
		arrived = tx.s.Now()
	}
	added, whole, err := tx.AppendAnyway(box, b, flags.With(p.m.Marks), arrived)
	if err != nil {
		return err
	}
	if !whole {
		tx.s.log.Info("keywords of a message stay away", "user", u.Name, "msg", p.m.ID)
	}
	if junk != "" && box.ID != u.Inbox {
		err = tx.NoteJunk(box.ID, added.UID, junk)
	}
	return err
}

// enqueue puts the message into the queue for those who are not served yet.
func (s *Server) enqueue(tx *Tx, p *placement) error {
	if len(p.queue) == 0 {
		return nil
	}
	q := QueueItem{Name: p.m.ID, Blob: p.b, SMTPEnvelope: p.m.SMTPEnvelope, Created: tx.s.Now(), Account: p.m.account(), Report: p.m.Report}
	err := s.queuePlace(tx, &q)
	if err != nil && p.m.Report { // a report never stops what it is about
		s.crew.Complain("report dropped", err, "msg", q.Name, "account", q.Account)
		return nil
	}
	if err != nil {
		return err
	}
	q.Since = q.Created
	seen := map[string]bool{}
	for _, r := range p.queue {
		if seen[r.Addr.Key()] {
			continue
		}
		seen[r.Addr.Key()] = true
		if r.Next.IsZero() {
			r.Next = q.Created
		}
		if r.Next.After(q.Since) {
			q.Since = r.Next
		}
		q.Rcpts = append(q.Rcpts, r)
	}
	q.Deadline = s.deadline(&q, q.Created)
	return tx.Enqueue(&q)
}

// queuePlace says whether there is a place in the queue for one more message: ErrQueueFull if not. Reports have places of their
// own, so that neither they nor people's mail keep the other out, and nobody has all of them: not one person, and not the
// strangers of one network.
func (s *Server) queuePlace(tx *Tx, q *QueueItem) error {
	all, own, err := tx.QueueCounts(q.Account, q.Report)
	if err != nil {
		return err
	}
	l := s.cfg.Limits
	most, share := l.QueueMessages, l.QueuePerson
	if strings.HasPrefix(q.Account, strangerAccount) {
		share = l.QueueStranger
	}
	if q.Report {
		most, share = l.QueueReports, min(share, max(1, l.QueueReports/queueReportShare))
	}
	switch {
	case all >= most:
		return ErrQueueFull
	case own >= share && q.Account != "":
		return fmt.Errorf("%w: %d messages from the same sender wait already", ErrQueueFull, own)
	}
	return nil
}

const (
	strangerAccount  = "net " // begins the accounts of those who don't log in, with their network behind it
	queueReportShare = 20     // of the places for reports, one in so many may be about one account's messages
)
