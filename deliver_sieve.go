// People's scripts in a delivery: they are run before the transaction, which only does what they said.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	faultToldEach = 24 * time.Hour // between two messages to somebody whose script fails
	maxRefusal    = 400            // characters of a refusal on the wire
)

// errRefused says that somebody's script refuses the message. It is a *refusedBy with the words.
var errRefused = errors.New("the message is refused")

type refusedBy struct{ text string }

func (e *refusedBy) Error() string { return e.text }

func (e *refusedBy) Is(target error) bool { return target == errRefused }

// filtered is what one person's script has said of a message.
type filtered struct {
	outcome sieveOutcome
	edited  map[*sieveEdit]*Spool // the message as the script has changed it
	refusal error
	answers bool // it has an automatic answer of its own, so that the settings page's stays away
	fault   string
}

// stores are the actions that put the message into a mailbox.
func (f *filtered) stores() []*sieveAction {
	var all []*sieveAction
	for i := range f.outcome.actions {
		if a := &f.outcome.actions[i]; a.kind == "keep" || a.kind == "fileinto" {
			all = append(all, a)
		}
	}
	if f.outcome.keep != nil {
		all = append(all, f.outcome.keep)
	}
	return all
}

// keepAnyway puts the message into the inbox, whatever else was said: nothing else would become of it.
func (f *filtered) keepAnyway() {
	if f.outcome.keep == nil {
		f.outcome.keep = &sieveAction{kind: "keep"}
	}
}

func (m *Mail) closeFiltered() {
	for _, f := range m.filtered {
		for _, sp := range f.edited {
			sp.Close()
		}
	}
	for _, x := range m.beside {
		x.closeFiltered()
		x.Body.Close()
	}
}

// filter runs the scripts of all people here who get the message, those to whom it is redirected, too: each once. A script that fails
// leaves the message in the inbox. An error means that the message can't be taken, or that its only recipient refuses it.
func (s *Server) filter(m *Mail) error {
	if m.Unfiltered || m.Body == nil || m.Hold.After(s.store.Now()) {
		return nil
	}
	var mail *sieveMail
	for i := range m.To {
		r := &m.To[i]
		for j := 0; j < len(r.resolved.users); j++ { // redirecting adds to them
			u := r.resolved.users[j]
			rules := r.resolved.rules[u.ID]
			if rules == nil || rules.Script == nil || m.filtered[u.ID] != nil {
				continue
			}
			if mail == nil {
				var err error
				mail, err = s.sieveMail(m)
				if err != nil {
					return err
				}
			}
			own := *mail
			own.to, own.orig = r.Addr.String(), r.Addr.String()
			if err := s.runScript(m, r, u, rules.Script, &own); err != nil {
				return err
			}
		}
	}
	return nil
}

// sieveMail is the message as scripts see it.
func (s *Server) sieveMail(m *Mail) (*sieveMail, error) {
	head, err := m.Body.Head()
	if err != nil {
		return nil, err
	}
	header, err := wholeHeader(m.Body, head)
	if err != nil {
		return nil, err
	}
	mail := &sieveMail{tree: m.Body.Tree(), r: m.Body, size: m.Body.Size(), header: ParseHeader([]byte(header)), from: m.From.String()}
	if m.From.IsZero() {
		mail.from = ""
	}
	if m.Login != nil {
		mail.auth = m.Login.Name
	}
	return mail, nil
}

// runScript runs one person's script and works through what it says as far as that can be done before the transaction.
func (s *Server) runScript(m *Mail, r *Rcpt, u User, script *Script, mail *sieveMail) error {
	f := &filtered{edited: map[*sieveEdit]*Spool{}}
	if m.filtered == nil {
		m.filtered = map[UserID]*filtered{}
	}
	m.filtered[u.ID] = f
	err := s.crew.Guard("script of "+u.Name, func() error {
		compiled, err := s.scripts.get(script.ID, script.Source)
		if err != nil {
			return err
		}
		f.outcome, err = sieveExecute(compiled, mail, s.sieveWorld(m, u))
		return err
	})
	if err == nil {
		err = s.carryOut(m, r, u, f, mail)
		if err != nil && !errors.As(err, new(*sieveFault)) {
			return err
		}
	}
	if err != nil {
		s.log.Warn("script", "user", u.Name, "msg", m.ID, "err", err)
		f.outcome, f.fault = sieveOutcome{keep: &sieveAction{kind: "keep"}}, err.Error()
	}
	return nil
}

// carryOut makes changed content ready, finds out where redirected mail goes, and refuses.
func (s *Server) carryOut(m *Mail, r *Rcpt, u User, f *filtered, mail *sieveMail) error {
	for _, a := range f.stores() {
		if a.content != nil && f.edited[a.content] == nil {
			sp, err := s.editedSpool(mail, a.content)
			if err != nil {
				return err
			}
			f.edited[a.content] = sp
			if err := s.store.Stage(sp); err != nil {
				return err
			}
		}
	}
	for i := range f.outcome.actions {
		a := &f.outcome.actions[i]
		var err error
		switch a.kind {
		case "redirect":
			err = s.redirect(m, r, u, f, a, mail)
		case "reject", "ereject":
			err = s.refuse(m, r, u, f, a)
		case "vacation":
			f.answers = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) editedSpool(mail *sieveMail, e *sieveEdit) (*Spool, error) {
	sp := s.store.NewSpool(int64(s.cfg.Limits.Message) + maxHeaderBlock)
	err := e.writeTo(sp, mail)
	if err != nil {
		sp.Close()
		return nil, err
	}
	return sp, nil
}

// redirect sends the message on: people here get it with it, others by the queue. A message that was changed is one of its own. One that leads
// nowhere but back to whoever sends it on stays in the inbox.
func (s *Server) redirect(m *Mail, r *Rcpt, u User, f *filtered, a *sieveAction, mail *sieveMail) error {
	to, err := ParseAddr(a.target)
	if err != nil {
		return &sieveFault{a.at, err.Error()}
	}
	if a.content != nil {
		return s.redirectEdited(m, r, a, to, mail)
	}
	found, err := s.resolve(to)
	if err != nil {
		return &sieveFault{a.at, fmt.Sprintf("%s: %v", to, err)}
	}
	next := *r.resolved
	next.users, next.remote = slices.Clone(next.users), slices.Clone(next.remote)
	next.rules = map[UserID]*Rules{}
	for id, rules := range r.resolved.rules {
		next.rules[id] = rules
	}
	back := len(found.remote) == 0
	for _, x := range found.users {
		had := m.filtered[x.ID]
		back = back && (x.ID == u.ID || (had != nil && len(had.stores()) == 0))
		if slices.ContainsFunc(next.users, func(h User) bool { return h.ID == x.ID }) {
			continue
		}
		next.users = append(next.users, x)
		if rules := found.rules[x.ID]; rules != nil {
			next.rules[x.ID] = rules
		}
	}
	for _, x := range found.remote {
		if !slices.Contains(next.remote, x) {
			next.remote = append(next.remote, x)
		}
	}
	if len(next.users)+len(next.remote) > maxAliasTargets {
		return &sieveFault{a.at, errAliasMany.Error()}
	}
	if back {
		f.keepAnyway()
	}
	r.resolved = &next
	return nil
}

// redirectEdited sends a changed message on.
func (s *Server) redirectEdited(m *Mail, r *Rcpt, a *sieveAction, to Addr, mail *sieveMail) error {
	sp, err := s.editedSpool(mail, a.content)
	if err != nil {
		return err
	}
	if n := len(mail.header.All("Return-Path")); n > 0 && m.Body != nil { // it gets one of its own
		sp.Close()
		e := *a.content
		e.header = slices.DeleteFunc(slices.Clone(e.header), func(f Field) bool { return strings.EqualFold(f.Name, "Return-Path") })
		sp, err = s.editedSpool(mail, &e)
		if err != nil {
			return err
		}
	}
	x := &Mail{SMTPEnvelope: m.SMTPEnvelope, To: []Rcpt{{Recipient: r.as(to)}}, Body: sp, Stranger: m.Stranger, Account: m.account(), Report: m.Report,
		Trace: "by " + s.asciiHost() + " with local"}
	err = s.prepare(x)
	if err != nil {
		x.closeFiltered()
		sp.Close()
		return &sieveFault{a.at, fmt.Sprintf("%s: %v", to, err)}
	}
	m.beside = append(m.beside, x)
	return nil
}

// refuse refuses a message (RFC 5429): while its sender's server waits if it is for this person alone, and else by a report. Nobody is told
// who is told nothing by other reports either.
func (s *Server) refuse(m *Mail, r *Rcpt, u User, f *filtered, a *sieveAction) error {
	f.refusal = &refusedBy{refusalLine(a.text)}
	alone := len(m.To) == 1 && len(r.resolved.users) == 1 && len(r.resolved.remote) == 0
	switch {
	case m.EachAlone:
		return nil
	case alone && m.Stranger:
		return f.refusal
	case m.From.IsZero() || m.Report || !m.Arrived.IsZero():
		return nil
	}
	head, err := m.Body.Head()
	if err != nil {
		return err
	}
	rep := &Report{Action: ActionFailed, To: m.From, Arrived: s.store.Now(), EnvID: envID(m.EnvID), Header: head[returnPathLen(head):],
		Rcpts: []ReportRcpt{{Final: r.Addr, Original: originalRecipient(r.ORcpt), Status: "5.7.1", Said: sieveCut(a.text, 4<<10)}}}
	x, err := s.makeReport(rep, m.ID, m.account(), m.Flags)
	if err == nil && x != nil {
		m.beside = append(m.beside, x)
	}
	return err
}

// refusalLine is a refusal as it can stand in a reply of SMTP.
func refusalLine(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if text == "" || len(text) > maxRefusal || !isPrintableASCII(text) {
		return "the recipient does not want this message"
	}
	return text
}

// storeFiltered puts the message where a script wants it, once into each mailbox, and does the rest of what it said.
func (p *placement) storeFiltered(tx *Tx, u User, f *filtered) error {
	type copied struct {
		box   MailboxID
		edit  *sieveEdit
		flags Flags
	}
	var all []copied
	boxes := map[MailboxID]Mailbox{}
	fault := f.fault
	for _, a := range f.stores() {
		box, words, err := mailboxOf(tx, u, a)
		if err != nil {
			return err
		}
		if words != "" {
			fault = (&sieveFault{a.at, words}).Error()
		}
		flags := flagsNamed(a.flags)
		boxes[box.ID] = box
		i := slices.IndexFunc(all, func(c copied) bool { return c.box == box.ID && c.edit == a.content })
		if i >= 0 {
			all[i].flags = all[i].flags.With(flags)
			continue
		}
		all = append(all, copied{box.ID, a.content, flags})
	}
	if len(all) > 1 { // all of them or none
		err := tx.Room(u.ID, p.b.Size*int64(len(all)), int64(len(all)))
		if err != nil {
			return err
		}
	}
	blobs := map[*sieveEdit]Blob{nil: p.b}
	for _, c := range all {
		b, ok := blobs[c.edit]
		if !ok {
			var err error
			b, err = tx.AddBlob(f.edited[c.edit])
			if err != nil {
				return err
			}
			blobs[c.edit] = b
		}
		if err := p.append(tx, u, boxes[c.box], b, c.flags); err != nil {
			return err
		}
	}
	for _, m := range f.outcome.memories {
		if err := tx.Keep(u.ID, m.key, time.Duration(m.seconds)*time.Second); err != nil {
			return err
		}
	}
	for i := range f.outcome.actions {
		if err := p.noteReply(tx, u, &f.outcome.actions[i]); err != nil {
			return err
		}
	}
	if fault == "" {
		return nil
	}
	first, err := tx.Once(u.ID, "script fault", faultToldEach)
	if err == nil && first {
		p.answers = append(p.answers, reply{user: u, fault: fault})
	}
	return err
}

// noteReply notes what is to be sent once the message is there: an automatic answer, if its sender had none lately, or a notification.
func (p *placement) noteReply(tx *Tx, u User, a *sieveAction) error {
	switch a.kind {
	case "vacation":
		if !p.mayAnswer(u, a.reply.addresses) {
			return nil
		}
		key := sieveKey("vacation", a.reply.handle, p.m.From.Key())
		first := a.reply.seconds == 0
		if !first {
			var err error
			first, err = tx.Once(u.ID, key, time.Duration(a.reply.seconds)*time.Second)
			if err != nil {
				return err
			}
		}
		if first {
			p.answers = append(p.answers, reply{user: u, act: a})
		}
	case "notify":
		if !p.isAutomatic() {
			p.answers = append(p.answers, reply{user: u, act: a})
		}
	}
	return nil
}

// isAutomatic says whether the message says of itself that no person has sent it (RFC 3834 §5).
func (p *placement) isAutomatic() bool {
	return slices.ContainsFunc(p.fields(), func(f Field) bool {
		return strings.EqualFold(f.Name, "Auto-Submitted") && isAutomatic("auto-submitted", f.Value)
	})
}

// mailboxOf is where an action puts the message: by its ID, by its use or by its name; the inbox if there is none, and then it says why.
func mailboxOf(tx *Tx, u User, a *sieveAction) (Mailbox, string, error) {
	inbox := Mailbox{ID: u.Inbox, Owner: u.ID}
	if a.kind == "keep" {
		return inbox, "", nil
	}
	try := []func() (Mailbox, error){
		func() (Mailbox, error) { return tx.MailboxByName(u.ID, CanonicalName(a.target)) },
	}
	if a.special != "" {
		try = append([]func() (Mailbox, error){func() (Mailbox, error) { return tx.MailboxBySpecial(u.ID, specialName(a.special)) }}, try...)
	}
	if id, ok := mailboxIDOf(a.id); ok {
		try = append([]func() (Mailbox, error){func() (Mailbox, error) { return tx.MailboxByID(id) }}, try...)
	}
	for _, find := range try {
		box, err := find()
		if err == nil && box.Owner == u.ID {
			return box, "", nil
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			return inbox, "", err
		}
	}
	if !a.create {
		return inbox, "there is no mailbox " + sieveQuote(a.target), nil
	}
	box, err := tx.CreateTree(u, Place{Owner: u.ID, Name: a.target})
	var lacks *RightsError
	if errors.Is(err, ErrMailboxName) || errors.Is(err, ErrTooMany) || errors.As(err, &lacks) {
		return inbox, fmt.Sprintf("mailbox %s: %v", sieveQuote(a.target), err), nil
	}
	return box, "", err
}

// specialName is a special use as the store spells it.
func specialName(use string) string {
	for _, m := range specialMailboxes {
		if strings.EqualFold(m.special, use) {
			return m.special
		}
	}
	return use
}

// mailboxIDOf reads F and a number, as OBJECTID names mailboxes.
func mailboxIDOf(id string) (MailboxID, bool) {
	digits, ok := strings.CutPrefix(id, "F")
	n, err := strconv.ParseInt(digits, 10, 64)
	return MailboxID(n), ok && err == nil
}

// sieveWorld is what a person's script may ask about.
func (s *Server) sieveWorld(m *Mail, u User) *sieveWorld {
	ask := func(fn func(*Tx) error) bool { return s.store.Read(fn) == nil }
	own := func(tx *Tx, name string) (Mailbox, error) { return tx.MailboxByName(u.ID, CanonicalName(name)) }
	w := &sieveWorld{now: s.store.Now(), zone: time.Local}
	w.mailbox = func(name string) bool {
		return ask(func(tx *Tx) error { _, err := own(tx, name); return err })
	}
	w.mailboxID = func(id string) bool {
		n, ok := mailboxIDOf(id)
		return ok && ask(func(tx *Tx) error {
			box, err := tx.MailboxByID(n)
			if err == nil && box.Owner != u.ID {
				err = ErrNotFound
			}
			return err
		})
	}
	w.special = func(mailbox, use string) bool {
		return ask(func(tx *Tx) error {
			box, err := tx.MailboxBySpecial(u.ID, specialName(use))
			if err == nil && mailbox != "" && box.Name != CanonicalName(mailbox) {
				err = ErrNotFound
			}
			return err
		})
	}
	w.metadata = func(mailbox, entry string) (value string, ok bool) {
		ok = ask(func(tx *Tx) error {
			a := Annotation{Entry: strings.ToLower(entry)}
			if mailbox != "" {
				box, err := own(tx, mailbox)
				if err != nil {
					return err
				}
				a.Mailbox = box.ID
			}
			if strings.HasPrefix(a.Entry, "/private/") {
				a.User = u.ID
			}
			b, err := tx.AnnotationValue(a)
			value = string(b)
			return err
		})
		return value, ok
	}
	w.script = func(global bool, name string) (*sieveScript, error) {
		if global {
			return nil, ErrNotFound
		}
		found, err := read(s.store, func(tx *Tx) (Script, error) { return tx.Script(u.ID, name) })
		if err != nil {
			return nil, err
		}
		return s.scripts.get(found.ID, found.Source)
	}
	w.seen = func(key string) bool {
		seen, err := read(s.store, func(tx *Tx) (bool, error) { return tx.Remembered(u.ID, key) })
		return err == nil && seen
	}
	w.environment = func(name string) (string, bool) {
		v, ok := map[string]string{"domain": s.cfg.DomainsNow()[0], "host": s.cfg.Hostname, "location": "MDA", "phase": "during", "name": "Postino",
			"version": "1", "remote-host": "", "remote-ip": ""}[name]
		return v, ok
	}
	return w
}

// reply sends what is to be sent because of a message.
func (s *Server) reply(m *Mail, v reply) error {
	switch {
	case v.fault != "":
		return s.tellFault(v)
	case v.act != nil && v.act.kind == "notify":
		return s.notify(m, v)
	}
	return s.answer(m, v)
}

// tellFault tells somebody that their script has failed.
func (s *Server) tellFault(v reply) error {
	me, err := ParseAddr(v.user.Name)
	if err != nil {
		return err
	}
	d := &Draft{From: &Address{Name: "Postino", Local: "postmaster", Domain: s.cfg.DomainsNow()[0]}, To: []Address{{Local: me.Local, Domain: me.Domain}}, Date: s.store.Now(),
		Subject: "Your filters have failed / 您的过滤规则出错",
		Text: "Your filters (the active Sieve script) could not be carried out for a message. It is in your inbox:\r\n\r\n    " + v.fault +
			"\r\n\r\nYou are told once a day as long as it fails.\r\n\r\n您的过滤规则（正在使用的 Sieve 脚本）未能处理一封邮件，邮件已留在收件箱中。原因见上。\r\n", Flowed: true,
		Extra: []Field{{"Auto-Submitted", "auto-generated"}}}
	sp := s.store.NewSpool(int64(s.cfg.Limits.Message))
	defer sp.Close()
	if _, err := d.WriteTo(sp); err != nil {
		return err
	}
	return s.accept(&Mail{To: rcptsTo(me), Body: sp, Report: true, Unfiltered: true, Account: v.user.Name})
}

// notify sends a notification by mail (RFC 5436 §2.7), from nobody.
func (s *Server) notify(m *Mail, v reply) error {
	me, err := ParseAddr(v.user.Name)
	if err != nil {
		return err
	}
	to, err := ParseAddr(v.act.target)
	if err != nil {
		return err
	}
	head, err := m.Body.Head()
	if err != nil {
		return err
	}
	h := ParseHeader(head)
	d := notifyDraft(v, me, h)
	d.Date = s.store.Now()
	return s.sendReply(m, v, d, to)
}

// notifyDraft is a notification of a message with that header.
func notifyDraft(v reply, me Addr, h Header) *Draft {
	r, subject := v.act.reply, v.act.text
	for _, other := range []string{r.subject, h.Text("Subject"), "New mail"} {
		if subject == "" {
			subject = other
		}
	}
	to, err := ParseAddr(v.act.target)
	d := &Draft{From: &Address{Local: me.Local, Domain: me.Domain}, Subject: plainLine(subject), Text: r.body, Flowed: true,
		Extra: []Field{{"Auto-Submitted", `auto-notified; owner-email="` + v.user.Name + `"`}}}
	if err == nil {
		d.To = []Address{{Local: to.Local, Domain: to.Domain}}
	}
	if p := map[string]string{"1": "1 (Highest)", "3": "5 (Lowest)"}[r.importance]; p != "" {
		d.Extra = append(d.Extra, Field{"X-Priority", p})
	}
	for _, f := range r.fields {
		d.Extra = append(d.Extra, Field{f.Name, plainLine(f.Value)})
	}
	if r.body == "" {
		d.Text = "From: " + h.Text("From") + "\r\nSubject: " + h.Text("Subject") + "\r\n"
	}
	return d
}

// replyFrom is who a script wants to answer as, if that is an address of its owner's.
func (s *Server) replyFrom(v reply, own *Address) *Address {
	list := ParseAddressList(v.act.reply.from)
	if len(list) != 1 {
		return own
	}
	a, err := list[0].Addr()
	if err != nil {
		return own
	}
	mine, err := s.owns(v.user, a)
	if err != nil || !mine {
		return own
	}
	return &list[0]
}

// writeReply writes a message of ours; with :mime its text is a MIME part (RFC 5230 §4.5).
func writeReply(w io.Writer, a *sieveAction, d *Draft) error {
	if a == nil {
		_, err := d.WriteTo(w)
		return err
	}
	if a.kind == "vacation" {
		d.Text = a.text
	}
	if a.kind != "vacation" || !a.reply.mime {
		_, err := d.WriteTo(w)
		return err
	}
	h, body, ok := sieveTextPart(a.text, true)
	if !ok {
		_, err := d.WriteTo(w)
		return err
	}
	d.Text = ""
	var b bytes.Buffer
	if _, err := d.WriteTo(&b); err != nil {
		return err
	}
	top := slices.DeleteFunc(ParseHeader(b.Bytes()), sieveIsPart)
	top = append(append(top, Field{"MIME-Version", " 1.0"}), h...)
	e := sieveEdit{header: top, body: body}
	if body == nil {
		e.body = []byte{}
	}
	return e.writeTo(w, &sieveMail{})
}
