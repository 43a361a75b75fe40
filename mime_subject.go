// What sorting and threading compare: base subjects and message ids.
package main

import (
	"strings"
)

// BaseSubject is the subject without "Re:", "[list]", "(fwd)" and their like, and whether there was a mark of a reply
// or forward (RFC 5256 §2.1). Encoded words are decoded first. The caller folds case. Time is linear in len(s).
//
// Numbers in the code are the steps of the RFC.
func BaseSubject(s string) (string, bool) {
	s = strings.Join(strings.Fields(DecodeWords(s)), " ") // (1)
	reply := false
	for {
		var cut, fwd bool
		s, cut = cutSubjectTrailers(s) // (2)
		reply = reply || cut
		s, cut = cutSubjectLeaders(s) // (3) to (5)
		reply = reply || cut
		s, fwd = cutForwarded(s)
		if !fwd { // (6)
			return s, reply
		}
		reply = true
	}
}

// cutSubjectTrailers removes subj-trailer = "(fwd)" / WSP from the end.
func cutSubjectTrailers(s string) (string, bool) {
	const fwd = "(fwd)"
	cut := false
	for {
		s = strings.TrimRight(s, " ")
		if len(s) < len(fwd) || !strings.EqualFold(s[len(s)-len(fwd):], fwd) {
			return s, cut
		}
		s, cut = s[:len(s)-len(fwd)], true
	}
}

// cutSubjectLeaders removes subj-leader = (*subj-blob subj-refwd) / WSP from the front, and blobs that leave something
// behind. A row of blobs is walked once: when no refwd follows it, none follows what is left of it after one blob has
// gone.
func cutSubjectLeaders(s string) (string, bool) {
	cut := false
	for {
		s = strings.TrimLeft(s, " ")
		end, last := 0, 0 // of the row of blobs; of its last blob the start
		for {
			n := blobLen(s[end:])
			if n == 0 {
				break
			}
			end, last = end+n, end
		}
		if n := refwdLen(s[end:]); n > 0 {
			s, cut = s[end+n:], true
			continue
		}
		if end < len(s) {
			return s[end:], cut
		}
		return s[last:], cut // blobs only: the last one is the subject
	}
}

// blobLen measures subj-blob = "[" *BLOBCHAR "]" *WSP.
func blobLen(s string) int {
	if !strings.HasPrefix(s, "[") {
		return 0
	}
	i := strings.IndexAny(s[1:], "[]") + 1
	if i == 0 || s[i] == '[' {
		return 0
	}
	return len(s) - len(strings.TrimLeft(s[i+1:], " "))
}

// refwdLen measures subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":".
func refwdLen(s string) int {
	rest := ""
	switch {
	case hasPrefixFold(s, "re"):
		rest = s[2:]
	case hasPrefixFold(s, "fwd"):
		rest = s[3:]
	case hasPrefixFold(s, "fw"):
		rest = s[2:]
	default:
		return 0
	}
	rest = strings.TrimLeft(rest, " ")
	rest = rest[blobLen(rest):]
	if !strings.HasPrefix(rest, ":") {
		return 0
	}
	return len(s) - len(rest) + 1
}

// cutForwarded unwraps "[fwd: ... ]".
func cutForwarded(s string) (string, bool) {
	if !hasPrefixFold(s, "[fwd:") || !strings.HasSuffix(s, "]") {
		return s, false
	}
	return s[len("[fwd:") : len(s)-1], true
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix)
}

// maxMessageIDs is how many ids of one field are read.
const maxMessageIDs = 1000

// MessageIDs finds the message ids of References, In-Reply-To or Message-ID, in order, each with its angle brackets.
// Blanks inside an id are dropped, and so are quotes that its left half does not need, so that equal ids are equal
// strings (RFC 5256 §3, REFERENCES). What is not in brackets is skipped: old In-Reply-To fields hold prose.
func MessageIDs(s string) []string {
	var ids []string
	for len(ids) < maxMessageIDs {
		i := strings.IndexByte(s, '<')
		if i < 0 {
			break
		}
		s = s[i+1:]
		end := strings.IndexAny(s, "<>")
		if end < 0 {
			break
		}
		if s[end] == '<' { // the first was never closed
			s = s[end:]
			continue
		}
		id := strings.Join(strings.Fields(s[:end]), "")
		s = s[end+1:]
		if strings.HasPrefix(id, `"`) {
			if n := quotedLen(id); n > 0 && isDotString(unquote(id[1:n-1])) {
				id = unquote(id[1:n-1]) + id[n:]
			}
		}
		if id != "" {
			ids = append(ids, "<"+id+">")
		}
	}
	return ids
}
