// The verdict on a message: what is known of who it is from, as Authentication-Results has it (RFC 8601).
package main

import (
	"strings"
	"time"
)

// Verdict is what was found out about a message from a stranger. It is stored with the message, as its Authentication-Results field
// above our Received field, where nobody else can put one; storedVerdict reads it again.
type Verdict struct {
	Results []AuthResult
}

// AuthResult is what came of one method. Names and values are words of ASCII.
type AuthResult struct {
	Method string // spf, dkim, dmarc, arc, iprev, and methodLocal
	Result string // pass, fail, none and so on
	Reason string // for people, "" without one
	Props  []AuthProp
}

// AuthProp is what a result is about, such as header.from and its domain.
type AuthProp struct{ Name, Value string }

// policyBudget is how long a message waits for all that others are asked about it.
const policyBudget = 5 * time.Second

// methodLocal says what is known of a sender of ours who did not log in: fail is that some field claims to be one, policy that one
// looks so.
const methodLocal = "x-local"

// add adds a result with properties in pairs; those without a value are left out.
func (v *Verdict) add(method, result, reason string, props ...string) {
	r := AuthResult{Method: method, Result: result, Reason: reason}
	for i := 0; i+1 < len(props); i += 2 {
		if props[i+1] != "" {
			r.Props = append(r.Props, AuthProp{props[i], props[i+1]})
		}
	}
	v.Results = append(v.Results, r)
}

// get is the first result of a method.
func (v *Verdict) get(method string) (AuthResult, bool) {
	for _, r := range v.Results {
		if r.Method == method {
			return r, true
		}
	}
	return AuthResult{}, false
}

// prop is a property of a result, "" without it.
func (r AuthResult) prop(name string) string {
	for _, p := range r.Props {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Field is the whole Authentication-Results field of a server of that name.
func (v *Verdict) Field(host string) string {
	var b strings.Builder
	b.WriteString("Authentication-Results: " + host)
	for _, r := range v.Results {
		b.WriteString(";\r\n\t" + r.Method + "=" + r.Result)
		if r.Reason != "" {
			b.WriteString(" reason=" + authQuote(r.Reason))
		}
		for _, p := range r.Props {
			b.WriteString(" " + p.Name + "=" + authValue(p.Value))
		}
	}
	if len(v.Results) == 0 {
		b.WriteString("; none")
	}
	b.WriteString("\r\n")
	return b.String()
}

const authLong = 200 // octets of a value or reason; what strangers write there has no end

// authValue is a value as the field has it: as it is if it is made of what domains and addresses are made of, else in quotes.
func authValue(s string) string {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && !strings.ContainsRune("0123456789.-_@+/=", rune(s[i])) {
			return authQuote(s)
		}
	}
	if s == "" || len(s) > authLong {
		return authQuote(s)
	}
	return s
}

// authQuote is a quoted string of ASCII.
func authQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case i >= authLong:
			return b.String() + `"`
		case c == '"' || c == '\\':
			b.WriteByte('\'')
		case c < ' ' || c > '~':
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + `"`
}

// storedVerdict reads the verdict that a message was stored with, nil if it has none: by the field of a server of that name above the
// first Received field. fields are the header's, from the top.
func storedVerdict(fields Header, own func(host string) bool) *Verdict {
	for _, f := range fields {
		switch strings.ToLower(f.Name) {
		case "received":
			return nil
		case "authentication-results":
			host, rest, _ := strings.Cut(unfold(f.Value), ";")
			if own(strings.TrimSpace(host)) {
				return parseVerdict(rest)
			}
		}
	}
	return nil
}

// parseVerdict reads what Field writes, without its name and host.
func parseVerdict(s string) *Verdict {
	v := &Verdict{}
	var r *AuthResult
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimLeft(s, " \t") {
		if s[0] == ';' {
			r, s = nil, s[1:]
			continue
		}
		end := strings.IndexAny(s, "=;")
		if end < 0 || s[end] == ';' {
			break // "none", or nothing of ours
		}
		name := strings.TrimSpace(s[:end])
		s = s[end+1:]
		var value string
		switch end = strings.IndexAny(s, " \t;"); {
		case strings.HasPrefix(s, `"`):
			value, s, _ = strings.Cut(s[1:], `"`)
		case end < 0:
			value, s = s, ""
		default:
			value, s = s[:end], s[end:]
		}
		switch {
		case r == nil:
			v.Results = append(v.Results, AuthResult{Method: name, Result: value})
			r = &v.Results[len(v.Results)-1]
		case name == "reason":
			r.Reason = value
		default:
			r.Props = append(r.Props, AuthProp{name, value})
		}
	}
	return v
}

// vouched says which domain stands for the sender in From: by DMARC, or without a policy by a signature or address that is aligned with
// it. Else disowned is the domain that has a policy and does not stand for it. With several domains in From all have to.
func (v *Verdict) vouched() (by, disowned string) {
	all := true
	for _, r := range v.Results {
		if r.Method != "dmarc" {
			continue
		}
		from := r.prop("header.from")
		switch {
		case r.Result == resultFail:
			return "", from
		case r.prop("policy.by") != "":
			by = from
		default:
			all = false
		}
	}
	if !all {
		by = ""
	}
	return by, ""
}
