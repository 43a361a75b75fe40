// What Sieve says to people: the automatic answer (RFC 5230, 6131) and notifications by mail (RFC 5435, 5436).
package main

import (
	"net/url"
	"slices"
	"strings"
)

const (
	sieveVacationDays = 7             // between two answers to one sender, unless said
	sieveMaxAnswerAge = 90 * sieveDay // that may be said
	sieveMaxReply     = 64 << 10      // octets of an answer
	sieveMaxNotified  = 4             // people that one notification goes to
)

func (c *sieveCompiler) checkVacation(n *sieveNode) {
	if a := n.tags["from"]; a != nil && a.consts != nil {
		if _, err := sieveAddress(a.consts[0]); err != nil {
			c.fault(a.sievePos, "%s is no mail address: %v", sieveQuote(a.consts[0]), err)
		}
	}
	if a := n.tags["mime"]; a != nil && n.pos[0].consts != nil {
		if _, _, ok := sieveTextPart(n.pos[0].consts[0], true); !ok {
			c.fault(n.pos[0].sievePos, "with :mime the text must be a part: header fields, an empty line, a body")
		}
	}
}

// runVacation asks for an automatic answer. Whether there is to be one is seen to when the mail is delivered (RFC 5230 §4).
func (r *sieveRun) runVacation(n *sieveNode) error {
	v := &sieveReply{subject: r.str(n.tags["subject"]), from: r.str(n.tags["from"]), addresses: r.strings(n.tags["addresses"]),
		mime: n.tags["mime"] != nil, seconds: sieveVacationDays * sieveDay}
	if a := n.tags["days"]; a != nil {
		v.seconds = min(max(a.num, 1), sieveMaxAnswerAge/sieveDay) * sieveDay
	}
	if a := n.tags["seconds"]; a != nil { // 0 answers each time (RFC 6131 §2)
		v.seconds = min(a.num, sieveMaxAnswerAge)
	}
	if v.from != "" {
		if _, err := sieveAddress(v.from); err != nil {
			return &sieveFault{n.sievePos, sieveQuote(v.from) + " is no mail address"}
		}
	}
	text := r.str(n.pos[0])
	if len(text) > sieveMaxReply {
		return &sieveFault{n.sievePos, "the answer is too long"}
	}
	handle := r.str(n.tags["handle"])
	if n.tags["handle"] == nil { // RFC 5230 §4.2: what is said otherwise is another answer
		handle = strings.Join(append([]string{v.subject, v.from, text}, v.addresses...), "\x01")
		if v.mime {
			handle += "\x01mime"
		}
	}
	v.handle = handle
	return r.act(sieveAction{at: n.sievePos, kind: "vacation", text: text, reply: v})
}

func (c *sieveCompiler) checkNotify(n *sieveNode) {
	if a := n.tags["importance"]; a != nil && a.consts != nil && !slices.Contains([]string{"1", "2", "3"}, a.consts[0]) {
		c.fault(a.sievePos, ":importance is 1, 2 or 3")
	}
	if a := n.tags["from"]; a != nil && a.consts != nil {
		if _, err := sieveAddress(a.consts[0]); err != nil {
			c.fault(a.sievePos, "%s is no mail address", sieveQuote(a.consts[0]))
		}
	}
	if a := n.tags["options"]; a != nil {
		for _, s := range a.strs {
			if name, _, ok := strings.Cut(s.text, "="); s.parts == nil && (!ok || name == "" || strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789._-") != "") {
				c.fault(s.sievePos, "%s is no option: name=value is wanted", sieveQuote(s.text))
			}
		}
	}
	if a := n.pos[0]; a.consts != nil {
		if _, _, fault := sieveMailto(a.consts[0]); fault != "" {
			c.fault(a.sievePos, "%s", fault)
		}
	}
}

// sieveMailto takes a mailto URI apart (RFC 6068): whom it goes to, subject, body and further fields. It returns what is wrong in words.
func sieveMailto(uri string) (to []string, v *sieveReply, fault string) {
	scheme, rest, ok := strings.Cut(uri, ":")
	if !ok || !strings.EqualFold(scheme, "mailto") {
		return nil, nil, "only mailto: is a way to notify here"
	}
	if strings.ContainsAny(rest, "#") || strings.ContainsFunc(rest, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"<>[\]^`+"`{|}", c) }) {
		return nil, nil, "a character of the URI has to be written with %"
	}
	path, query, _ := strings.Cut(rest, "?")
	v = &sieveReply{}
	add := func(list string) {
		text, err := url.PathUnescape(list)
		if err != nil {
			fault = "the URI has a bad % in it"
			return
		}
		for part := range strings.SplitSeq(text, ",") {
			x, err := sieveAddress(part)
			switch {
			case err != nil || strings.ContainsAny(part, "<>"):
				fault = sieveQuote(part) + " is no mail address"
			case !slices.Contains(to, x.String()):
				to = append(to, x.String())
			}
		}
	}
	if path != "" {
		add(path)
	}
	for part := range strings.SplitSeq(query, "&") {
		if part == "" {
			continue
		}
		name, text, ok := strings.Cut(part, "=")
		value, err := url.PathUnescape(text)
		if !ok || err != nil || !isFieldName(name) || !isPrintableASCII(name) {
			return nil, nil, "the URI has a field without a value in it"
		}
		name = strings.ToLower(name)
		switch name {
		case "to", "cc":
			add(text)
		case "subject":
			v.subject = value
		case "body":
			v.body = value
		default:
			if len(v.fields) < sieveMaxActions && !sieveUnsafeField(name) {
				v.fields = append(v.fields, Field{strings.ToUpper(name[:1]) + name[1:], value})
			}
		}
	}
	switch {
	case fault != "":
	case len(to) == 0:
		fault = "the URI names nobody"
	case len(to) > sieveMaxNotified:
		fault = "the URI names too many people"
	}
	return to, v, fault
}

// sieveUnsafeField knows the fields that a URI may not set: who wrote, how it went, what it is (RFC 5436 §2.7). Only names of its own and
// a few plain ones are left.
func sieveUnsafeField(name string) bool {
	return !strings.HasPrefix(name, "x-") && !slices.Contains([]string{"keywords", "comments", "importance", "priority"}, name)
}

// runNotify asks for a notification (RFC 5435 §3).
func (r *sieveRun) runNotify(n *sieveNode) error {
	uri := r.str(n.pos[0])
	to, v, fault := sieveMailto(uri)
	if fault != "" {
		return &sieveFault{n.sievePos, fault}
	}
	v.from, v.importance = r.str(n.tags["from"]), r.str(n.tags["importance"])
	if v.from != "" {
		if _, err := sieveAddress(v.from); err != nil {
			return &sieveFault{n.sievePos, sieveQuote(v.from) + " is no mail address"}
		}
	}
	text := ""
	if n.tags["message"] != nil {
		text = r.str(n.tags["message"])
	}
	for _, a := range to {
		err := r.act(sieveAction{at: n.sievePos, kind: "notify", target: a, text: text, reply: v})
		if err != nil {
			return err
		}
	}
	return nil
}

// askNotifyMethod says whether all of the addresses are such that notify takes them (RFC 5435 §4).
func (r *sieveRun) askNotifyMethod(n *sieveNode) (bool, error) {
	return !slices.ContainsFunc(r.strings(n.pos[0]), func(uri string) bool {
		_, _, fault := sieveMailto(uri)
		return fault != ""
	}), nil
}

// askNotifyCapability compares what is known of a way to notify: by mail nobody knows who is online (RFC 5435 §5, 5436 §2.2).
func (r *sieveRun) askNotifyCapability(n *sieveNode) (bool, error) {
	_, _, fault := sieveMailto(r.str(n.pos[0]))
	if fault != "" || !strings.EqualFold(r.str(n.pos[1]), "online") {
		return false, nil
	}
	return r.matches(n, []string{"maybe"})
}
