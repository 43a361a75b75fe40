// What Sieve's tests look at in a mail: fields, addresses, envelope, size, body.
package main

import (
	"io"
	"slices"
	"strings"
)

// fields are the values of header fields, decoded, those of the part that is looked at (RFC 5228 §2.4.2.2, RFC 5703 §4).
func (r *sieveRun) fields(n *sieveNode, names []string) ([]string, error) {
	var all []string
	for _, p := range r.lookedAt(n) {
		for _, name := range names {
			values, err := r.decoded(p, name)
			if err != nil {
				return nil, err
			}
			all = append(all, values...)
		}
	}
	return all, nil
}

// lookedAt are the parts whose header a test is about.
func (r *sieveRun) lookedAt(n *sieveNode) []*Part {
	root := r.mail.tree
	if n.tags["mime"] == nil {
		return []*Part{root}
	}
	if r.part != nil {
		root = r.part
	}
	if n.tags["anychild"] == nil {
		return []*Part{root}
	}
	return sieveParts(root)
}

// sieveParts are a part and all inside it, in their order.
func sieveParts(p *Part) []*Part {
	all := []*Part{p}
	for _, c := range p.Parts {
		all = append(all, sieveParts(c)...)
	}
	return all
}

// decoded are the values of one field of a part. Those of the message are kept: scripts ask for the same few again and again.
func (r *sieveRun) decoded(p *Part, name string) ([]string, error) {
	h, top, err := r.headerOf(p)
	if err != nil {
		return nil, err
	}
	key := sieveLower(name)
	if values, ok := r.cached[key]; ok && top {
		return values, nil
	}
	var values []string
	charset := ""
	for i := range h {
		if !strings.EqualFold(h[i].Name, name) {
			continue
		}
		v := unfold(h[i].Value)
		switch {
		case strings.Contains(v, "=?") || !isPlain(v):
			if charset == "" {
				charset = h.charset()
			}
			v = strings.TrimSpace(decodeWords(v, charset))
			err = r.spend(int64(len(v)) * 10)
		default:
			err = r.spend(int64(len(v)))
		}
		if err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	err = r.spend(int64(len(h)) * 4)
	if top && err == nil {
		if r.cached == nil {
			r.cached = map[string][]string{}
		}
		r.cached[key] = values
	}
	return values, err
}

// headerOf is the header of a part; top says that it is the message's, as the script has changed it.
func (r *sieveRun) headerOf(p *Part) (h Header, top bool, err error) {
	if p == r.mail.tree {
		return r.header, true, nil
	}
	size := min(p.HeaderLen, 64<<10)
	err = r.spend(size * 4)
	if err != nil {
		return nil, false, err
	}
	b := make([]byte, size)
	_, err = io.ReadFull(io.NewSectionReader(r.mail.r, p.HeaderOff, size), b)
	return ParseHeader(b), false, err
}

// askExists says whether all of the fields are there (RFC 5228 §5.5).
func (r *sieveRun) askExists(n *sieveNode) (bool, error) {
	for _, name := range r.strings(n.pos[0]) {
		found := false
		for _, p := range r.lookedAt(n) {
			h, _, err := r.headerOf(p)
			if err == nil {
				err = r.spend(int64(len(h)) * 4)
			}
			if err != nil {
				return false, err
			}
			found = found || h.Has(name)
		}
		if !found {
			return false, nil
		}
	}
	return true, nil
}

// askHeader compares header fields (RFC 5228 §5.7), by number (RFC 5260 §6) and by their MIME halves (RFC 5703 §4.2).
func (r *sieveRun) askHeader(n *sieveNode) (bool, error) {
	names := r.strings(n.pos[0])
	if n.tags["index"] != nil {
		return r.indexed(n, names, func(values []string) (bool, error) { return r.matches(n, values) })
	}
	values, err := r.fields(n, names)
	if err != nil {
		return false, err
	}
	return r.matches(n, r.mimeHalves(n, values))
}

// indexed asks about one field of each name (RFC 5260 §6).
func (r *sieveRun) indexed(n *sieveNode, names []string, ask func([]string) (bool, error)) (bool, error) {
	for _, name := range names {
		values, err := r.fields(n, []string{name})
		if err != nil {
			return false, err
		}
		values = sieveIndexed(n, values)
		if len(values) == 0 {
			continue
		}
		ok, err := ask(r.mimeHalves(n, values))
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// sieveIndexed is the one value that :index names, counted from 1, or with :last from the end.
func sieveIndexed(n *sieveNode, values []string) []string {
	a := n.tags["index"]
	if a == nil {
		return values
	}
	i := a.num - 1
	if n.tags["last"] != nil {
		i = int64(len(values)) - a.num
	}
	if i < 0 || i >= int64(len(values)) {
		return nil
	}
	return values[i : i+1]
}

// mimeHalves takes the half of a field that a tag of RFC 5703 §4.2 names.
func (r *sieveRun) mimeHalves(n *sieveNode, values []string) []string {
	if n.tags["mime"] == nil {
		return values
	}
	var out []string
	for _, v := range values {
		typ, subtype, params, _ := parseMediaType(v)
		value, _, _ := strings.Cut(v, ";")
		value = strings.TrimSpace(value)
		both := strings.Contains(value, "/")
		switch {
		case n.tags["type"] != nil && both:
			out = append(out, typ)
		case n.tags["type"] != nil:
			out = append(out, value)
		case n.tags["subtype"] != nil && both:
			out = append(out, subtype)
		case n.tags["subtype"] != nil:
			out = append(out, "")
		case n.tags["contenttype"] != nil:
			out = append(out, value)
		case n.tags["param"] != nil:
			for _, name := range r.strings(n.tags["param"]) {
				if slices.ContainsFunc(params, func(p Param) bool { return strings.EqualFold(p.Name, name) }) {
					out = append(out, findParam(params, sieveLower(name)))
				}
			}
		default:
			out = append(out, v)
		}
	}
	return out
}

// askAddress compares addresses in header fields (RFC 5228 §5.1).
func (r *sieveRun) askAddress(n *sieveNode) (bool, error) {
	ask := func(values []string) (bool, error) {
		var all []string
		for _, v := range values {
			list, err := r.addressList(v)
			if err != nil {
				return false, err
			}
			for _, a := range list {
				switch {
				case a.Domain == missingDomain && a.Local != missingLocal:
					all = r.addressPart(n, all, a.Local, "")
				case a.Domain != "" && a.Domain != missingDomain:
					all = r.addressPart(n, all, a.Local, a.Domain)
				}
			}
		}
		return r.matches(n, all)
	}
	names := r.strings(n.pos[0])
	if n.tags["index"] == nil {
		values, err := r.rawFields(n, names)
		if err != nil {
			return false, err
		}
		return ask(values)
	}
	for _, name := range names {
		values, err := r.rawFields(n, []string{name})
		if err != nil {
			return false, err
		}
		values = sieveIndexed(n, values)
		if len(values) == 0 {
			continue
		}
		ok, err := ask(values)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// addressList takes a list of addresses apart, each list once.
func (r *sieveRun) addressList(v string) ([]Address, error) {
	if list, ok := r.addresses[v]; ok {
		return list, r.spend(int64(len(list)) * 10)
	}
	err := r.spend(int64(len(v)) * 20)
	if err != nil {
		return nil, err
	}
	list := ParseAddressList(v)
	if r.addresses == nil {
		r.addresses = map[string][]Address{}
	}
	r.addresses[v] = list
	return list, nil
}

// rawFields are values as they stand: an address list is taken apart before its words are decoded.
func (r *sieveRun) rawFields(n *sieveNode, names []string) ([]string, error) {
	var all []string
	for _, p := range r.lookedAt(n) {
		h, _, err := r.headerOf(p)
		if err == nil {
			err = r.spend(int64(len(h)*len(names)) * 4)
		}
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			all = append(all, h.All(name)...)
		}
	}
	return all, nil
}

// addressPart adds the part of an address that a test is about: all without a tag (RFC 5228 §2.7.4), or a half of the local part
// (RFC 5233 §4): without a + there is no detail, which is not the same as an empty one.
func (r *sieveRun) addressPart(n *sieveNode, all []string, local, domain string) []string {
	user, detail, plus := strings.Cut(local, "+")
	switch {
	case n.tags["localpart"] != nil:
		return append(all, local)
	case n.tags["domain"] != nil:
		return append(all, domain)
	case n.tags["user"] != nil:
		return append(all, user)
	case n.tags["detail"] != nil && plus:
		return append(all, detail)
	case n.tags["detail"] != nil:
		return all
	case domain == "":
		return append(all, local)
	}
	return append(all, local+"@"+domain)
}

// askEnvelope compares what SMTP said (RFC 5228 §5.4). The empty sender is an empty address.
func (r *sieveRun) askEnvelope(n *sieveNode) (bool, error) {
	var all []string
	for _, part := range r.strings(n.pos[0]) {
		switch strings.ToLower(part) {
		case "from":
			all = r.envelopePart(n, all, r.mail.from)
		case "to":
			all = r.envelopePart(n, all, r.mail.to)
		case "orig_recipient":
			all = r.envelopePart(n, all, r.mail.orig)
		case "auth":
			if r.mail.auth != "" {
				all = append(all, r.mail.auth)
			}
		default:
			return false, &sieveFault{n.sievePos, "there is no part " + sieveQuote(part) + " of the envelope"}
		}
	}
	return r.matches(n, all)
}

func (r *sieveRun) envelopePart(n *sieveNode, all []string, address string) []string {
	i := strings.LastIndexByte(address, '@')
	if i < 0 {
		if n.tags["detail"] != nil {
			return all
		}
		return append(all, address)
	}
	return r.addressPart(n, all, strings.Trim(address[:i], `"`), address[i+1:])
}

// askSize compares the mail's size in octets (RFC 5228 §5.9).
func (r *sieveRun) askSize(n *sieveNode) (bool, error) {
	size := r.mail.size
	if r.content != nil {
		size = r.content.size(r.mail)
		if err := r.spend(int64(len(r.header))); err != nil {
			return false, err
		}
	}
	if n.tags["over"] != nil {
		return size > n.pos[0].num, nil
	}
	return size < n.pos[0].num, nil
}

// askBody looks into the body (RFC 5173), at most at its first MiB: as it came, at its texts, or at parts of some types. What a
// pattern stands for is not kept (§6).
func (r *sieveRun) askBody(n *sieveNode) (bool, error) {
	var values []string
	var err error
	switch {
	case n.tags["raw"] != nil:
		values, err = r.bodyTexts("raw", func() ([]string, error) {
			p := r.mail.tree
			text, err := r.readText(io.NewSectionReader(r.mail.r, p.BodyOff, p.BodyLen), p.BodyLen, 1)
			return []string{text}, err
		})
	case n.tags["content"] != nil:
		types := r.strings(n.tags["content"])
		values, err = r.bodyTexts("content "+strings.Join(types, "\x00"), func() ([]string, error) { return r.contentTexts(types) })
	default:
		values, err = r.bodyTexts("text", func() ([]string, error) { return r.contentTexts(nil) })
	}
	if err != nil {
		return false, err
	}
	had := r.match
	ok, err := r.matches(n, values)
	r.match = had
	return ok, err
}

func (r *sieveRun) bodyTexts(key string, read func() ([]string, error)) ([]string, error) {
	if values, ok := r.bodies[key]; ok {
		return values, nil
	}
	values, err := read()
	if r.bodies == nil {
		r.bodies = map[string][]string{}
	}
	if err == nil {
		r.bodies[key] = values
	}
	return values, err
}

// readText reads what of the mail's body may still be read, at so many units an octet.
func (r *sieveRun) readText(from io.Reader, size, cost int64) (string, error) {
	room := min(size*2, sieveMaxBody-r.bodyRead)
	err := r.spend(max(min(size, room), 0) * cost)
	if err != nil || room <= 0 {
		return "", err
	}
	var b strings.Builder
	n, err := io.Copy(&b, io.LimitReader(from, room))
	r.bodyRead += n
	return b.String(), err
}

// contentTexts are the texts of the parts of those media types, all that are text for nil. Of a multipart it is what stands in front of
// and behind its parts, of a message its header (RFC 5173 §5.2).
func (r *sieveRun) contentTexts(types []string) ([]string, error) {
	var all []string
	for _, p := range sieveParts(r.mail.tree) {
		if !sieveIsType(p, types) {
			continue
		}
		var from io.Reader
		size, cost := p.BodyLen, int64(5)
		switch {
		case types == nil:
			from, cost = p.PlainText(r.mail.r), 20
		case p.IsMultipart():
			from, size = sieveBetween(p, r.mail.r)
		case p.IsMessage():
			from, size = p.Parts[0].RawHeader(r.mail.r), p.Parts[0].HeaderLen
		case p.Type == "text":
			from = p.Text(r.mail.r)
		default:
			from = p.Decoded(r.mail.r)
		}
		text, err := r.readText(from, size, cost)
		if err != nil {
			return nil, err
		}
		if types != nil && p.IsMultipart() {
			text = sieveWithout(text, "--"+p.Param("boundary"))
		}
		all = append(all, text)
	}
	return all, nil
}

// sieveBetween is what stands in front of the first and behind the last part of a multipart.
func sieveBetween(p *Part, r io.ReaderAt) (io.Reader, int64) {
	first, last := p.Parts[0], p.Parts[len(p.Parts)-1]
	end := last.BodyOff + last.BodyLen
	before, behind := first.HeaderOff-p.BodyOff, p.BodyOff+p.BodyLen-end
	return io.MultiReader(io.NewSectionReader(r, p.BodyOff, before), io.NewSectionReader(r, end, behind)), before + behind
}

// sieveWithout is a text without the lines that begin so.
func sieveWithout(text, begin string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, begin) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// sieveIsType says whether a part is of one of the types: all of them, a type with all its subtypes, or both halves (RFC 5173 §5.2).
func sieveIsType(p *Part, types []string) bool {
	if types == nil {
		return p.Type == "text"
	}
	return slices.ContainsFunc(types, func(t string) bool {
		typ, subtype, both := strings.Cut(strings.ToLower(t), "/")
		switch {
		case t == "":
			return true
		case strings.Count(t, "/") > 1 || typ == "" || (both && subtype == ""):
			return false
		}
		return p.Type == typ && (!both || p.Subtype == subtype)
	})
}
