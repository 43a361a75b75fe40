package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// sortMail is a message of which sorting and threading see everything.
func sortMail(day int, from, to, subject, id string, refs ...string) string {
	m := fmt.Sprintf("From: %s\nTo: %s\nSubject: %s\nMessage-ID: <%s>\n", from, to, subject, id)
	if day > 0 {
		m += fmt.Sprintf("Date: %d Feb 2026 12:00:00 +0000\n", day)
	}
	if len(refs) > 0 {
		m += "References: <" + strings.Join(refs, "> <") + ">\n"
	}
	return m + "\n" + strings.Repeat("x", 10+day) + "\n"
}

func TestSort(t *testing.T) {
	s := startServer(t)
	putMail(t, s, "ann", "INBOX",
		sortMail(3, "Zoe <a@x>", "bob@x", "banana", "1"),
		sortMail(1, "ann@x", "Ann <zed@x>", "Re: Apple", "2"),
		sortMail(2, "=?utf-8?Q?=C3=84nne?= <M@x>", "Carl <c@x>", "[list] apple (fwd)", "3"),
		sortMail(0, "bob@x", "", "", "4"),
		sortMail(2, "\"Ann\" <b@x>", "group: Dora <d@x>, e@x;", "=?gbk?B?uvbF?=", "5"))
	c := dialIMAP(t, s, "ann")
	c.ok("SELECT INBOX")
	check := func() {
		t.Helper()
		for _, test := range []struct{ criteria, want string }{
			{"(ARRIVAL)", "1 2 3 4 5"}, {"(REVERSE ARRIVAL)", "5 4 3 2 1"},
			{"(SUBJECT)", "4 2 3 1 5"}, {"(SUBJECT REVERSE DATE)", "4 3 2 1 5"}, {"(REVERSE SUBJECT)", "5 1 2 3 4"},
			{"(FROM)", "1 2 5 4 3"}, {"(TO)", "4 1 3 5 2"}, {"(CC)", "1 2 3 4 5"},
			{"(DATE)", "2 3 5 1 4"}, {"(REVERSE DATE SIZE)", "4 1 5 3 2"}, {"(SIZE)", "4 1 2 5 3"},
			{"(DISPLAYFROM)", "5 2 3 4 1"}, {"(DISPLAYTO)", "4 2 1 3 5"}, {"(REVERSE DISPLAYFROM)", "1 4 3 2 5"},
			{"(REVERSE FROM FROM)", "3 4 5 2 1"},
		} {
			c.is("SORT "+test.criteria+" UTF-8 ALL", "* SORT "+test.want)
		}
	}
	check()
	c.is("UID SORT (REVERSE ARRIVAL) US-ASCII FROM ann", "* SORT 5 2")
	c.is("SORT (SUBJECT) UTF-8 FROM nobody", "* SORT")
	c.is("SORT RETURN (MIN MAX COUNT ALL) (SUBJECT) UTF-8 1:4", fmt.Sprintf(`* ESEARCH (TAG "t%d") MIN 4 MAX 1 ALL 4,2:3,1 COUNT 4`, c.n+1))
	c.is("SORT RETURN (PARTIAL 1:2 SAVE) (REVERSE ARRIVAL) UTF-8 ALL", fmt.Sprintf(`* ESEARCH (TAG "t%d") PARTIAL (1:2 5,4)`, c.n+1))
	c.is("SEARCH $", "* SEARCH 4 5")
	for bad, status := range map[string]string{"SORT () UTF-8 ALL": "BAD", "SORT (X) UTF-8 ALL": "BAD", "SORT (REVERSE) UTF-8 ALL": "BAD", "SORT (DATE) X-NO ALL": "NO [BADCHARSET",
		"SORT (DATE) UTF-8": "BAD", "THREAD X UTF-8 ALL": "BAD", "THREAD REFS X-NO ALL": "NO [BADCHARSET"} {
		if _, tagged := c.do(bad); !strings.HasPrefix(tagged, status) {
			t.Errorf("%s: %s", bad, tagged)
		}
	}
	fillIndex(t, s)
	check()
}

// fillIndex adds mail to bob's mailbox until all that came before is in the text index.
func fillIndex(t *testing.T, s *testServer) {
	t.Helper()
	putMail(t, s, "bob", "INBOX", "Subject: long\n\n"+strings.Repeat("padding ", 10_000))
	if err := s.store.Index(false); err != nil {
		t.Fatal(err)
	}
	var last, content int64
	err := s.store.Read(func(tx *Tx) error {
		return tx.one(`SELECT (SELECT max(last) FROM search), (SELECT max(id) FROM blobs)`, nil, &last, &content)
	})
	if err != nil || last != content {
		t.Fatalf("the index covers %d of %d, %v", last, content, err)
	}
}

func TestThread(t *testing.T) {
	type mails = []string
	m := func(day int, subject, id string, refs ...string) string {
		return sortMail(day, "a@x", "b@x", subject, id, refs...)
	}
	for _, test := range []struct {
		name                   string
		mails                  mails
		references, refs, subj string
	}{
		{"apart", mails{m(2, "a", "1"), m(1, "b", "2")}, "(2)(1)", "(1)(2)", "(2)(1)"},
		{"a chain", mails{m(1, "a", "1"), m(2, "Re: a", "2", "1"), m(3, "Re: a", "3", "1", "2")}, "(1 2 3)", "(1 2 3)", "(1 (2)(3))"},
		{"answers before", mails{m(3, "Re: a", "3", "1", "2"), m(2, "Re: a", "2", "1"), m(1, "a", "1")}, "(3 2 1)", "(3 2 1)", "(3 (2)(1))"},
		{"a fork", mails{m(1, "a", "1"), m(3, "Re: a", "2", "1"), m(2, "Re: a", "3", "1")}, "(1 (3)(2))", "(1 (2)(3))", "(1 (3)(2))"},
		{"the root is missing", mails{m(1, "Re: a", "2", "1"), m(2, "Re: a", "3", "1")}, "((1)(2))", "((1)(2))", "(1 2)"},
		{"an only child of nobody", mails{m(1, "Re: a", "2", "1")}, "(1)", "(1)", "(1)"},
		{"by subject only", mails{m(1, "a", "1"), m(2, "Re: a", "2")}, "(1 2)", "(1)(2)", "(1 2)"},
		{"the same subject twice", mails{m(1, "a", "1"), m(2, "a", "2"), m(3, "A", "3")}, "((1)(2)(3))", "(1)(2)(3)", "(1 (2)(3))"},
		{"no subject", mails{m(1, "", "1"), m(2, "Re:", "2")}, "(1)(2)", "(1)(2)", "(1 2)"},
		{"a circle", mails{m(1, "a", "1", "2"), m(2, "b", "2", "1"), m(3, "c", "3", "3")}, "(2 1)(3)", "(2 1)(3)", "(1)(2)(3)"},
		{"one id twice", mails{m(1, "a", "1"), m(2, "b", "1"), m(3, "c", "3", "1")}, "(1 3)(2)", "(2)(1 3)", "(1)(2)(3)"},
	} {
		s := startServer(t)
		putMail(t, s, "ann", "INBOX", test.mails...)
		c := dialIMAP(t, s, "ann")
		c.ok("SELECT INBOX")
		for i := range 2 {
			for algorithm, want := range map[string]string{"REFERENCES": test.references, "REFS": test.refs, "ORDEREDSUBJECT": test.subj} {
				got := c.ok("THREAD " + algorithm + " UTF-8 ALL")
				if got[0] != "* THREAD "+want {
					t.Errorf("%s, %s, round %d: got %s, want %s", test.name, algorithm, i, got[0], want)
				}
			}
			fillIndex(t, s)
		}
		if got := c.ok("UID THREAD REFS UTF-8 BODY none"); got[0] != "* THREAD" {
			t.Errorf("nothing is %q", got)
		}
		c.Close()
	}
}

// TestThreadDeep sees that neither a conversation as long as the mailbox, in any order, nor one in circles takes long or
// much stack, and that every message comes out once.
func TestThreadDeep(t *testing.T) {
	const n = 50_000
	for name, refs := range map[string]func(i int) (int, []int){
		"chain":    func(i int) (int, []int) { return i, []int{i - 1} },
		"reverse":  func(i int) (int, []int) { return n - i, []int{n - i - 1} },
		"halves":   func(i int) (int, []int) { return i * 2 % (n + 1), []int{i*2%(n+1) - 1} },
		"circles":  func(i int) (int, []int) { return i, []int{i + 1, i, i - 1} },
		"all new":  func(i int) (int, []int) { return i, nil },
		"one root": func(i int) (int, []int) { return i, []int{0} },
	} {
		for _, algorithm := range []func(*imapThread){(*imapThread).byReferences, (*imapThread).byRefs} {
			th := &imapThread{ids: map[uint64]int32{}}
			for i := 1; i <= n; i++ {
				id, before := refs(i)
				k := &MailKeys{ID: uint64(id + 1), Day: noDay, Subject: fmt.Append(nil, i/2)}
				for _, b := range before {
					k.Refs = append(k.Refs, uint64(b+1))
				}
				th.add(&Message{UID: UID(i)}, k, true)
			}
			algorithm(th)
			var got []UID
			for _, n := range th.order() {
				if m := th.node(n).msg; m >= 0 {
					got = append(got, th.msgs[m].uid)
				}
			}
			slices.Sort(got)
			if got = slices.Compact(got); len(got) != n {
				t.Errorf("%s: %d messages", name, len(got))
			}
		}
	}
}
