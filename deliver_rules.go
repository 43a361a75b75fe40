// What a user's rules do with a message that arrives.
package main

import (
	"errors"
	"slices"
	"strings"
	"time"
)

// filtered says where a message goes in a user's mailboxes and with which flags: the first filter that applies decides.
// A folder that is gone means the inbox.
func (p *placement) filtered(tx *Tx, u User, rules *Rules) (box Mailbox, f Flags, err error) {
	if rules != nil && p.m.Body != nil {
		for _, r := range rules.Filters {
			if !p.applies(r) {
				continue
			}
			if r.Read {
				f.Bits |= FlagSeen
			}
			if r.Star {
				f.Bits |= FlagFlagged
			}
			box, err = tx.MailboxByID(r.Folder)
			if err == nil && box.Owner == u.ID {
				return box, f, nil
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				return box, f, err
			}
			break
		}
	}
	return Mailbox{ID: u.Inbox, Owner: u.ID}, f, nil
}

func (p *placement) applies(r Filter) bool {
	h := p.fields()
	has := func(want string, names ...string) bool {
		if want == "" {
			return true
		}
		for _, n := range names {
			if strings.Contains(strings.ToLower(h.Text(n)), strings.ToLower(want)) {
				return true
			}
		}
		return false
	}
	return has(r.From, "From") && has(r.To, "To", "Cc") && has(r.Subject, "Subject") &&
		(!r.Clip || len(p.m.Body.Tree().Attachments()) > 0)
}

// fields is the message's header, parsed when it is first asked for.
func (p *placement) fields() Header {
	if p.header == nil && p.m.Body != nil {
		head, err := p.m.Body.Head()
		if err == nil {
			p.header = ParseHeader(head)
		}
	}
	return p.header
}

// vacation is an automatic answer that is to be sent after the message was taken in.
type vacation struct {
	user  User
	rules Vacation
}

// wantsAnswer says whether a message may be answered by a machine (RFC 3834 §2, RFC 5230 §4.6): it is from a person, to
// this user by name, and neither from a list nor automatic itself.
func (p *placement) wantsAnswer(u User, v Vacation, now time.Time) bool {
	if !v.Active(now) || p.m.From.IsZero() || p.m.Report || p.m.Body == nil || p.m.From.Key() == u.Name {
		return false
	}
	local := strings.ToLower(p.m.From.Local)
	for _, machine := range []string{"mailer-daemon", "owner-", "noreply", "no-reply", "listserv", "majordomo"} {
		if strings.HasPrefix(local, machine) {
			return false
		}
	}
	if strings.HasSuffix(local, "-request") || strings.HasPrefix(local, "postmaster") {
		return false
	}
	h := p.fields()
	if s := strings.ToLower(h.Get("Auto-Submitted")); s != "" && s != "no" {
		return false
	}
	if slices.Contains([]string{"bulk", "list", "junk"}, strings.ToLower(h.Get("Precedence"))) || h.Get("X-Auto-Response-Suppress") != "" {
		return false
	}
	named := false
	for _, f := range h {
		switch name := strings.ToLower(f.Name); {
		case strings.HasPrefix(name, "list-"):
			return false
		case name == "to" || name == "cc":
			for _, a := range ParseAddressList(f.Value) {
				if x, err := a.Addr(); err == nil && x.Key() == u.Name {
					named = true
				}
			}
		}
	}
	return named
}

// answer sends an automatic answer, from nobody, so that nothing can come back to it (RFC 3834 §3).
func (s *Server) answer(m *Mail, v vacation) error {
	me, err := ParseAddr(v.user.Name)
	if err != nil {
		return err
	}
	head, err := m.Body.Head()
	if err != nil {
		return err
	}
	h := ParseHeader(head)
	subject := v.rules.Subject
	if subject == "" {
		subject = "Auto: " + h.Text("Subject")
	}
	ids := MessageIDs(h.Get("Message-ID"))
	d := Draft{From: &Address{Local: me.Local, Domain: me.Domain}, To: []Address{{Local: m.From.Local, Domain: m.From.Domain}},
		Subject: strings.NewReplacer("\r", " ", "\n", " ", "\x00", "").Replace(subject), Date: s.store.Now(), Text: v.rules.Text, Flowed: true,
		Extra: []Field{{"Auto-Submitted", "auto-replied"}, {"Precedence", "bulk"}}}
	if len(ids) > 0 {
		d.InReplyTo, d.References = ids[0], ids[:1]
	}
	sp := s.store.NewSpool(int64(s.cfg.Limits.Message))
	defer sp.Close()
	if _, err := d.WriteTo(sp); err != nil {
		return err
	}
	to := Recipient{Addr: m.From, Notify: NotifyNever}
	return s.accept(&Mail{SMTPEnvelope: SMTPEnvelope{Flags: m.Flags & MailRequireTLS}, To: []Rcpt{{Recipient: to}}, Body: sp, Account: v.user.Name})
}
