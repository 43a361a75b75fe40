// Who vouches for the sender of a message, in a sentence under the sender's name.
package main

// webTrust is what the page says of a message from somebody who did not log in here.
type webTrust struct {
	Kind string // vouched, nobody, disowned, looks, forged
	Who  string // the domain that vouches, or does not
}

// trustOf reads what was found out when the message came. It is nil for what nobody had to find out: mail from people here, mail that
// came before there were checks or without a DNS, and what did not come by SMTP.
func (q *webReq) trustOf(m *webMessage) *webTrust {
	if m.At != "" || m.Draft {
		return nil
	}
	v := storedVerdict(m.stored.Header(), q.s.isOwnName)
	if v == nil {
		return nil
	}
	if r, ok := v.get(methodLocal); ok && r.Result == resultFail {
		return &webTrust{Kind: "forged"}
	}
	who, disowned := v.vouched()
	like, looks := v.get(methodLocal)
	switch {
	case looks && (who == "" || like.prop("header.from") != who): // a subdomain that is vouched for is what it says
		return &webTrust{Kind: "looks"}
	case who != "":
		return &webTrust{"vouched", who}
	case disowned != "":
		return &webTrust{"disowned", disowned}
	}
	return &webTrust{Kind: "nobody"}
}

// Bad says whether the reader has to be careful.
func (t webTrust) Bad() bool { return t.Kind != "vouched" && t.Kind != "nobody" }
