// Sending: a letter becomes a message, waits a little so that it can be called back, and goes through accept.
package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	webDueBatch   = 20              // letters sent in one look at what is due
	webDueLook    = time.Minute     // the longest time between two looks: clocks jump
	webSendAgain  = 2 * time.Minute // after a fault that will pass, such as a full disk
	webSendMaxAge = 24 * time.Hour  // after which such a fault is told
)

// addresses reads an address field as people type it: divided by commas, semicolons or their Chinese sisters, names
// without a domain meaning somebody here. What is no address is returned instead.
func (a *webApp) addresses(field string) ([]Address, string) {
	var list []Address
	field = strings.NewReplacer("，", ",", "；", ",", ";", ",", "、", ",").Replace(field)
	for _, x := range ParseAddressList(field) {
		switch {
		case x.Domain == "": // the mark of a group
			continue
		case x.Local == missingLocal && !strings.Contains(field, missingLocal):
			return nil, webCut(cmp.Or(x.Name, "@"+x.Domain), 100)
		case x.Domain == missingDomain:
			x.Domain = a.s.cfg.DomainsNow()[0]
		}
		if _, err := x.Addr(); err != nil {
			return nil, webCut(x.Local+"@"+x.Domain, 100)
		}
		list = append(list, x)
	}
	if len(list) == 0 && strings.Trim(field, ", ") != "" {
		return nil, webCut(strings.TrimSpace(field), 100)
	}
	return list, ""
}

// draft makes the message of a letter.
func (a *webApp) draft(u User, l *Letter, w *webFields) (*Draft, error) {
	d := &Draft{Subject: w.Subject, Date: a.s.store.Now(), InReplyTo: w.InReplyTo, References: w.References,
		Text: w.Text, HTML: w.HTML, Flowed: true, Extra: []Field{{"User-Agent", "Postino"}}}
	if w.HTML != "" {
		d.Text = ""
	}
	all, err := read(a.s.store, func(tx *Tx) ([]webIdentity, error) { return tx.senders(u) })
	if err != nil {
		return nil, err
	}
	from := webIdentity{Address: u.Name}
	for _, i := range append(all, from) {
		if i.Address == w.From {
			from = i
			break
		}
	}
	addr, err := ParseAddr(from.Address)
	if err != nil {
		return nil, fmt.Errorf("the address in From: %w", err)
	}
	d.From = &Address{Name: from.Name, Local: addr.Local, Domain: addr.Domain}
	for _, f := range []struct {
		to   *[]Address
		text string
	}{{&d.To, w.To}, {&d.Cc, w.Cc}, {&d.Bcc, w.Bcc}, {&d.ReplyTo, w.ReplyTo}} {
		list, bad := a.addresses(f.text)
		if bad != "" {
			return nil, &webBadAddress{bad}
		}
		*f.to = list
	}
	for _, f := range l.Files {
		x := a.attachment(f)
		if f.ContentID != "" && strings.Contains(w.HTML, "cid:"+f.ContentID) {
			x.Inline, x.ContentID = true, f.ContentID
		}
		d.Attachments = append(d.Attachments, x)
	}
	return d, nil
}

// webBadAddress is something in an address field that is no address.
type webBadAddress struct{ text string }

func (e *webBadAddress) Error() string { return "no address: " + e.text }

// attachment reads a letter's file. Its content is the end of what is stored.
func (a *webApp) attachment(f LetterFile) Attachment {
	return Attachment{Name: f.Name, Type: f.Type, Size: f.Size, Open: func() (io.ReadCloser, error) {
		c, err := a.s.store.Content(f.Blob)
		if err != nil {
			return nil, err
		}
		return io.NopCloser(io.NewSectionReader(c, c.Size-f.Size, f.Size)), nil
	}}
}

// saveDraft writes the letter's copy in Drafts anew, for other programs and for the list.
func (q *webReq) saveDraft(l *Letter) error {
	w, err := webFieldsOf(l)
	if err != nil {
		return err
	}
	d, err := q.draft(q.user, l, &w)
	var bad *webBadAddress
	if errors.As(err, &bad) { // half an address: the copy does without, the letter has it
		half := w
		half.To, half.Cc, half.Bcc, half.ReplyTo = "", "", "", ""
		d, err = q.draft(q.user, l, &half)
	}
	if err != nil {
		return err
	}
	d.KeepBcc = true
	sp, err := q.written(d)
	if err != nil {
		return err
	}
	defer sp.Close()
	if err := q.s.store.Room(sp.Size()); err != nil {
		return err
	}
	if err := q.s.store.Stage(sp); err != nil {
		return err
	}
	before := *l
	return q.s.store.Write(func(tx *Tx) error {
		*l = before
		if err := webDropDraft(tx, l); err != nil {
			return err
		}
		box, err := webSpecialFolder(tx, q.user.ID, `\Drafts`)
		if err != nil {
			return err
		}
		b, err := tx.AddBlob(sp)
		if err != nil {
			return err
		}
		return tx.AppendDraft(box, b, l)
	})
}

// written is the message in a spool.
func (a *webApp) written(d *Draft) (*Spool, error) {
	sp := a.s.store.NewSpool(int64(a.s.cfg.Limits.Message))
	if _, err := d.WriteTo(sp); err != nil {
		sp.Close()
		return nil, err
	}
	return sp, nil
}

// sendLetter checks a letter and lets it wait: ten seconds, in which it can be called back, or until the time chosen.
func (q *webReq) sendLetter(l *Letter, c *webCompose, f *webForm) error {
	again := func(text string, args ...any) error {
		c.Error = q.lang.F(text, args...)
		return q.composePage(http.StatusUnprocessableEntity, c)
	}
	w, err := webFieldsOf(l)
	if err != nil {
		return err
	}
	if w.From != "" && w.From != q.user.Name && !slices.ContainsFunc(c.From, func(i webIdentity) bool { return i.Address == w.From }) {
		return again("%s is no longer one of your addresses. Choose another one.", w.From)
	}
	d, err := q.draft(q.user, l, &w)
	var bad *webBadAddress
	if errors.As(err, &bad) {
		return again("%s is no mail address.", bad.text)
	}
	if err != nil {
		return err
	}
	rcpts := slices.Concat(d.To, d.Cc, d.Bcc)
	switch {
	case len(rcpts) == 0:
		return again("Whom is it for? Write an address into the To field.")
	case len(rcpts) > q.s.cfg.Limits.Recipients:
		return again("That are too many recipients; %d are allowed.", q.s.cfg.Limits.Recipients)
	}
	_, c.Error = q.reachable(rcpts)
	if c.Error != "" {
		return q.composePage(http.StatusUnprocessableEntity, c)
	}
	_, err = q.s.askShare(q.user, len(rcpts))
	if until := shareUntil(err); !until.IsZero() && f.Get("do") != "later" {
		c.Error = q.sentMuch(until)
		return q.composePage(http.StatusUnprocessableEntity, c)
	}
	if err != nil && !errors.Is(err, errSentMuch) {
		return err
	}
	due := q.s.store.Now().Add(webRecallTime)
	if f.Get("do") == "later" {
		t, err := q.lang.parseInput(f.Get("when"))
		if err != nil || t.Before(due) || t.After(due.Add(webMaxSchedule)) {
			return again("Choose a time in the future for sending later.")
		}
		due = t
	}
	l.Due, l.Fault = due, ""
	if err := q.s.store.Write(func(tx *Tx) error { return tx.SaveLetter(l) }); err != nil {
		return err
	}
	q.webApp.wakeSender()
	n := &webNote{Text: q.lang.T("Sending …"), Sent: l.ID, Until: int(webRecallTime / time.Second)}
	if f.Get("do") == "later" {
		n.Text, n.Until = q.lang.F("It will be sent: %s", q.lang.Long(due)), 0
	}
	q.note(n)
	return q.redirect(q.afterSending(c))
}

// reachable turns a list into addresses that mail can go to, or says in words to which one it can't, and why.
func (q *webReq) reachable(list []Address) ([]Addr, string) {
	var all []Addr
	for _, x := range list {
		a, err := x.Addr()
		if err == nil {
			_, err = q.s.resolve(a)
		}
		if err != nil {
			return nil, q.lang.F("%s: %s", webCut(x.Local+"@"+x.Domain, 100), q.lang.T(webReason(err)))
		}
		all = append(all, a)
	}
	return all, ""
}

// sentMuch is what somebody reads who has sent as much as one person may until a time.
func (q *webReq) sentMuch(until time.Time) string {
	l := q.s.cfg.Limits
	return q.lang.F("This would be more than the %d messages or %d recipients that one person may send to in a day. Send it after %s.", l.MessagesDay, l.RecipientsDay,
		q.lang.Long(until))
}

// afterSending leads back to where the letter came from.
func (q *webReq) afterSending(c *webCompose) string {
	if box, uid, ok := strings.Cut(c.Source, "."); ok && c.Kind != "" {
		return webHref(webID[MailboxID](box), webUID(uid))
	}
	return "/mail"
}

// webErrClosed is why a letter is not sent for somebody who may not log in any more.
var webErrClosed = errors.New("the sender's mailbox is closed")

// webReason puts the errors of route and accept into words that people know.
func webReason(err error) string {
	switch {
	case errors.Is(err, errNoUser):
		return "There is nobody with this address here."
	case errors.Is(err, errDisabled):
		return "This mailbox takes no mail."
	case errors.Is(err, webErrClosed):
		return "It was not sent, because this mailbox was closed when it was due."
	case errors.Is(err, errForeign):
		return "This server sends no mail to other domains."
	case errors.Is(err, errAliasLoop), errors.Is(err, errAliasMany):
		return "This address leads nowhere."
	case errors.Is(err, errNotSender):
		return "The sender's address is not yours."
	case errors.Is(err, ErrTooBig):
		return "The letter is too big with its attachments."
	case errors.Is(err, ErrQuota):
		return "The mailbox of a recipient is full."
	}
	return "It could not be sent. The log of the server says why."
}

// postRecall calls a letter back that has not gone out yet.
func (q *webReq) postRecall() error {
	id := webID[int64](q.r.PostForm.Get("id"))
	err := q.s.store.Write(func(tx *Tx) error {
		l, err := tx.Letter(q.user.ID, id)
		if err != nil {
			return err
		}
		l.Due = time.Time{}
		return tx.SaveLetter(&l)
	})
	if errors.Is(err, ErrNotFound) {
		q.sayBad("It is too late: the letter has gone out.")
		return q.redirect("/mail")
	}
	if err != nil {
		return err
	}
	return q.redirect(fmt.Sprintf("/compose?id=%d", id))
}

func (a *webApp) wakeSender() {
	select {
	case a.wake <- struct{}{}:
	default: // it is awake already
	}
}

// sender sends letters when they are due, until the server stops. What is due after a power cut is sent at the next start.
func (a *webApp) sender() {
	for {
		if err := a.s.store.DropParked(); err != nil && !errors.Is(err, ErrClosed) {
			a.s.crew.Complain("web: letters put aside", err)
		}
		wait := webDueLook
		var due []Letter
		var next time.Time
		err := a.s.store.Read(func(tx *Tx) error {
			var err error
			due, next, err = tx.DueLetters(a.s.store.Now(), webDueBatch)
			return err
		})
		if err != nil && !errors.Is(err, ErrClosed) {
			a.s.crew.Complain("web: letters that are due", err)
		}
		switch {
		case err != nil || !a.dispatchAll(due): // what can't be noted is not tried again at once
		case len(due) > 0:
			wait = 0
		case !next.IsZero():
			wait = min(max(next.Sub(a.s.store.Now()), 100*time.Millisecond), webDueLook)
		}
		t := time.NewTimer(wait)
		select {
		case <-a.s.stop.Done():
			t.Stop()
			return
		case <-a.wake:
		case <-t.C:
		}
		t.Stop()
	}
}

// dispatchAll sends letters, and says whether it could note what became of them. It stops at the first of which it can't: a letter
// goes through accept, which is one transaction with its end, so that none goes twice.
func (a *webApp) dispatchAll(due []Letter) bool {
	for _, l := range due {
		err := a.s.store.Writable()
		if err == nil {
			err = a.dispatch(l)
		}
		if err != nil && !errors.Is(err, ErrNotFound) {
			a.s.crew.Complain("web: letters wait", err)
			return false
		}
	}
	return true
}

// dispatch sends one letter, or notes why it can't be sent. Its error is that of noting.
func (a *webApp) dispatch(l Letter) error {
	err := a.transmit(l)
	if err == nil {
		return nil
	}
	passing := errors.Is(err, ErrDiskFull) || errors.Is(err, ErrQueueFull) || errors.Is(err, ErrReadOnly)
	a.log.Warn("letter not sent", "user", l.User, "letter", l.ID, "err", err)
	return a.s.store.Write(func(tx *Tx) error {
		now, err2 := tx.Letter(l.User, l.ID)
		if err2 != nil {
			return err2
		}
		if passing && tx.s.Now().Sub(now.Changed) < webSendMaxAge {
			now.Due = tx.s.Now().Add(webSendAgain)
		} else if until := shareUntil(err); !until.IsZero() {
			now.Due = until
		} else {
			now.Due, now.Fault = time.Time{}, webReason(err)
		}
		tx.Touch(l.User)
		return tx.SaveLetter(&now)
	})
}

// transmit hands the letter to accept. In the same commit it comes into Sent, leaves Drafts, and what it answers is marked.
func (a *webApp) transmit(l Letter) error {
	u, err := read(a.s.store, func(tx *Tx) (User, error) { return tx.UserByID(l.User) })
	if err != nil {
		return err
	}
	l, err = read(a.s.store, func(tx *Tx) (Letter, error) { return tx.Letter(l.User, l.ID) })
	if err != nil || l.Due.IsZero() {
		return err
	}
	w, err := webFieldsOf(&l)
	if err != nil {
		return err
	}
	if u.Disabled {
		return webErrClosed
	}
	d, err := a.draft(u, &l, &w)
	if err != nil {
		return err
	}
	d.MessageID = NewMessageID(d.From.Domain)
	m := &Mail{Trace: "by " + a.s.cfg.Hostname + " with HTTP", Submitted: true, Login: &u, ID: newMailID()}
	m.From, err = d.From.Addr()
	if err != nil {
		return err
	}
	people := slices.Concat(d.To, d.Cc, d.Bcc)
	seen := map[string]bool{}
	for _, p := range people {
		addr, err := p.Addr()
		if err != nil {
			return err
		}
		if !seen[addr.Key()] {
			seen[addr.Key()] = true
			m.To = append(m.To, Rcpt{Recipient: Recipient{Addr: addr}})
		}
	}
	m.Body, err = a.written(d)
	if err != nil {
		return err
	}
	defer m.Body.Close()
	own, err := a.ownCopy(d)
	if err != nil {
		return err
	}
	if own != nil {
		defer own.Close()
	}
	m.Also = func(tx *Tx, b Blob) error { return a.filed(tx, webSending{u, l, w, m, b, own, people}) }
	if err := a.s.accept(m); err != nil {
		return err
	}
	a.log.Info("letter sent", "user", u.Name, "msg", m.ID, "rcpts", len(m.To))
	return nil
}

// ownCopy is the copy for Sent where it is not the same as what goes out: only it has the Bcc field.
func (a *webApp) ownCopy(d *Draft) (*Spool, error) {
	if len(d.Bcc) == 0 {
		return nil, nil
	}
	keep := *d
	keep.KeepBcc = true
	return a.written(&keep)
}

// webSending is what filed needs to know of a letter that is being sent.
type webSending struct {
	user   User
	letter Letter
	w      webFields
	mail   *Mail
	blob   Blob
	own    *Spool
	people []Address
}

// filed is the part of accept's transaction that concerns the sender. A letter that was called back meanwhile, or sent by
// an earlier run, ends it all.
func (a *webApp) filed(tx *Tx, x webSending) error {
	l, err := tx.Letter(x.user.ID, x.letter.ID)
	if err != nil {
		return err
	}
	if l.Due.IsZero() {
		return ErrNotFound
	}
	box, err := webSpecialFolder(tx, x.user.ID, `\Sent`)
	if err != nil {
		return err
	}
	b := x.blob
	if x.own != nil {
		b, err = tx.AddBlob(x.own)
		if err != nil {
			return err
		}
	}
	if err := webDropDraft(tx, &l); err != nil {
		return err
	}
	if err := tx.RemoveLetter(x.user.ID, l.ID); err != nil {
		return err
	}
	if _, err := tx.Append(box, b, Flags{Bits: FlagSeen}, tx.s.Now()); err != nil {
		return err
	}
	if err := webMarkSource(tx, x.user.ID, x.w); err != nil {
		return err
	}
	var sent []Sent
	for _, r := range x.mail.To {
		sent = append(sent, webSentAs(x.mail.ID, r)...)
	}
	if err := tx.NoteSent(x.user.ID, b.ID, sent); err != nil {
		return err
	}
	var met []Contact
	for _, p := range x.people {
		if addr, err := p.Addr(); err == nil {
			met = append(met, Contact{Address: addr.Key(), Name: webClean(p.DisplayName())})
		}
	}
	return tx.MeetContacts(x.user.ID, met)
}

// webSentAs is what is known of a recipient right after accept: who lives here has it, the others wait.
func webSentAs(mail string, r Rcpt) []Sent {
	var all []Sent
	if len(r.resolved.users) > 0 {
		x := Sent{Mail: mail, Rcpt: r.Addr.String(), State: SentDelivered}
		if r.Err != nil {
			x.State = SentWaiting
		}
		all = append(all, x)
	}
	for _, a := range r.resolved.remote {
		all = append(all, Sent{Mail: mail, Rcpt: a.String(), State: SentWaiting})
	}
	return all
}

// webMarkSource flags the message that a letter answers or forwards.
func webMarkSource(tx *Tx, user UserID, w webFields) error {
	bits := map[string]FlagBits{"reply": FlagAnswered, "forward": FlagForwarded}[w.Kind]
	box, uid, ok := strings.Cut(w.Source, ".")
	if bits == 0 || !ok {
		return nil
	}
	m, err := tx.MailboxByID(webID[MailboxID](box))
	if err != nil || m.Owner != user {
		return nil // it was moved or its folder removed meanwhile
	}
	_, err = tx.SetFlags(m, []UID{webUID(uid)}, webFlags('+', bits))
	return err
}

// redirectPage asks to whom a message is to be sent on unchanged.
func (q *webReq) redirectPage(c *webCompose, key string) error {
	m, err := q.keyed(key)
	if err != nil {
		return err
	}
	c.Redirect, c.Subject = key, m.Subject
	return q.status(http.StatusOK, "redirect", "Redirect", c)
}

// postRedirect sends a message on as it is, with Resent fields in front (RFC 5322 §3.6.6).
func (q *webReq) postRedirect() error {
	f := q.r.PostForm
	m, err := q.keyed(f.Get("m"))
	if err != nil {
		return err
	}
	list, bad := q.addresses(webClean(f.Get("to")))
	to, fault := q.reachable(list)
	switch {
	case bad != "":
		fault = q.lang.F("%s is no mail address.", bad)
	case len(list) == 0:
		fault = q.lang.T("Whom is it for? Write an address into the To field.")
	}
	again := func(fault string) error {
		c := webCompose{Redirect: f.Get("m"), Error: fault}
		c.Subject, c.To = m.Subject, webClean(f.Get("to"))
		return q.status(http.StatusUnprocessableEntity, "redirect", "Redirect", &c)
	}
	if fault != "" {
		return again(fault)
	}
	mail := &Mail{Trace: "by " + q.s.cfg.Hostname + " with HTTP", Login: &q.user, Body: q.s.store.NewSpool(int64(q.s.cfg.Limits.Message))}
	defer mail.Body.Close()
	if _, err := io.Copy(mail.Body, m.content.Reader()); err != nil {
		return err
	}
	mail.From, err = ParseAddr(q.user.Name)
	if err != nil {
		return err
	}
	err = q.mayResend(m, mail)
	if errors.Is(err, errNotSender) {
		return again(q.lang.T("Only mail that came here by mail can be sent on unchanged. Forward this message instead."))
	}
	if err != nil {
		return err
	}
	for _, a := range to {
		mail.To = append(mail.To, Rcpt{Recipient: Recipient{Addr: a}})
	}
	mail.Body.Prepend([]byte("Resent-From: " + q.user.Name + "\r\nResent-To: " + FormatAddressList(list) + "\r\nResent-Date: " +
		FormatDate(q.s.store.Now()) + "\r\nResent-Message-ID: " + NewMessageID(mail.From.Domain) + "\r\n"))
	err = q.s.accept(mail)
	if until := shareUntil(err); !until.IsZero() {
		return again(q.sentMuch(until))
	}
	if err != nil {
		return err
	}
	q.say("The message was sent on.")
	return q.redirect(m.Href)
}

// mayResend refuses what somebody has put into a mailbox by themselves and is under another's name: sent on unchanged it would seem to
// come from there, and only a field that few programs show says otherwise. mail has the content.
func (q *webReq) mayResend(m *webMessage, mail *Mail) error {
	if m.M.Form&FormBrought == 0 {
		return nil
	}
	head, err := mail.Body.Head()
	if err != nil {
		return err
	}
	header, err := wholeHeader(mail.Body, head)
	if err != nil {
		return err
	}
	return q.s.checkFrom(&Mail{Login: &q.user}, header)
}
