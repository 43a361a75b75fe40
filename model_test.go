package main

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	modelSeed = flag.Uint64("seed", 0, "repeat a run of TestModel with the seed that it printed")
	modelTime = flag.Duration("model", 0, "how long TestModel shall go on, at least")
)

// modelMsg is a message as a client believes it to be: flags are sorted and without \Recent, "?" is not told yet.
type modelMsg struct {
	uid   int
	flags string
}

// modelClient is an IMAP client that believes only what the server tells it.
type modelClient struct {
	t    testing.TB
	addr string
	kind modelKind
	r    *rand.Rand

	net.Conn
	in    *bufio.Reader
	n     int
	box   string
	was   string              // the mailbox that SELECT leaves
	msgs  []modelMsg          // by sequence number; uid 0 is not told yet
	inSeq bool                // the command that runs uses sequence numbers
	told  map[int]bool        // UIDs that the silent STORE that runs was answered for
	apply func(string) string // what it does to flags
	ended bool
	keep  bool
	log   []string // with keep, all that was said untagged

	status map[string]string // messages in mailboxes that are not selected, as NOTIFY said

	validity, highest, seen string // of the mailbox, HIGHESTMODSEQ as far as it can be trusted, and the highest seen
}

// modelKind is what a client has enabled.
type modelKind struct {
	name    string
	enable  string
	qresync bool // it comes back now and then with what it knows
	uidonly bool
	notify  string
}

var modelKinds = []modelKind{
	{name: "plain"},
	{name: "condstore", enable: "CONDSTORE"},
	{name: "qresync", enable: "QRESYNC", qresync: true},
	{name: "rev2", enable: "IMAP4rev2"},
	{name: "notify", enable: "CONDSTORE", notify: "(SELECTED (MessageNew MessageExpunge FlagChange)) (PERSONAL (MessageNew MessageExpunge MailboxName))"},
	{name: "delayed", notify: "(SELECTED-DELAYED (MessageNew MessageExpunge FlagChange))"},
	{name: "uidonly", enable: "UIDONLY QRESYNC", qresync: true, uidonly: true},
}

func (c *modelClient) errorf(format string, a ...any) {
	c.t.Helper()
	c.t.Errorf("%s: %s", c.kind.name, fmt.Sprintf(format, a...))
}

func (c *modelClient) connect() {
	nc, err := net.Dial("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.Conn, c.in, c.status = nc, bufio.NewReader(nc), map[string]string{}
	c.in.ReadString('\n')
	c.do("LOGIN ann secret")
	if c.kind.enable != "" {
		c.do("ENABLE %s", c.kind.enable)
	}
	if c.kind.notify != "" {
		c.do("NOTIFY SET %s", c.kind.notify)
	}
}

// do runs a command and returns the tagged answer without the tag.
func (c *modelClient) do(format string, a ...any) string {
	cmd := fmt.Sprintf(format, a...)
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	fmt.Fprintf(c, "%s %s\r\n", tag, cmd)
	c.inSeq = strings.HasPrefix(cmd, "FETCH") || strings.HasPrefix(cmd, "STORE") || strings.HasPrefix(cmd, "SEARCH")
	for {
		line := c.line(cmd)
		if c.ended {
			return ""
		}
		if line == "+ idling" {
			time.Sleep(time.Duration(c.r.IntN(5)) * time.Millisecond)
			fmt.Fprintf(c, "DONE\r\n")
			continue
		}
		if rest, ok := strings.CutPrefix(line, tag+" "); ok {
			if strings.HasPrefix(rest, "BAD") || strings.Contains(rest, "SERVERBUG") {
				c.errorf("%s: %s", cmd, rest)
			}
			if !c.inSeq {
				c.highest = c.seen // nothing was held back
			}
			c.didItself(cmd)
			return rest
		}
		c.untagged(cmd, line)
	}
}

// didItself forgets what NOTIFY said of the mailboxes that the command has changed: of that nothing is told.
func (c *modelClient) didItself(cmd string) {
	verb, rest, _ := strings.Cut(strings.TrimPrefix(cmd, "UID "), " ")
	switch verb {
	case "APPEND", "COPY", "MOVE", "REPLACE", "RENAME":
		for i, box := range modelBoxes {
			if !strings.Contains(rest, box) {
				continue
			}
			if delete(c.status, box); i >= 2 { // its news may have come with its other name already
				delete(c.status, modelBoxes[5-i])
			}
		}
	case "CLOSE":
		clear(c.status) // what it was called last is not certain
	}
}

var modelLiteral = regexp.MustCompile(`\{(\d+)\}$`)

// line reads a line, with the literals in it.
func (c *modelClient) line(cmd string) string {
	var all string
	for {
		c.SetReadDeadline(time.Now().Add(testPatience))
		line, err := c.in.ReadString('\n')
		if err != nil {
			c.errorf("%s: %v", cmd, err)
			c.ended = true
			return ""
		}
		all += strings.TrimRight(line, "\r\n")
		m := modelLiteral.FindStringSubmatch(all)
		if m == nil {
			return all
		}
		n, _ := strconv.Atoi(m[1])
		b := make([]byte, n)
		if _, err := io.ReadFull(c.in, b); err != nil {
			c.errorf("%s: %v", cmd, err)
		}
	}
}

var (
	modelFetch  = regexp.MustCompile(`^\* (\d+) FETCH \(.*?UID (\d+)`)
	modelUID    = regexp.MustCompile(`^\* (\d+) UIDFETCH \(`)
	modelWords  = regexp.MustCompile(`FLAGS \((.*?)\)`)
	modelModSeq = regexp.MustCompile(`MODSEQ \((\d+)\)`)
	modelCount  = regexp.MustCompile(`MESSAGES (\d+)`)
	modelOld    = regexp.MustCompile(` "/" "(\w+)" \("OLDNAME" \("(\w+)"\)\)`)
	modelCode   = regexp.MustCompile(`^\* OK \[(UIDVALIDITY|HIGHESTMODSEQ) (\d+)\]`)
)

func (c *modelClient) untagged(cmd, line string) {
	if c.keep {
		c.log = append(c.log, line)
	}
	if m := modelModSeq.FindStringSubmatch(line); m != nil {
		c.sawModSeq(m[1])
	}
	if m := modelCode.FindStringSubmatch(line); m != nil {
		if m[1] == "UIDVALIDITY" {
			c.validity = m[2]
		} else {
			c.sawModSeq(m[2])
		}
		return
	}
	if m := modelFetch.FindStringSubmatch(line); m != nil {
		c.fetched(cmd, line, m)
		return
	}
	if m := modelUID.FindStringSubmatch(line); m != nil {
		c.uidFetched(cmd, line, m)
		return
	}
	f := strings.Fields(line)
	switch {
	case strings.HasPrefix(line, "* OK [CLOSED]"):
		if slices.Contains(modelBoxes[:2], c.was) && strings.Contains(c.kind.notify, "PERSONAL") { // of which the name is certain: from now on NOTIFY tells more
			c.status[c.was] = strconv.Itoa(len(c.msgs))
		}
		c.msgs, c.seen = nil, ""
	case len(f) == 3 && f[2] == "EXISTS":
		c.exists(cmd, f[1])
	case len(f) == 3 && f[2] == "EXPUNGE":
		c.expunged(cmd, f[1])
	case f[1] == "VANISHED":
		c.vanished(cmd, f)
	case f[1] == "STATUS":
		// The answers to STATUS have no UIDNEXT here, and are not counted: nothing follows them without NOTIFY.
		if m := modelCount.FindStringSubmatch(line); m != nil && strings.Contains(line, "UIDNEXT") {
			c.status[strings.Trim(f[2], `"`)] = m[1]
		}
	case f[1] == "LIST":
		if m := modelOld.FindStringSubmatch(line); m != nil {
			if c.status[m[1]], c.status[m[2]] = c.status[m[2]], ""; m[1] == c.box {
				delete(c.status, c.box) // it was selected before its new name was told
			}
		}
	case f[1] == "ESEARCH" || f[1] == "SEARCH":
		c.found(cmd, f)
	}
}

// found looks at what a SEARCH found: nothing that the client has not been told of, and with ALL the last of what it has.
func (c *modelClient) found(cmd string, f []string) {
	all := strings.Join(f[2:], " ")
	if f[1] == "ESEARCH" {
		_, all, _ = strings.Cut(strings.Join(f, " "), " ALL ")
	}
	top := 0
	for _, part := range strings.FieldsFunc(all, func(r rune) bool { return r == ' ' || r == ',' }) {
		var lo, hi int
		if n, _ := fmt.Sscanf(part, "%d:%d", &lo, &hi); n < 2 {
			hi = lo
		}
		top = max(top, hi)
	}
	last := len(c.msgs)
	if strings.HasPrefix(cmd, "UID") && last > 0 {
		last = c.msgs[last-1].uid
	}
	if last > 0 && top != last {
		c.errorf("%s: %v, and the last one is %d", cmd, f, last)
	}
}

func (c *modelClient) sawModSeq(s string) {
	a, _ := strconv.Atoi(s)
	if b, _ := strconv.Atoi(c.seen); a > b {
		c.seen = s
	}
}

func (c *modelClient) exists(cmd, s string) {
	n, _ := strconv.Atoi(s)
	if n < len(c.msgs) {
		c.errorf("%s: %d EXISTS without EXPUNGE (had %d)", cmd, n, len(c.msgs))
	}
	for len(c.msgs) < n {
		c.msgs = append(c.msgs, modelMsg{0, "?"})
	}
}

func (c *modelClient) expunged(cmd, s string) {
	n, _ := strconv.Atoi(s)
	switch {
	case c.inSeq:
		c.errorf("%s: EXPUNGE while sequence numbers are in use", cmd)
	case c.kind.qresync || c.kind.uidonly:
		c.errorf("%s: EXPUNGE where VANISHED was due", cmd)
	case n < 1 || n > len(c.msgs):
		c.errorf("%s: EXPUNGE %d of %d", cmd, n, len(c.msgs))
	default:
		c.msgs = slices.Delete(c.msgs, n-1, n)
	}
}

func (c *modelClient) vanished(cmd string, f []string) {
	earlier := f[2] == "(EARLIER)"
	if c.inSeq {
		c.errorf("%s: VANISHED while sequence numbers are in use", cmd)
	}
	for _, part := range strings.Split(f[len(f)-1], ",") {
		var lo, hi int
		if n, _ := fmt.Sscanf(part, "%d:%d", &lo, &hi); n < 2 {
			hi = lo
		}
		for u := lo; u <= hi; u++ {
			i := slices.IndexFunc(c.msgs, func(m modelMsg) bool { return m.uid == u })
			if i < 0 && !earlier { // one that it has been told of by EXISTS alone
				for k := 0; k < len(c.msgs) && (c.kind.uidonly || c.msgs[k].uid < u); k++ { // without numbers, those come last
					if c.msgs[k].uid == 0 {
						i = k
					}
				}
			}
			if i >= 0 {
				c.msgs = slices.Delete(c.msgs, i, i+1)
			} else if !earlier {
				c.errorf("%s: VANISHED %d, which was not there: %v", cmd, u, c.msgs)
			}
		}
	}
}

func modelFlags(s string) string {
	f := slices.DeleteFunc(strings.Fields(s), func(s string) bool { return s == `\Recent` })
	slices.Sort(f)
	return strings.Join(f, " ")
}

func (c *modelClient) fetched(cmd, line string, m []string) {
	n, _ := strconv.Atoi(m[1])
	uid, _ := strconv.Atoi(m[2])
	if c.kind.uidonly || n < 1 || n > len(c.msgs) {
		c.errorf("%s: %s of %d", cmd, line, len(c.msgs))
		return
	}
	if old := c.msgs[n-1].uid; old != 0 && old != uid {
		c.errorf("%s: number %d was UID %d, and now %s", cmd, n, old, line)
	}
	c.msgs[n-1].uid = uid
	c.noteFlags(n-1, line)
}

func (c *modelClient) uidFetched(cmd, line string, m []string) {
	uid, _ := strconv.Atoi(m[1])
	i := slices.IndexFunc(c.msgs, func(m modelMsg) bool { return m.uid == uid })
	if i < 0 { // the first one that is not told yet
		i = slices.IndexFunc(c.msgs, func(m modelMsg) bool { return m.uid == 0 })
	}
	if !c.kind.uidonly || i < 0 {
		c.errorf("%s: %s: %v", cmd, line, c.msgs)
		return
	}
	c.msgs[i].uid = uid
	c.noteFlags(i, line)
	slices.SortStableFunc(c.msgs, func(a, b modelMsg) int { return cmp.Compare(uint(a.uid)-1, uint(b.uid)-1) }) // unknown ones last
}

// noteFlags takes in what a FETCH says of the flags of c.msgs[i].
func (c *modelClient) noteFlags(i int, line string) {
	m := &c.msgs[i]
	if f := modelWords.FindStringSubmatch(line); f != nil {
		m.flags = modelFlags(f[1])
	} else if c.apply != nil && modelModSeq.MatchString(line) && m.flags != "?" {
		m.flags = c.apply(m.flags)
	} else {
		return
	}
	if c.told != nil {
		c.told[m.uid] = true
	}
}

// sel opens a mailbox and asks for all that it holds.
func (c *modelClient) sel(box string) {
	if c.box == "" {
		c.msgs = nil // else "* OK [CLOSED]" says when
	}
	c.was, c.box, c.highest, c.seen, c.told = c.box, box, "", "", nil
	if !strings.HasPrefix(c.do("SELECT %s", box), "OK") {
		c.box = ""
		return
	}
	delete(c.status, box) // it is SELECTED's now, and what NOTIFY said of it while the command was on its way is past
	if slices.Contains(modelBoxes[2:], box) {
		clear(c.status) // renamed, selected and renamed back in one command, it is told as neither
	}
	if len(c.msgs) > 0 {
		c.do("UID FETCH 1:* (UID FLAGS)")
	}
}

// comeBack leaves without a word and returns with QRESYNC. What it is told must complete what it knew.
func (c *modelClient) comeBack() {
	if c.box == "" || c.highest == "" {
		return
	}
	c.ask()
	if slices.ContainsFunc(c.msgs, func(m modelMsg) bool { return m.uid == 0 }) {
		return // what it has not asked for is told by EXISTS alone
	}
	box, validity, highest, known := c.box, c.validity, c.highest, c.msgs
	c.Close()
	c.connect()
	c.box, c.msgs, c.seen = box, nil, ""
	c.n++
	tag := "t" + strconv.Itoa(c.n)
	cmd := fmt.Sprintf("SELECT %s (QRESYNC (%s %s))", box, validity, highest)
	fmt.Fprintf(c, "%s %s\r\n", tag, cmd)
	c.inSeq = false
	exists := 0
	byUID := map[int]string{}
	for _, m := range known {
		if m.uid != 0 {
			byUID[m.uid] = m.flags
		}
	}
	for {
		line := c.line(cmd)
		if rest, ok := strings.CutPrefix(line, tag+" "); ok || c.ended {
			if !strings.HasPrefix(rest, "OK") {
				c.box = ""
				return
			}
			break
		}
		exists = c.missed(line, byUID, exists)
	}
	c.highest = c.seen
	for uid, flags := range byUID {
		c.msgs = append(c.msgs, modelMsg{uid, flags})
	}
	slices.SortFunc(c.msgs, func(a, b modelMsg) int { return a.uid - b.uid })
	if c.validity != validity {
		c.sel(box)
	} else if len(c.msgs) != exists {
		c.errorf("%s: EXISTS %d, but knew %v and now %v", cmd, exists, known, c.msgs)
		c.sel(box)
	}
}

// missed takes in a line of the answer to SELECT with QRESYNC.
func (c *modelClient) missed(line string, byUID map[int]string, exists int) int {
	f := strings.Fields(line)
	flags := modelWords.FindStringSubmatch(line)
	if m := modelFetch.FindStringSubmatch(line); m != nil && flags != nil {
		uid, _ := strconv.Atoi(m[2])
		byUID[uid] = modelFlags(flags[1])
	} else if m := modelUID.FindStringSubmatch(line); m != nil && flags != nil {
		uid, _ := strconv.Atoi(m[1])
		byUID[uid] = modelFlags(flags[1])
	} else if f[1] == "VANISHED" {
		for _, part := range strings.Split(f[len(f)-1], ",") {
			var lo, hi int
			if n, _ := fmt.Sscanf(part, "%d:%d", &lo, &hi); n < 2 {
				hi = lo
			}
			for u := lo; u <= hi; u++ {
				delete(byUID, u)
				if f[2] != "(EARLIER)" { // it was still counted
					exists--
				}
			}
		}
		return exists
	} else if len(f) == 3 && f[2] == "EXISTS" {
		exists, _ = strconv.Atoi(f[1])
		return exists
	}
	if m := modelModSeq.FindStringSubmatch(line); m != nil {
		c.sawModSeq(m[1])
	}
	if m := modelCode.FindStringSubmatch(line); m != nil {
		if m[1] == "UIDVALIDITY" {
			c.validity = m[2]
		} else {
			c.sawModSeq(m[2])
		}
	}
	return exists
}

// some picks messages that the client knows: the set and the prefix of the command, or "" if there are none.
func (c *modelClient) some() (set, uid string, picked []int) {
	if len(c.msgs) == 0 {
		return "", "", nil
	}
	lo := c.r.IntN(len(c.msgs))
	hi := min(lo+c.r.IntN(4), len(c.msgs)-1)
	for _, m := range c.msgs[lo : hi+1] {
		picked = append(picked, m.uid)
	}
	if slices.Contains(picked, 0) {
		return "", "", nil
	}
	if c.kind.uidonly || c.kind.name == "notify" || c.r.IntN(2) == 0 {
		var parts []string
		for _, u := range picked {
			parts = append(parts, strconv.Itoa(u))
		}
		return strings.Join(parts, ","), "UID ", picked
	}
	return fmt.Sprintf("%d:%d", lo+1, hi+1), "", picked
}

// store changes flags. After a silent one, being told nothing, the client works out the flags itself; what the server does
// say during the command wins: it is news from elsewhere. With CONDSTORE the silent change is announced by its MODSEQ
// alone, and news that came before that, as NOTIFY may send it, is what it changes.
func (c *modelClient) store() {
	set, uid, picked := c.some()
	if set == "" {
		return
	}
	op := []string{"+", "-", ""}[c.r.IntN(3)]
	flag := []string{`\Seen`, `\Flagged`, `\Deleted`, `\Answered`, "$Junk", "blue"}[c.r.IntN(6)]
	if c.r.IntN(2) == 0 || c.kind.notify != "" && c.kind.enable == "" { // news that crosses a silent STORE has no order
		unchanged := ""
		if c.highest != "" && c.r.IntN(3) == 0 && strings.Contains(c.kind.enable, "CONDSTORE") {
			unchanged = fmt.Sprintf("(UNCHANGEDSINCE %s) ", c.highest)
		}
		c.do("%sSTORE %s %s%sFLAGS (%s)", uid, set, unchanged, op, flag)
		return
	}
	c.told = map[int]bool{}
	c.apply = func(flags string) string {
		f := strings.Fields(flags)
		if op == "" {
			f = nil
		}
		f = slices.DeleteFunc(f, func(s string) bool { return s == flag })
		if op != "-" {
			f = append(f, flag)
		}
		return modelFlags(strings.Join(f, " "))
	}
	c.do("%sSTORE %s %sFLAGS.SILENT (%s)", uid, set, op, flag)
	for i, m := range c.msgs {
		if slices.Contains(picked, m.uid) && m.flags != "?" && !c.told[m.uid] {
			c.msgs[i].flags = c.apply(m.flags)
		}
	}
	c.told, c.apply = nil, nil
}

// modelBoxes are the mailboxes of the test; the last one changes its name now and then.
var modelBoxes = []string{"INBOX", "Archive", "moving", "moved"}

// modelFull is how many messages a mailbox has when clients begin to remove more than they add.
const modelFull = 40

func (c *modelClient) step() {
	box := modelBoxes[c.r.IntN(len(modelBoxes))]
	flags := []string{`\Seen`, "", `\Deleted`, "green"}[c.r.IntN(4)]
	switch n := c.r.IntN(24); {
	case c.box == "" || n == 0:
		c.sel(modelBoxes[c.r.IntN(2)+c.r.IntN(2)])
	case len(c.msgs) > modelFull && n < 3:
		c.do("UID STORE 1:* +FLAGS (\\Deleted)")
		c.do("EXPUNGE")
	case n < 3:
		c.do("APPEND %s (%s) {2+}\r\nhi", box, flags)
	case n == 3:
		c.do("APPEND %s (%s) {2+}\r\nho {3+}\r\nhum", box, flags)
	case n == 20:
		if _, _, picked := c.some(); picked != nil {
			c.do("UID REPLACE %d %s (%s) {3+}\r\nnew", picked[0], box, flags)
		}
	case n == 21:
		c.do("%sSEARCH %sALL", []string{"UID ", c.prefix()}[c.r.IntN(2)], []string{"", "RETURN (ALL) ", "RETURN (SAVE ALL) "}[c.r.IntN(3)])
	case n == 22 && c.r.IntN(3) == 0:
		c.do("%s", []string{"CLOSE", "UNSELECT"}[c.r.IntN(2)])
		c.box = ""
	case n == 23:
		c.do("STATUS %s (MESSAGES UNSEEN HIGHESTMODSEQ)", modelBoxes[c.r.IntN(2)])
	case n < 10:
		c.store()
	case n < 12:
		c.do("%s", []string{"NOOP", "CHECK", "IDLE"}[c.r.IntN(3)])
	case n < 13:
		if set, uid, _ := c.some(); set != "" {
			c.do("%s%s %s %s", uid, []string{"COPY", "MOVE"}[c.r.IntN(2)], set, box)
		}
	case n == 13:
		c.ask()
	case n == 14:
		if set, uid, _ := c.some(); set != "" {
			c.do("%sFETCH %s (UID FLAGS)", uid, set)
		}
	case n == 15:
		if set, uid, _ := c.some(); set != "" {
			c.do("%sFETCH %s (UID BODY[])", uid, set)
		}
	case n == 16:
		c.do("EXPUNGE")
	case n == 17:
		if set, uid, _ := c.some(); uid != "" {
			c.do("UID EXPUNGE %s", set)
		}
	case n == 18 && c.kind.qresync:
		c.comeBack()
	case n == 19 && c.r.IntN(4) == 0:
		names := modelBoxes[2:]
		i := c.r.IntN(2)
		c.do("RENAME %s %s", names[i], names[1-i])
	}
}

// prefix is what the client has to put before commands that could name messages by their sequence numbers.
func (c *modelClient) prefix() string {
	if c.kind.uidonly || c.kind.name == "notify" { // expunges may come whenever, says RFC 5465 §5.2
		return "UID "
	}
	return ""
}

// TestModel lets clients of all kinds do random things to the same mailboxes. Whenever they are quiet, each must believe
// exactly what a fresh client is told.
func TestModel(t *testing.T) {
	seed := *modelSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with -seed %d", seed)
	s := startServer(t)
	steps := 400
	if testing.Short() {
		steps = 100
	}
	setup := &modelClient{t: t, addr: s.addr["imap"], r: rand.New(rand.NewPCG(seed, 99)), kind: modelKind{name: "fresh"}}
	setup.connect()
	setup.do("CREATE moving")
	var all []*modelClient
	for i := range 2 * len(modelKinds) {
		all = append(all, &modelClient{t: t, addr: s.addr["imap"], kind: modelKinds[i%len(modelKinds)], r: rand.New(rand.NewPCG(seed, uint64(i)))})
	}
	for _, c := range all {
		c.connect()
		c.sel("INBOX")
	}
	for began := time.Now(); ; {
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Go(func() {
				for range steps {
					if c.step(); c.ended || t.Failed() {
						return
					}
				}
			})
		}
		wg.Wait()
		modelCompare(t, setup, all)
		if t.Failed() || time.Since(began) > *modelTime {
			break
		}
	}
	checkStore(t, s.store)
}

// ask asks for the messages that the client was told of by EXISTS alone.
func (c *modelClient) ask() {
	lo := 0
	for _, m := range c.msgs {
		if m.uid == 0 {
			if c.kind.uidonly {
				lo = 0
			}
			c.do("UID FETCH %d:* (UID FLAGS)", lo+1)
			return
		}
		lo = m.uid
	}
}

// modelCompare compares what quiet clients believe with what a fresh one is told.
func modelCompare(t *testing.T, setup *modelClient, all []*modelClient) {
	for _, c := range all {
		if c.box == "" || c.ended {
			continue
		}
		c.do("NOOP")
		c.do("NOOP")
		c.ask()
		box := c.box
		if setup.sel(box); setup.box == "" { // a session goes on in a mailbox whatever its name has become
			setup.sel(modelBoxes[5-slices.Index(modelBoxes, box)])
		}
		if got, want := fmt.Sprint(c.msgs), fmt.Sprint(setup.msgs); got != want {
			t.Errorf("%s in %s: %s", c.kind.name, box, modelDiff(c.msgs, setup.msgs))
		}
		for name, n := range c.status {
			if name == box || n == "" || c.kind.notify == "" {
				continue
			}
			now := ""
			setup.keep, setup.log = true, nil
			setup.do("STATUS %s (MESSAGES)", name)
			if m := modelCount.FindStringSubmatch(strings.Join(setup.log, " ")); m != nil {
				now = m[1]
			}
			if setup.keep = false; now != n {
				t.Errorf("%s believes %s messages in %s, and there are %s", c.kind.name, n, name, now)
			}
		}
	}
}

func modelDiff(got, want []modelMsg) string {
	var diff []string
	for _, m := range got {
		if !slices.Contains(want, m) {
			diff = append(diff, fmt.Sprintf("believes %v", m))
		}
	}
	for _, m := range want {
		if !slices.Contains(got, m) {
			diff = append(diff, fmt.Sprintf("does not know %v", m))
		}
	}
	return strings.Join(diff, ", ")
}
