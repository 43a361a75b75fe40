package main

import (
	"bufio"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestImapNames(t *testing.T) {
	for name, want := range map[string]string{
		"INBOX": "INBOX", "": "", "&": "&-", "a&b": "a&-b", "台北": "&U,BTFw-", "日本語/x": "&ZeVnLIqe-/x",
		"😀": "&2D3eAA-", "é": "&AOk-", "a é b": "a &AOk- b", "é&é": "&AOk-&-&AOk-", "~peter/mail/台北/日本語": "~peter/mail/&U,BTFw-/&ZeVnLIqe-",
	} {
		if got := imapEncodeName(name); got != want {
			t.Errorf("encode %q: %q, want %q", name, got, want)
		}
		if got, ok := imapDecodeName(want); !ok || got != name {
			t.Errorf("decode %q: %q, %v", want, got, ok)
		}
	}
	for _, bad := range []string{"&", "&U", "a&b", "&AEE-", "&U,BTFw-&ZeVnLIqe-", "&U,BTFx-", "&2D0-", "&AOl-x&", "&AOk=-", "&AOk/-", "\xff", "é"} {
		if got, ok := imapDecodeName(bad); ok {
			t.Errorf("decode %q: %q", bad, got)
		}
	}
}

func TestImapMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b/c", true}, {"%", "a", true}, {"%", "a/b", false}, {"a/%", "a/b", true}, {"a/%", "a", false},
		{"*/c", "a/b/c", true}, {"%/c", "a/b/c", false}, {"%/%/c", "a/b/c", true}, {"a*c%e", "abcde", true},
		{"a*c%e", "abc/e", false}, {"*c%e", "c/ce", true}, {"%b%/c", "abb/c", true}, {"", "", true}, {"a", "A", false},
		{"**%%", "x/y", true}, {"%*", "x/y", true}, {"x%", "x/y", false},
		{strings.Repeat("*a", 40) + "b", strings.Repeat("a", 900), false},
	} {
		if got := imapMatch(c.pattern, c.name); got != c.want {
			t.Errorf("%.20s ~ %.20s: %v", c.pattern, c.name, got)
		}
	}
}

func TestImapSets(t *testing.T) {
	c := &imapConn{}
	c.uids = []UID{2, 3, 5, 8, 13}
	for _, e := range []struct {
		set  string
		uid  bool
		want string // as a set, or the error
	}{
		{"1", false, "2"}, {"1:*", false, "2:3,5,8,13"}, {"*", false, "13"}, {"5,1:2,2", false, "2:3,13"}, {"4:2", false, "3,5,8"},
		{"6", false, "BAD There is no message 6"}, {"0", false, "BAD 0 in a set"}, {"1:99", false, "BAD There is no message 99"},
		{"1:*", true, "2:3,5,8,13"}, {"4", true, ""}, {"4:7", true, "5"}, {"14:*", true, "13"}, {"99:100", true, ""},
		{"*:9", true, "13"}, {"4294967295", true, ""}, {"4294967296", true, `BAD Bad number "4294967296"`}, {"1:3,3:8", true, "2:3,5,8"},
		{"", true, `BAD Expected a number at ""`}, {"1,", true, `BAD Expected a number at ""`}, {"1:", true, `BAD Expected a number at ""`},
	} {
		p := &imapParser{c: c, rest: e.set}
		got := imapSet(p.setOf(e.uid))
		if err := p.end(); err != nil {
			got = err.Error()
		}
		if got != e.want {
			t.Errorf("%s (uid %v): %q, want %q", e.set, e.uid, got, e.want)
		}
	}
}

// TestImapGone compares tellGone's single pass with taking messages out one by one.
func TestImapGone(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		c := newImapTester()
		var want []UID
		var changed []imapChange
		var lines []string
		for u := UID(1); u < 40; u++ {
			if r.IntN(3) > 0 {
				c.uids = append(c.uids, u)
			}
			if r.IntN(3) == 0 {
				changed = append(changed, imapChange{uid: u, gone: r.IntN(2) == 0})
			}
		}
		want = slices.Clone(c.uids)
		for _, m := range changed {
			if i := slices.Index(want, m.uid); i >= 0 && m.gone {
				want = slices.Delete(want, i, i+1)
				lines = append(lines, "* "+imapSet([]UID{UID(i + 1)})+" EXPUNGE\r\n")
			}
		}
		c.tellGone(changed)
		if !slices.Equal(c.uids, want) {
			t.Errorf("seed %d: %v, want %v", seed, c.uids, want)
		}
		if got := c.said(); got != strings.Join(lines, "") {
			t.Errorf("seed %d: said %q, want %q", seed, got, lines)
		}
	}
}

// imapTester is a connection without a network, for what only writes.
type imapTester struct {
	*imapConn
	out *strings.Builder
}

func newImapTester() imapTester {
	var sb strings.Builder
	return imapTester{&imapConn{conn: &conn{w: bufio.NewWriter(&sb)}, imapView: imapView{}}, &sb}
}

func (c imapTester) said() string {
	c.w.Flush()
	return c.out.String()
}
