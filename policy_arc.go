// ARC (RFC 8617): what servers on the way have found out about a message before they changed it.
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// arcSet are the three fields of one server.
type arcSet struct {
	results, message, seal dkimField
	sealTags               map[string]string
}

// arcResult is what came of ARC.
type arcResult struct {
	result string // none, pass, fail, temperror
	why    string
	sealer string   // d= of the last seal
	sealed *Verdict // what the last server found; nil without one
}

// arcInstance is the i= of one of the three fields, 0 if it has none. ARC-Authentication-Results begins with it.
func arcInstance(f dkimField) int {
	for one := range strings.SplitSeq(f.value(), ";") {
		name, value, ok := strings.Cut(one, "=")
		if ok && dkimTrim(name) == "i" {
			n, err := strconv.Atoi(dkimTrim(value))
			if err == nil && n >= 1 && n <= arcMost {
				return n
			}
			return 0
		}
	}
	return 0
}

// arcSets sorts the fields of a header into sets, the first server's first. A reason says why they are no chain.
func arcSets(fields []dkimField) (sets []arcSet, why string) {
	for _, f := range fields {
		if !strings.HasPrefix(f.name, "arc-") {
			continue
		}
		var place func(*arcSet) *dkimField
		switch f.name {
		case "arc-authentication-results":
			place = func(s *arcSet) *dkimField { return &s.results }
		case "arc-message-signature":
			place = func(s *arcSet) *dkimField { return &s.message }
		case "arc-seal":
			place = func(s *arcSet) *dkimField { return &s.seal }
		default:
			continue
		}
		i := arcInstance(f)
		if i == 0 {
			return nil, "a field without its number"
		}
		for len(sets) < i {
			sets = append(sets, arcSet{})
		}
		if place(&sets[i-1]).raw != "" {
			return nil, fmt.Sprintf("a field of number %d stands there twice", i)
		}
		*place(&sets[i-1]) = f
	}
	for i := range sets {
		s := &sets[i]
		if s.results.raw == "" || s.message.raw == "" || s.seal.raw == "" {
			return nil, fmt.Sprintf("number %d is not whole", i+1)
		}
		var err error
		s.sealTags, err = dkimTagList(s.seal.value())
		want := resultPass
		if i == 0 {
			want = resultNone
		}
		_, hashed := s.sealTags["h"]
		if err != nil || hashed || s.sealTags["cv"] != want {
			return nil, fmt.Sprintf("seal %d is no good one", i+1)
		}
	}
	return sets, ""
}

// checkARC checks a chain (RFC 8617 §5.2): the newest signature over the message, and every seal.
func checkARC(ctx context.Context, fields []dkimField, sums dkimSums, keys *keyAsker) arcResult {
	sets, why := arcSets(fields)
	if why != "" {
		return arcResult{result: resultFail, why: why}
	}
	if len(sets) == 0 {
		return arcResult{result: resultNone}
	}
	last := sets[len(sets)-1]
	r := arcResult{result: resultPass, sealer: strings.ToLower(dkimSqueeze(last.sealTags["d"]))}
	_, rest, _ := strings.Cut(last.results.value(), ";") // behind i=
	_, rest, _ = strings.Cut(rest, ";")                  // and the server's name
	r.sealed = parseVerdict(unfold(rest))
	sig := &dkimSig{field: last.message}
	tags, err := dkimTagList(last.message.value())
	if err == nil {
		err = sig.common(tags)
	}
	if err != nil || dkimListed(tags["h"], "arc-seal") {
		r.result, r.why = resultFail, "the signature can't be read"
		return r
	}
	m := sig.check(ctx, newDKIMPicker(fields), sums, keys)
	if m.result != resultPass {
		r.result, r.why = arcFault(m.result), m.why
		return r
	}
	for i := len(sets) - 1; i >= 0; i-- {
		result, why := checkSeal(ctx, sets[:i+1], keys)
		if result != resultPass {
			r.result, r.why = result, fmt.Sprintf("seal %d: %s", i+1, why)
			return r
		}
	}
	return r
}

// arcFault is the result of a chain of which a piece has that result.
func arcFault(piece string) string {
	if piece == resultTemp {
		return resultTemp
	}
	return resultFail
}

// checkSeal checks the last seal of some sets, which is over all of them (RFC 8617 §5.1.1).
func checkSeal(ctx context.Context, sets []arcSet, keys *keyAsker) (result, why string) {
	last := sets[len(sets)-1]
	tags := last.sealTags
	s := &dkimSig{field: last.seal, domain: strings.ToLower(dkimSqueeze(tags["d"])), selector: strings.ToLower(dkimSqueeze(tags["s"]))}
	tags["bh"] = "" // seals have no body
	err := s.sealed(tags)
	if err != nil || s.domain == "" || s.selector == "" {
		return resultFail, "it can't be read"
	}
	key, err := keys.key(ctx, s.selector, s.domain)
	if err == nil && key.kind != s.kind {
		err = errDKIMKeyKind
	}
	if err != nil {
		result, why = keyResult(err)
		return arcFault(result), why
	}
	h := sha256.New()
	for i, set := range sets {
		for _, f := range []dkimField{set.results, set.message} {
			io.WriteString(h, canonField(f.raw, true))
		}
		if i < len(sets)-1 {
			io.WriteString(h, canonField(set.seal.raw, true))
		}
	}
	io.WriteString(h, strings.TrimSuffix(canonField(withoutSignature(last.seal.raw), true), "\r\n"))
	if key.verify(h.Sum(nil), s.signature) != nil {
		return resultFail, errDKIMSignature.Error()
	}
	return resultPass, ""
}

// speaksFor says whether a chain is good, was sealed last by somebody who is trusted, and that server found the message to be from the
// domain in From.
func (r arcResult) speaksFor(from string, trusted []string) bool {
	if r.result != resultPass || r.sealed == nil {
		return false
	}
	known := false
	for _, t := range trusted {
		known = known || isUnder(r.sealer, strings.ToLower(t))
	}
	if !known {
		return false
	}
	for _, one := range r.sealed.Results {
		if one.Method == "dmarc" && one.Result == resultPass && strings.EqualFold(one.prop("header.from"), from) {
			return true
		}
		if one.Method == "dkim" && one.Result == resultPass && (strings.EqualFold(one.prop("header.d"), from) || strings.EqualFold(one.prop("header.i"), "@"+from)) {
			return true
		}
	}
	return false
}
