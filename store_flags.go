// Flags: the system flags and common keywords as bits, all other keywords as words.
package main

import (
	"slices"
	"strings"
)

// FlagBits are the flags that nearly all mail gets by with.
type FlagBits uint32

const (
	FlagSeen FlagBits = 1 << iota
	FlagAnswered
	FlagFlagged
	FlagDeleted
	FlagDraft
	FlagForwarded // $Forwarded (RFC 5788)
	FlagMDNSent   // $MDNSent (RFC 3503)
	FlagJunk      // $Junk
	FlagNotJunk   // $NotJunk
	FlagPhishing  // $Phishing
	FlagImportant // $Important (RFC 8457)
)

// flagNames gives the bits their names on the wire, lowest bit first; the first five are system flags.
var flagNames = []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`,
	`$Forwarded`, `$MDNSent`, `$Junk`, `$NotJunk`, `$Phishing`, `$Important`}

const (
	maxKeyword = 100 // octets of one keyword
)

// Flags are a message's flags. They are comparable: Words is sorted without regard to case and has no doubles.
type Flags struct {
	Bits  FlagBits
	Words string // keywords that have no bit, divided by spaces
}

// ParseFlag adds the flag of that name, whatever its case. Unknown system flags (\Recent too) are refused.
func (f Flags) ParseFlag(name string) (Flags, bool) {
	for i, n := range flagNames {
		if strings.EqualFold(n, name) {
			f.Bits |= 1 << i
			return f, true
		}
	}
	if strings.HasPrefix(name, `\`) || name == "" || len(name) > maxKeyword {
		return f, false
	}
	return f.With(Flags{Words: name}), true
}

// With returns the union.
func (f Flags) With(g Flags) Flags {
	return Flags{f.Bits | g.Bits, mergeWords(f.Words, g.Words)}
}

// Without returns f less what g has.
func (f Flags) Without(g Flags) Flags {
	f.Bits &^= g.Bits
	if f.Words != "" && g.Words != "" {
		drop := strings.Fields(g.Words)
		f.Words = strings.Join(slices.DeleteFunc(strings.Fields(f.Words), func(w string) bool {
			return slices.ContainsFunc(drop, func(d string) bool { return strings.EqualFold(d, w) })
		}), " ")
	}
	return f
}

// Has says whether all of g is in f.
func (f Flags) Has(g Flags) bool {
	return f.Bits&g.Bits == g.Bits && (g.Words == "" || mergeWords(f.Words, g.Words) == f.Words)
}

// HasWord says whether the keyword is set, whatever its case.
func (f Flags) HasWord(w string) bool {
	g, ok := Flags{}.ParseFlag(w)
	return ok && f.Has(g)
}

// Names lists the flags as they are written on the wire.
func (f Flags) Names() []string {
	var names []string
	for i, n := range flagNames {
		if f.Bits&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return append(names, strings.Fields(f.Words)...)
}

// appendList appends the list in parentheses, as FETCH shows it, with \Recent at its end if the message is.
func (f Flags) appendList(dst []byte, recent bool) []byte {
	dst = append(dst, '(')
	start := len(dst)
	add := func(name string) {
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = append(dst, name...)
	}
	for i, n := range flagNames {
		if f.Bits&(1<<i) != 0 {
			add(n)
		}
	}
	if f.Words != "" {
		add(f.Words)
	}
	if recent {
		add(`\Recent`)
	}
	return append(dst, ')')
}

// String is the list in parentheses, as FETCH shows it.
func (f Flags) String() string { return string(f.appendList(nil, false)) }

// mergeWords is the sorted union of two sorted lists of words. The spelling that was there first stays.
func mergeWords(a, b string) string {
	if b == "" {
		return a
	}
	words := strings.Fields(a)
	for _, w := range strings.Fields(b) {
		if !slices.ContainsFunc(words, func(x string) bool { return strings.EqualFold(x, w) }) {
			words = append(words, w)
		}
	}
	slices.SortFunc(words, func(x, y string) int { return strings.Compare(strings.ToLower(x), strings.ToLower(y)) })
	return strings.Join(words, " ")
}

func countWords(words string) int { return len(strings.Fields(words)) }
