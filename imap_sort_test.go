package main

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
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

// fillMail puts many messages into a mailbox, some hundred with each commit.
func fillMail(tb testing.TB, s *testServer, user, box string, n int, mail func(i int) string) (m Mailbox) {
	tb.Helper()
	for at := 0; at < n; at += 500 {
		err := s.store.Write(func(tx *Tx) error {
			u, err := tx.UserByName(user + "@home.arpa")
			if err == nil {
				m, err = tx.MailboxByName(u.ID, box)
			}
			for i := at; i < min(at+500, n) && err == nil; i++ {
				sp := s.store.NewSpool(1 << 20)
				io.WriteString(sp, strings.ReplaceAll(mail(i), "\n", "\r\n"))
				var b Blob
				if b, err = tx.AddBlob(sp); err == nil {
					_, err = tx.Append(m, b, Flags{}, time.Date(2026, 3, 1, 0, 0, i/3, 0, time.UTC))
				}
				sp.Close()
			}
			return err
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	return m
}

// sortRef sorts as RFC 5256 §3 says it, with everything in memory.
func sortRef(t *testing.T, s *testServer, box MailboxID, uids []UID, criteria []imapCriterion) []UID {
	type mail struct {
		uid    UID
		fields map[string]string
		dates  map[string]int64
	}
	var all []mail
	err := s.store.MailKeys(box, uids, func(m *Message, k *MailKeys) error {
		all = append(all, mail{m.UID, map[string]string{"SUBJECT": string(k.Subject), "FROM": string(k.From), "TO": string(k.To), "CC": string(k.Cc),
			"DISPLAYFROM": string(k.ShowFrom), "DISPLAYTO": string(k.ShowTo)},
			map[string]int64{"ARRIVAL": m.Internal.Unix(), "SIZE": m.Size, "DATE": imapSent(m, k)}})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortStableFunc(all, func(a, b mail) int {
		for _, k := range criteria {
			d := cmp.Or(cmp.Compare(a.fields[k.name], b.fields[k.name]), cmp.Compare(a.dates[k.name], b.dates[k.name]))
			if k.reverse {
				d = -d
			}
			if d != 0 {
				return d
			}
		}
		return 0
	})
	var sorted []UID
	for _, m := range all {
		sorted = append(sorted, m.uid)
	}
	return sorted
}

// sortConn is a connection for whatever sorts and threads a mailbox, without a client.
func sortConn(s *testServer, m Mailbox) *imapConn {
	_, there := net.Pipe()
	c := &imapConn{conn: &conn{srv: s.Server, net: there, w: bufio.NewWriter(io.Discard)}, imapRun: imapRun{tag: "a1"}, state: imapSelected}
	c.r = bufio.NewReader(c.conn)
	c.mbox = m
	return c
}

// TestSortRandom compares sorting in passes, however little memory they have, with sorting all at once: random criteria,
// and mail in which a lot is equal or begins alike.
func TestSortRandom(t *testing.T) {
	s := startServer(t)
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(7, seed))
	alike := strings.Repeat("the quick brown fox jumps over the lazy dog and ", 4)
	words := func(n int) string {
		var sb strings.Builder
		for range r.IntN(n) {
			sb.WriteByte("aab\xc3"[r.IntN(3)])
		}
		return sb.String()
	}
	n, rounds := 2000, 40
	if testing.Short() {
		n, rounds = 400, 12
	}
	inbox := fillMail(t, s, "ann", "INBOX", n, func(i int) string {
		subject := ""
		switch r.IntN(6) {
		case 0:
			subject = "Re: the daily report of the machine in the cellar"
		case 1:
			subject = "[list] " + alike[:r.IntN(len(alike))] + words(4)
		case 2:
			subject = alike + words(9)
		case 3:
			subject = words(3)
		case 4:
			subject = fmt.Sprintf("Your order #%d has been sent %s", r.IntN(500), words(40))
		}
		day := r.IntN(28)
		address := func() string { return fmt.Sprintf("%s <%sx@x>", words(12)+"z", words(5)) }
		return sortMail(day, address(), address(), subject, fmt.Sprint(i))
	})
	fillIndex(t, s) // or every pass would take the headers apart
	uids := make([]UID, n)
	for i := range uids {
		uids[i] = UID(i + 1)
	}
	names := slices.Sorted(maps.Keys(imapSortKeys))
	for round := range rounds {
		var criteria []imapCriterion
		for range 1 + r.IntN(4) {
			k := imapCriterion{names[r.IntN(len(names))], r.IntN(2) == 0}
			if !slices.ContainsFunc(criteria, func(have imapCriterion) bool { return have.name == k.name }) {
				criteria = append(criteria, k)
			}
		}
		if round < 2 { // the longest common beginnings at all
			criteria = []imapCriterion{{"SUBJECT", round == 1}}
		}
		found := slices.Clone(uids[r.IntN(10):])
		want := sortRef(t, s, inbox.ID, found, criteria)
		c := &imapSorter{c: sortConn(s, inbox), criteria: criteria, uids: found, progress: sortConn(s, inbox).progress(n)}
		err := c.begin()
		if err == nil && c.heads != nil {
			err = c.finish([]int{0, imapSortSpace}[round/2%2])
		}
		if err != nil || !slices.Equal(found, want) {
			t.Fatalf("seed %d, %v: %v, not in order", seed, criteria, err)
		}
	}
}

// TestSortVanishing has another session expunge messages between two passes: they are sorted all the same, as the client
// has not been told yet. When their content has gone, too, which can't be while somebody views it, the rest is in order.
func TestSortVanishing(t *testing.T) {
	for _, viewed := range []bool{true, false} {
		s := startServer(t)
		inbox := fillMail(t, s, "ann", "INBOX", 900, func(i int) string {
			return sortMail(1, "a@x", "b@x", fmt.Sprintf("%s number %d", strings.Repeat("long and alike ", 3), (i*7)%300), fmt.Sprint(i))
		})
		var found []UID
		for u := UID(1); u <= 900; u++ {
			found = append(found, u)
		}
		criteria := []imapCriterion{{"SUBJECT", false}}
		want := sortRef(t, s, inbox.ID, found, criteria)
		if viewed {
			view, err := s.store.View(inbox.Owner, inbox.ID, 0, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer view.Close()
		}
		c := &imapSorter{c: sortConn(s, inbox), criteria: criteria, uids: found, progress: sortConn(s, inbox).progress(900)}
		if err := c.begin(); err != nil || c.heads == nil {
			t.Fatalf("the first pass was enough, or %v", err)
		}
		var third []UID
		for u := UID(3); u <= 900; u += 3 {
			third = append(third, u)
		}
		err := s.store.Write(func(tx *Tx) error {
			_, err := tx.Expunge(inbox, third)
			if err == nil && !viewed {
				_, err = tx.exec(`DELETE FROM messages WHERE gone`)
			}
			return err
		})
		if err == nil {
			err = c.finish(0)
		}
		if err != nil {
			t.Fatal(err)
		}
		gone := func(u UID) bool { return !viewed && u%3 == 0 }
		if got := slices.DeleteFunc(slices.Clone(found), gone); !slices.Equal(got, slices.DeleteFunc(want, gone)) {
			t.Errorf("viewed %v: out of order", viewed)
		}
		if slices.Sort(found); len(slices.Compact(found)) != 900 {
			t.Errorf("viewed %v: not every message came out once", viewed)
		}
	}
}

// fillIndex adds mail to bob's mailbox until all that came before is in the text index.
func fillIndex(t *testing.T, s *testServer) {
	t.Helper()
	putMail(t, s, "bob", "INBOX", "Subject: long\n\n"+strings.Repeat("padding ", 10_000))
	if err := s.store.Index(); err != nil {
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
		"all new":  func(i int) (int, []int) { return i, nil }, // and all of one subject
		"one root": func(i int) (int, []int) { return i, []int{0} },
	} {
		uids := make([]UID, n)
		for i := range uids {
			uids[i] = UID(i + 1)
		}
		for _, algorithm := range []string{"REFERENCES", "REFS", "ORDEREDSUBJECT"} {
			th := imapThreadOf(uids, algorithm)
			for i := 1; i <= n; i++ {
				id, before := refs(i)
				k := &MailKeys{ID: uint64(id + 1), Day: noDay, Subject: fmt.Append(nil, i/2)}
				if name == "all new" {
					k.Subject = []byte("news")
				}
				for _, b := range before {
					k.Refs = append(k.Refs, uint64(b+1))
				}
				th.add(&Message{UID: UID(i)}, k)
			}
			th.finish()
			var got []UID
			for _, n := range th.order() {
				if m := th.node(n).msg; m >= 0 {
					got = append(got, uids[m])
				}
			}
			slices.Sort(got)
			if got = slices.Compact(got); len(got) != n {
				t.Errorf("%s: %d messages", name, len(got))
			}
		}
	}
}

// threadRef is a node of a plain reference for threading, with all that is known of a message in it.
type threadRef struct {
	m      *Message
	k      *MailKeys
	parent *threadRef
	kids   []*threadRef
}

func (n *threadRef) message() *threadRef {
	for n.m == nil {
		n = n.kids[0]
	}
	return n
}

func (n *threadRef) date() int64 {
	if n.k.Day == noDay {
		return n.m.Internal.Unix()
	}
	return n.k.Sent
}

func (n *threadRef) arrived() int64 { return n.m.Internal.Unix() }

func (n *threadRef) unlink() {
	if p := n.parent; p != nil {
		p.kids = slices.DeleteFunc(p.kids, func(k *threadRef) bool { return k == n })
	}
	n.parent = nil
}

func (n *threadRef) link(parent *threadRef) {
	for a := parent; a != nil; a = a.parent {
		if a == n {
			return
		}
	}
	n.unlink()
	n.parent, parent.kids = parent, append(parent.kids, n)
}

// pruned is what is left of siblings without those that are not here, in order.
func threadRefPruned(nodes []*threadRef, root bool, date func(*threadRef) int64) (kept []*threadRef) {
	for _, n := range nodes {
		n.kids = threadRefPruned(n.kids, false, date)
		if n.m == nil && (!root || len(n.kids) < 2) {
			kept = append(kept, n.kids...)
		} else {
			kept = append(kept, n)
		}
	}
	threadRefSort(kept, date)
	return kept
}

func threadRefSort(nodes []*threadRef, date func(*threadRef) int64) {
	slices.SortFunc(nodes, func(a, b *threadRef) int {
		a, b = a.message(), b.message()
		return cmp.Or(cmp.Compare(date(a), date(b)), cmp.Compare(a.m.UID, b.m.UID))
	})
}

// threadRefTree is steps (1) to (4) of REFERENCES.
func threadRefTree(all []*threadRef, date func(*threadRef) int64) []*threadRef {
	ids := map[uint64]*threadRef{}
	nodes := slices.Clone(all)
	for i, n := range all {
		if have := ids[n.k.ID]; n.k.ID != 0 && have == nil {
			ids[n.k.ID] = n
		} else if n.k.ID != 0 && have.m == nil {
			have.m, have.k = n.m, n.k
			nodes[i], n = have, have
		}
		var last *threadRef
		for _, id := range n.k.Refs {
			r := ids[id]
			if r == nil {
				r = &threadRef{}
				ids[id], nodes = r, append(nodes, r)
			}
			if last != nil && r.parent == nil {
				r.link(last)
			}
			last = r
		}
		if n.parent != last {
			n.unlink()
			if last != nil && last != n {
				n.link(last)
			}
		}
	}
	var roots []*threadRef
	seen := map[*threadRef]bool{}
	for _, n := range nodes {
		if n.parent == nil && !seen[n] {
			roots = append(roots, n)
		}
		seen[n] = true
	}
	return threadRefPruned(roots, true, date)
}

// threadRefJoin is step (5).
func threadRefJoin(roots []*threadRef) (joined []*threadRef) {
	table := map[string]*threadRef{}
	for _, r := range roots {
		m := r.message()
		old := table[string(m.k.Subject)]
		if old == nil || old.m != nil && (r.m == nil || old.k.Reply && !m.k.Reply) {
			table[string(m.k.Subject)] = r
		}
	}
	gone := map[*threadRef]bool{}
	joined = slices.Clone(roots)
	for _, r := range roots {
		m := r.message()
		first := table[string(m.k.Subject)]
		if len(m.k.Subject) == 0 || first == r {
			continue
		}
		gone[r] = true
		switch {
		case first.m == nil && r.m == nil:
			first.kids = append(first.kids, r.kids...)
		case first.m == nil || m.k.Reply && !first.k.Reply:
			first.kids = append(first.kids, r)
		default:
			gone[first] = true
			top := &threadRef{kids: []*threadRef{first, r}}
			table[string(m.k.Subject)], joined = top, append(joined, top)
		}
	}
	return slices.DeleteFunc(joined, func(r *threadRef) bool { return gone[r] })
}

// threadRefs runs an algorithm as its text has it.
func threadRefs(all []*threadRef, algorithm string) []*threadRef {
	switch algorithm {
	case "REFERENCES":
		roots := threadRefJoin(threadRefTree(all, (*threadRef).date))
		return threadRefPruned(roots, true, (*threadRef).date) // step (6): it sorts again
	case "REFS":
		roots := threadRefTree(all, (*threadRef).arrived)
		var newest func(n *threadRef) int64
		newest = func(n *threadRef) (at int64) {
			if n.m != nil {
				at = n.arrived()
			}
			for _, k := range n.kids {
				at = max(at, newest(k))
			}
			return at
		}
		slices.SortStableFunc(roots, func(a, b *threadRef) int { return cmp.Compare(newest(a), newest(b)) })
		return roots
	}
	all = slices.Clone(all)
	threadRefSort(all, (*threadRef).date)
	top := map[string]*threadRef{}
	var roots []*threadRef
	for _, n := range all {
		if r := top[string(n.k.Subject)]; r != nil {
			r.kids = append(r.kids, n)
		} else {
			top[string(n.k.Subject)], roots = n, append(roots, n)
		}
	}
	return roots
}

func (n *threadRef) String() string {
	var sb strings.Builder
	sb.WriteByte('(')
	for space := ""; ; space = " " {
		if n.m != nil {
			fmt.Fprint(&sb, space, n.m.UID)
		}
		if len(n.kids) != 1 {
			break
		}
		n = n.kids[0]
	}
	if len(n.kids) > 0 && n.m != nil {
		sb.WriteByte(' ')
	}
	for _, k := range n.kids {
		sb.WriteString(k.String())
	}
	return sb.String() + ")"
}

// TestThreadRandom compares threading with the reference, on random mail: few or many ids, twice the same, references to
// what is not here, to oneself and in circles, and subjects that many have.
func TestThreadRandom(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	r := rand.New(rand.NewPCG(8, seed))
	for range 600 {
		n, ids, subjects := 1+r.IntN(60), 1+r.IntN(80), 1+r.IntN(40)
		var uids []UID
		var all []*threadRef
		for i := range n {
			uids = append(uids, UID(2*i+1))
			m := &Message{UID: UID(2*i + 1), Internal: time.Unix(int64(r.IntN(100)), 0)}
			k := &MailKeys{Day: noDay, ID: uint64(r.IntN(ids)), Reply: r.IntN(2) == 0}
			if r.IntN(3) > 0 {
				k.Day, k.Sent = 0, int64(r.IntN(100))
			}
			if s := r.IntN(subjects); s > 0 {
				k.Subject = fmt.Append(nil, s)
			}
			for range r.IntN(5) {
				k.Refs = append(k.Refs, uint64(1+r.IntN(ids)))
			}
			all = append(all, &threadRef{m: m, k: k})
		}
		for _, algorithm := range []string{"REFERENCES", "REFS", "ORDEREDSUBJECT"} {
			c := &imapConn{conn: &conn{}, imapRun: imapRun{uid: true}}
			var got bytes.Buffer
			c.w = bufio.NewWriter(&got)
			th := imapThreadOf(uids, algorithm)
			copies := make([]*threadRef, n)
			for i, x := range all {
				th.add(x.m, x.k)
				copies[i] = &threadRef{m: x.m, k: x.k}
			}
			th.finish()
			for _, root := range th.roots {
				th.put(c, root)
			}
			c.w.Flush()
			want := ""
			for _, root := range threadRefs(copies, algorithm) {
				want += root.String()
			}
			if got.String() != want {
				t.Fatalf("seed %d, %s: got %s, want %s", seed, algorithm, &got, want)
			}
		}
	}
}
