// What a user's rules do with a message that arrives.
package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"
)

// filtered says where a message goes in a user's mailboxes and with which flags: the first filter that applies decides.
// A folder that is gone means the inbox.
func (p *placement) filtered(tx *Tx, u User, rules *Rules) (Mailbox, Flags, error) {
	inbox := Mailbox{ID: u.Inbox, Owner: u.ID}
	if rules == nil || p.m.Body == nil {
		return inbox, Flags{}, nil
	}
	i := slices.IndexFunc(rules.Filters, p.applies)
	if i < 0 {
		return inbox, Flags{}, nil
	}
	r := rules.Filters[i]
	var f Flags
	if r.Read {
		f.Bits |= FlagSeen
	}
	if r.Star {
		f.Bits |= FlagFlagged
	}
	box, err := tx.MailboxByID(r.Folder)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Mailbox{}, Flags{}, err
	}
	if err != nil || box.Owner != u.ID {
		return inbox, f, nil
	}
	return box, f, nil
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
	if !v.Active(now) || p.m.From.IsZero() || p.m.Report || p.m.Body == nil || p.m.From.Key() == u.Name || isMachine(p.m.From.Local) {
		return false
	}
	named := false
	for _, f := range p.fields() {
		name := strings.ToLower(f.Name)
		switch {
		case isAutomatic(name, f.Value):
			return false
		case name == "from" || name == "sender" || name == "reply-to":
			if anyAddress(f.Value, func(a Addr) bool { return isMachine(a.Local) }) {
				return false
			}
		case name == "to" || name == "cc":
			named = named || anyAddress(f.Value, func(a Addr) bool { return isUser(u, a) })
		}
	}
	return named
}

// anyAddress says whether one of the addresses in a field is such a one.
func anyAddress(field string, is func(Addr) bool) bool {
	return slices.ContainsFunc(ParseAddressList(field), func(a Address) bool {
		x, err := a.Addr()
		return err == nil && is(x)
	})
}

// isUser says whether an address is a user's own, with a +detail or without.
func isUser(u User, a Addr) bool {
	base, _, _ := strings.Cut(a.Local, "+")
	return a.Key() == u.Name || Addr{base, a.Domain}.Key() == u.Name
}

// Local parts of addresses behind which no person reads: what they begin with, end with, or have in front of a detail.
var (
	machineBegins = []string{"mailer-daemon", "mailerdaemon", "postmaster", "owner-", "listserv", "majordomo", "bounce", "noreply", "no-reply",
		"no_reply", "no.reply", "donotreply", "do-not-reply", "do_not_reply", "do.not.reply", "nobody", "daemon", "root", "cron"}
	machineEnds = []string{"-request", "-owner", "-bounce", "-bounces", "-noreply", "-no-reply", ".noreply", "_noreply", "-donotreply", "-confirm"}
)

// isMachine says whether nobody would read an answer to an address with this local part.
func isMachine(local string) bool {
	local = strings.ToLower(local)
	base, _, _ := strings.Cut(local, "+")
	for _, b := range machineBegins {
		whole := b == "root" || b == "nobody" || b == "daemon" || b == "cron"
		if (whole && base == b) || (!whole && strings.HasPrefix(base, b)) {
			return true
		}
	}
	for _, e := range machineEnds {
		if strings.HasSuffix(base, e) {
			return true
		}
	}
	return false
}

// isAutomatic says whether a field, whose name is in small letters, is a mark of mail that no person wrote, or not to this one
// person: RFC 3834 §5 has Auto-Submitted, the rest is what lists and programs use.
func isAutomatic(name, value string) bool {
	value = strings.ToLower(strings.TrimSpace(unfold(value)))
	word := value
	if i := strings.IndexAny(value, " \t;(,"); i >= 0 {
		word = value[:i]
	}
	switch name {
	case "auto-submitted":
		return word != "no" && word != ""
	case "precedence", "x-precedence":
		return slices.Contains([]string{"bulk", "list", "junk", "auto_reply"}, word)
	case "x-auto-response-suppress":
		return slices.ContainsFunc(strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" ,;", r) }),
			func(w string) bool { return w == "all" || w == "oof" || w == "autoreply" })
	case "x-autoreply", "x-autorespond", "x-autoresponder", "x-autogenerated", "x-auto-reply", "x-fc-machinegenerated", "x-spam-flag":
		return word != "no" && word != "false"
	case "content-type":
		return strings.HasPrefix(value, "multipart/report")
	case "return-path":
		return value == "<>"
	case "x-loop", "x-mailing-list", "mailing-list", "x-mailman-version", "x-beenthere", "x-ml-name", "x-listname", "x-list",
		"x-cron-env", "x-failed-recipients", "feedback-id", "x-autoreply-from", "x-mail-autoreply", "x-mailer-daemon":
		return true
	}
	return strings.HasPrefix(name, "list-") || strings.HasPrefix(name, "x-list-")
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
	if m.Flags&MailRequireTLS != 0 && s.leaves(m.From) {
		subject = cmp.Or(v.rules.Subject, "Auto")
	}
	ids := MessageIDs(h.Get("Message-ID"))
	d := Draft{From: &Address{Local: me.Local, Domain: me.Domain}, To: []Address{{Local: m.From.Local, Domain: m.From.Domain}},
		Subject: strings.NewReplacer("\r", " ", "\n", " ", "\x00", "").Replace(subject), Date: s.store.Now(), Text: v.rules.Text, Flowed: true,
		Extra: []Field{{"Auto-Submitted", "auto-replied"}, {"Precedence", "bulk"}}}
	if len(ids) > 0 && isMessageID(ids[0]) {
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
