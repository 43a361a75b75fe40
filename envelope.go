// The envelope: what SMTP says of a message beside its content, from MAIL and RCPT to the queue, the next hop and the bundle.
package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// SMTPEnvelope is MAIL: the sender and what it asks for (RFC 5321 §2.3.1). It goes with the message wherever the message goes;
// a new parameter is a field here, a row of envelopeParams and a column of the queue.
type SMTPEnvelope struct {
	From   Addr      `json:"-"`               // reverse path; zero is <>
	Flags  int       `json:"-"`               // Mail8Bit and so on
	Ret    string    `json:"ret,omitempty"`   // FULL, HDRS or "" (RFC 3461 §4.3)
	EnvID  string    `json:"envid,omitempty"` // the sender's own name for the message, as xtext (RFC 3461 §4.4)
	Due    time.Time `json:"-"`               // DELIVERBY: when it must be there; zero is no matter when (RFC 2852)
	ByMode string    `json:"-"`               // what to do then: "R" return it, "N" tell the sender
	Hold   time.Time `json:"-"`               // nobody gets it before; zero is now (RFC 4865). In the queue it is the first try
}

// Recipient is RCPT: an address, and what the sender wants to hear of it (RFC 3461 §4).
type Recipient struct {
	Addr   Addr   `json:"-"`
	ORcpt  string `json:"orcpt,omitempty"` // the original recipient, as type;xtext (RFC 3461 §4.2)
	Notify int    `json:"-"`               // NotifyNever and so on; 0 is the default: failures and delays
}

// Facts about a message that its next hop must know, as bits of SMTPEnvelope.Flags.
const (
	Mail8Bit       = 1 << iota // octets above 127 in the body (RFC 6152)
	MailUTF8                   // UTF-8 in header or envelope (RFC 6531)
	MailBinary                 // came as BODY=BINARYMIME: lines may be of any length, bare CR and LF may be content (RFC 3030)
	MailRequireTLS             // only over verified TLS (RFC 8689)
	MailAnyTLS                 // whatever its hosts have to show: the header has "TLS-Required: No" (RFC 8689 §3)
)

// When a sender wants to hear of a recipient (RFC 3461 §4.1), as bits of Recipient.Notify.
const (
	NotifyNever = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

const (
	maxEnvID = 100                 // octets of xtext (RFC 3461 §4.4)
	maxORcpt = 500                 // octets of xtext (RFC 3461 §4.2)
	maxHold  = 30 * 24 * time.Hour // how long a submitted message may ask to be held back
)

// envelopeParam is a parameter of MAIL that a message keeps on its way. take reads its value; say writes the whole parameter
// with a space in front, or nothing if the envelope does not have it.
type envelopeParam struct {
	name string
	ext  string // whoever offers this extension is told the parameter; "" is decided with the form of the content, or ends here
	take func(e *SMTPEnvelope, value string, now time.Time) error
	say  func(e *SMTPEnvelope, now time.Time) string
}

// envelopeParams are all of them, in the order in which they are said.
var envelopeParams = []envelopeParam{
	{"BODY", "", (*SMTPEnvelope).takeBody, (*SMTPEnvelope).sayBody},
	{"SMTPUTF8", "", (*SMTPEnvelope).takeUTF8, func(e *SMTPEnvelope, _ time.Time) string { return e.sayFlag(MailUTF8, "SMTPUTF8") }},
	{"RET", "DSN", (*SMTPEnvelope).takeRet, func(e *SMTPEnvelope, _ time.Time) string { return sayParam("RET", e.Ret) }},
	{"ENVID", "DSN", (*SMTPEnvelope).takeEnvID, func(e *SMTPEnvelope, _ time.Time) string { return sayParam("ENVID", e.EnvID) }},
	{"REQUIRETLS", "REQUIRETLS", (*SMTPEnvelope).takeRequireTLS, func(e *SMTPEnvelope, _ time.Time) string { return e.sayFlag(MailRequireTLS, "REQUIRETLS") }},
	{"BY", "DELIVERBY", (*SMTPEnvelope).takeBy, (*SMTPEnvelope).sayBy},
	{"HOLDFOR", "", (*SMTPEnvelope).takeHoldFor, sayNothing},
	{"HOLDUNTIL", "", (*SMTPEnvelope).takeHoldUntil, sayNothing},
}

func sayNothing(*SMTPEnvelope, time.Time) string { return "" }

// sayParam is a parameter with its value; nothing for "".
func sayParam(name, value string) string {
	if value == "" {
		return ""
	}
	return " " + name + "=" + value
}

func (e *SMTPEnvelope) sayFlag(bit int, name string) string {
	if e.Flags&bit == 0 {
		return ""
	}
	return " " + name
}

// takeParam takes one parameter of MAIL, as it stands in the command. It is false for a parameter that is none of
// envelopeParams; an error is for the client to read. Times count from now.
func (e *SMTPEnvelope) takeParam(param string, now time.Time) (bool, error) {
	key, value, _ := strings.Cut(param, "=")
	for _, p := range envelopeParams {
		if strings.EqualFold(p.name, key) {
			return true, p.take(e, value, now)
		}
	}
	return false, nil
}

// paramTwice returns the first parameter that stands there more than once, "" for none.
func paramTwice(params []string) string {
	seen := map[string]bool{}
	for _, p := range params {
		key, _, _ := strings.Cut(p, "=")
		key = strings.ToUpper(key)
		if seen[key] {
			return key
		}
		seen[key] = true
	}
	return ""
}

// says is the whole MAIL command as it stands in a bundle: nothing that the sender asked for is left out.
func (e *SMTPEnvelope) says(now time.Time) string {
	mail := "MAIL FROM:<>"
	if !e.From.IsZero() {
		mail = "MAIL FROM:" + e.From.Path()
	}
	for _, p := range envelopeParams {
		mail += p.say(e, now)
	}
	return mail
}

// saysTo are the parameters for a peer that offers some extensions. BODY and SMTPUTF8 are not among them.
func (e *SMTPEnvelope) saysTo(offers func(ext string) bool, now time.Time) string {
	all := ""
	for _, p := range envelopeParams {
		if p.ext != "" && offers(p.ext) {
			all += p.say(e, now)
		}
	}
	return all
}

func (e *SMTPEnvelope) takeBody(value string, _ time.Time) error {
	switch strings.ToUpper(value) {
	case "7BIT":
	case "8BITMIME":
		e.Flags |= Mail8Bit
	case "BINARYMIME":
		e.Flags |= Mail8Bit | MailBinary
	default:
		return errors.New("BODY is 7BIT, 8BITMIME or BINARYMIME")
	}
	return nil
}

func (e *SMTPEnvelope) sayBody(time.Time) string {
	switch {
	case e.Flags&MailBinary != 0:
		return " BODY=BINARYMIME"
	case e.Flags&Mail8Bit != 0:
		return " BODY=8BITMIME"
	}
	return ""
}

func (e *SMTPEnvelope) takeUTF8(value string, _ time.Time) error {
	if value != "" {
		return errors.New("SMTPUTF8 takes no value")
	}
	e.Flags |= MailUTF8
	return nil
}

func (e *SMTPEnvelope) takeRet(value string, _ time.Time) error {
	e.Ret = strings.ToUpper(value)
	if e.Ret != "FULL" && e.Ret != "HDRS" {
		return errors.New("RET is FULL or HDRS")
	}
	return nil
}

func (e *SMTPEnvelope) takeEnvID(value string, _ time.Time) error {
	s, ok := decodeXtext(value)
	if !ok || s == "" || len(value) > maxEnvID {
		return errors.New("ENVID is xtext of at most 100 octets")
	}
	e.EnvID = value
	return nil
}

func (e *SMTPEnvelope) takeRequireTLS(value string, _ time.Time) error {
	if value != "" {
		return errors.New("REQUIRETLS takes no value")
	}
	e.Flags |= MailRequireTLS
	return nil
}

// takeBy takes the parameter of DELIVERBY (RFC 2852): so many seconds, and R to return the message then or N to tell the
// sender; T asks for a trace, which delivery reports give anyhow.
//
//	by-value = [ "+" / "-" ] 1*9DIGIT ";" ( "N" / "R" ) [ "T" ]
func (e *SMTPEnvelope) takeBy(value string, now time.Time) error {
	secs, mode, _ := strings.Cut(value, ";")
	mode = strings.TrimSuffix(strings.ToUpper(mode), "T")
	n, err := strconv.ParseInt(secs, 10, 32)
	if err != nil || max(n, -n) >= 1e9 || (mode != "R" && mode != "N") {
		return errBy
	}
	e.Due, e.ByMode = now.Add(time.Duration(n)*time.Second), mode
	return nil
}

var errBy = errors.New("Write it as BY=seconds;R or BY=seconds;N")

// sayBy is the time that is left.
func (e *SMTPEnvelope) sayBy(now time.Time) string {
	if e.Due.IsZero() {
		return ""
	}
	return fmt.Sprintf(" BY=%d;%s", int64(e.Due.Sub(now)/time.Second), e.ByMode)
}

// takeHoldFor and takeHoldUntil take the parameters of FUTURERELEASE (RFC 4865).
func (e *SMTPEnvelope) takeHoldFor(value string, now time.Time) error {
	n, err := strconv.ParseUint(value, 10, 31)
	if err != nil {
		return errHold
	}
	return e.hold(now.Add(time.Duration(n)*time.Second), now)
}

func (e *SMTPEnvelope) takeHoldUntil(value string, now time.Time) error {
	t, err := time.Parse(time.RFC3339, value)
	if err != nil {
		return errHold
	}
	return e.hold(t, now)
}

var errHold = errors.New("Mail is held for at most 30 days")

func (e *SMTPEnvelope) hold(until, now time.Time) error {
	switch {
	case !e.Hold.IsZero():
		return errors.New("HOLDFOR and HOLDUNTIL go together with nothing")
	case until.Sub(now) > maxHold:
		return errHold
	}
	e.Hold = until
	return nil
}

// takeParam takes one parameter of RCPT (RFC 3461 §4). It is false for a name that is not one; an error is for the client.
func (r *Recipient) takeParam(param string) (bool, error) {
	key, value, _ := strings.Cut(param, "=")
	switch strings.ToUpper(key) {
	case "NOTIFY":
		notify, ok := parseNotify(value)
		if !ok {
			return true, errors.New("NOTIFY is NEVER, or a list of SUCCESS, FAILURE and DELAY")
		}
		r.Notify = notify
	case "ORCPT":
		if !checkORcpt(value) {
			return true, errors.New("ORCPT is a type, a semicolon, and an address as xtext")
		}
		r.ORcpt = value
	default:
		return false, nil
	}
	return true, nil
}

// as is the same wishes for another address, to which the first one leads.
func (r Recipient) as(a Addr) Recipient {
	r.Addr = a
	return r
}

// says are its parameters, for a peer that offers DSN and for a bundle.
func (r *Recipient) says() string {
	return sayParam("NOTIFY", notifyText(r.Notify)) + sayParam("ORCPT", r.ORcpt)
}

// parseNotify reads NOTIFY's value (RFC 3461 §4.1): NEVER, or a list of SUCCESS, FAILURE and DELAY.
func parseNotify(s string) (int, bool) {
	notify := 0
	for _, word := range strings.Split(strings.ToUpper(s), ",") {
		bit := map[string]int{"NEVER": NotifyNever, "SUCCESS": NotifySuccess, "FAILURE": NotifyFailure, "DELAY": NotifyDelay}[word]
		if bit == 0 {
			return 0, false
		}
		notify |= bit
	}
	return notify, notify&NotifyNever == 0 || notify == NotifyNever
}

// notifyText is the other way round; "" for the default.
func notifyText(notify int) string {
	var words []string
	for _, n := range []struct {
		bit  int
		word string
	}{{NotifyNever, "NEVER"}, {NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}} {
		if notify&n.bit != 0 {
			words = append(words, n.word)
		}
	}
	return strings.Join(words, ",")
}

// decodeXtext reads xtext (RFC 3461 §4): printable ASCII without "+" and "=", which are written as "+2B" and "+3D".
func decodeXtext(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+':
			if i+2 >= len(s) {
				return "", false
			}
			n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(n))
			i += 2
		case c < '!' || c > '~' || c == '=':
			return "", false
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), true
}

// checkORcpt says whether a value of ORCPT is one: addr-type ";" xtext. For the type utf-8 (RFC 6533 §3) UTF-8 may stand in it.
func checkORcpt(s string) bool {
	typ, addr, ok := strings.Cut(s, ";")
	if !ok || typ == "" || addr == "" || len(s) > maxORcpt || strings.ContainsFunc(typ, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return false
	}
	if strings.EqualFold(typ, "utf-8") && !isASCII(addr) {
		return utf8.ValidString(addr)
	}
	_, ok = decodeXtext(addr)
	return ok
}

// originalRecipient decodes ORCPT for a report.
func originalRecipient(orcpt string) string {
	typ, addr, ok := strings.Cut(orcpt, ";")
	if !ok {
		return ""
	}
	if a, ok := decodeXtext(addr); ok {
		addr = a
	}
	return typ + ";" + addr
}

func envID(xtext string) string { s, _ := decodeXtext(xtext); return s }
