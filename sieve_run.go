// Running a Sieve script: a mail in, a list of actions out. Nothing is done here, and nothing is stored.
package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"time"
)

// What one run of a script may take. Work is counted, so that the same mail always has the same end; the clock only ends what has
// worked much already, not what had to wait for the machine.
const (
	sieveMaxWork    = 20_000_000            // units, about a nanosecond each on amd64
	sieveMaxTime    = 20 * time.Millisecond // unless little was done
	sieveLittle     = sieveMaxWork / 10
	sieveMaxActions = 64 // of one mail
	sieveMaxSends   = 10 // addresses that one mail is redirected to
	sieveMaxBody    = 1 << 20
)

// sieveMail is the mail that a script looks at.
type sieveMail struct {
	tree   *Part
	r      io.ReaderAt
	size   int64
	header Header
	from   string // the envelope's sender, "" for nobody
	to     string // and the recipient for whom the script runs
	orig   string // whom the sender named (ORCPT), or to
	auth   string // who logged in to submit it
}

// sieveWorld is what scripts ask about beside the mail. Nil functions know nothing.
type sieveWorld struct {
	now         time.Time
	zone        *time.Location
	mailbox     func(name string) bool                               // there is such a mailbox, and mail can be put into it
	mailboxID   func(id string) bool                                 // RFC 9042
	special     func(mailbox, use string) bool                       // mailbox "" is any
	metadata    func(mailbox, entry string) (string, bool)           // mailbox "" is the server
	script      func(global bool, name string) (*sieveScript, error) // for include; ErrNotFound
	seen        func(key string) bool                                // an earlier mail has left this key (duplicate)
	environment func(name string) (string, bool)
}

// sieveAction is something that is to be done with the mail. Kind is keep, fileinto, redirect, reject, ereject, vacation or notify.
type sieveAction struct {
	at      sievePos
	kind    string
	target  string // a mailbox, an address, or a notification's address
	flags   []string
	create  bool   // make the mailbox if it is not there
	special string // or else the mailbox with this use
	id      string // or this ID
	text    string // of reject, vacation, notify
	content *sieveEdit
	reply   *sieveReply // what else a vacation or a notification has
}

// sieveReply is how a vacation answers, or what a notification says of itself.
type sieveReply struct {
	subject    string
	from       string
	addresses  []string // of one's own, beside the account's
	mime       bool     // the text is a MIME part, header and body
	handle     string
	seconds    int64
	importance string
	fields     []Field // mailto: further fields
	body       string  // mailto: its body
}

// sieveMemory is a key of a duplicate test that has to be remembered once the mail is delivered.
type sieveMemory struct {
	key     string
	seconds int64
}

// sieveOutcome is what a run ends with.
type sieveOutcome struct {
	actions  []sieveAction // without the implicit keep, which is keep
	keep     *sieveAction  // nil if it was cancelled
	memories []sieveMemory
	work     int64
}

// Control flow, as errors.
var (
	errSieveStop   = errors.New("stop")
	errSieveReturn = errors.New("return")
)

// sieveBreak leaves the loop of that name, "" the innermost.
type sieveBreak struct{ name string }

func (b *sieveBreak) Error() string { return "break " + b.name }

// sieveRun is one run. It belongs to one goroutine.
type sieveRun struct {
	script  *sieveScript // the one that is running: an included one has requirements of its own
	mail    *sieveMail
	world   *sieveWorld
	work    int64
	begun   time.Time
	out     sieveOutcome
	done    bool // the implicit keep is cancelled
	header  Header
	content *sieveEdit // nil as long as nothing was changed

	vars    map[string]string
	globals map[string]string
	shared  map[string]bool // names that global has made so in the running script
	match   []string
	flags   string // the internal variable of imap4flags

	part      *Part // of the foreverypart around
	loops     int   // of those in each other
	depth     int   // of includes
	once      map[string]bool
	cached    map[string][]string // decoded fields of the header
	bodies    map[string][]string
	addresses map[string][]Address
	bodyRead  int64
	extra     any // the testsuite's
}

// sieveExecute runs a script for a mail. A fault is the script's, and what is then to be done is keep the mail in the inbox: the
// outcome has no actions. It reads from the mail's content; the error of that is returned as it is.
func sieveExecute(script *sieveScript, mail *sieveMail, world *sieveWorld) (sieveOutcome, error) {
	r := newSieveRun(script, mail, world)
	err := r.finish(r.nodes(script.nodes))
	return r.out, err
}

func newSieveRun(script *sieveScript, mail *sieveMail, world *sieveWorld) *sieveRun {
	return &sieveRun{script: script, mail: mail, world: world, begun: time.Now(), header: mail.header,
		vars: map[string]string{}, globals: map[string]string{}, shared: map[string]bool{}, once: map[string]bool{}}
}

// finish adds the implicit keep (RFC 5228 §2.10.2), or leaves nothing but that after an error (§2.10.6).
func (r *sieveRun) finish(err error) error {
	var left *sieveBreak
	if errors.Is(err, errSieveStop) || errors.Is(err, errSieveReturn) || errors.As(err, &left) {
		err = nil
	}
	r.out.work = r.work
	if err != nil {
		r.out = sieveOutcome{keep: &sieveAction{kind: "keep"}, work: r.work}
		return err
	}
	if !r.done {
		r.out.keep = &sieveAction{kind: "keep", flags: strings.Fields(r.flags), content: r.content}
	}
	return nil
}

// spend counts work. Its error ends a runaway.
func (r *sieveRun) spend(units int64) error {
	r.work += units
	if r.work > sieveMaxWork || (r.work > sieveLittle && time.Since(r.begun) > sieveMaxTime) {
		return &sieveFault{text: "the script works too long"}
	}
	return nil
}

// nodes runs commands in their order.
func (r *sieveRun) nodes(nodes []*sieveNode) error {
	taken := false // a branch of the if before
	for _, n := range nodes {
		err := r.spend(50)
		if err != nil {
			return err
		}
		if n.cmd == nil || n.cmd.run == nil { // require, or what an ihave has kept from making sense
			if n.cmd == nil {
				return &sieveFault{n.sievePos, "there is no " + n.name + " here"}
			}
			continue
		}
		switch n.name {
		case "elsif", "else":
			if taken {
				continue
			}
		case "if":
			taken = false
		}
		if n.name == "if" || n.name == "elsif" {
			taken, err = r.test(n.tests[0])
			if err == nil && taken {
				err = n.cmd.run(r, n)
			}
		} else {
			err = n.cmd.run(r, n)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// test asks one test.
func (r *sieveRun) test(n *sieveNode) (bool, error) {
	err := r.spend(50)
	if err != nil {
		return false, err
	}
	if n.cmd == nil || n.cmd.ask == nil {
		return false, &sieveFault{n.sievePos, "there is no " + n.name + " here"}
	}
	return n.cmd.ask(r, n)
}

func (r *sieveRun) runIf(n *sieveNode) error {
	if n.wrong != "" {
		return &sieveFault{n.sievePos, "there is no extension " + sieveQuote(n.wrong) + " here"}
	}
	return r.nodes(n.block)
}

func (r *sieveRun) runBlock(n *sieveNode) error { return r.nodes(n.block) }

func (r *sieveRun) runStop(*sieveNode) error { return errSieveStop }

// runError ends the script as a fault would (RFC 5463 §5).
func (r *sieveRun) runError(n *sieveNode) error {
	return &sieveFault{n.sievePos, r.str(n.pos[0])}
}

func (r *sieveRun) askTrue(*sieveNode) (bool, error) { return true, nil }

func (r *sieveRun) askFalse(*sieveNode) (bool, error) { return false, nil }

func (r *sieveRun) askNot(n *sieveNode) (bool, error) {
	ok, err := r.test(n.tests[0])
	return !ok, err
}

func (r *sieveRun) askAll(n *sieveNode) (bool, error) {
	for _, t := range n.tests {
		ok, err := r.test(t)
		if !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

func (r *sieveRun) askAny(n *sieveNode) (bool, error) {
	for _, t := range n.tests {
		ok, err := r.test(t)
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// askHave says whether all of the extensions are there (RFC 5463 §4).
func (r *sieveRun) askHave(n *sieveNode) (bool, error) {
	return !slices.ContainsFunc(r.strings(n.pos[0]), func(e string) bool { return !sieveKnows(e) }), nil
}

// act adds an action. Two of the same are one, and a refusal goes with nothing else (RFC 5429 §2).
func (r *sieveRun) act(a sieveAction) error {
	refuses := func(kind string) bool { return kind == "reject" || kind == "ereject" }
	for i := range r.out.actions {
		x := &r.out.actions[i]
		switch {
		case refuses(x.kind) || refuses(a.kind):
			if x.kind == "notify" || a.kind == "notify" {
				continue
			}
			return &sieveFault{a.at, a.kind + " can't be used together with " + x.kind}
		case a.kind == "vacation" && x.kind == "vacation":
			return &sieveFault{a.at, "vacation may be used once only"}
		case a.kind == "redirect" && x.kind == a.kind && strings.EqualFold(x.target, a.target):
			return nil
		case a.isInbox() && x.isInbox() && (x.content == a.content || a.kind == x.kind):
			x.flags, x.content = a.flags, a.content
			return nil
		case a.kind == "fileinto" && x.kind == "fileinto" && x.target == a.target && x.content == a.content:
			if r.script.needs["imap4flags"] {
				x.flags = a.flags
			}
			return nil
		}
	}
	sends := 0
	for _, x := range r.out.actions {
		if x.kind == "redirect" {
			sends++
		}
	}
	switch {
	case len(r.out.actions) >= sieveMaxActions:
		return &sieveFault{a.at, "too many actions"}
	case a.kind == "redirect" && sends >= sieveMaxSends:
		return &sieveFault{a.at, "too many addresses to redirect to"}
	}
	r.out.actions = append(r.out.actions, a)
	return nil
}

// isInbox says whether the action puts the mail into the inbox.
func (a *sieveAction) isInbox() bool {
	return a.kind == "keep" || (a.kind == "fileinto" && strings.EqualFold(a.target, "INBOX") && a.special == "" && a.id == "")
}

// flagsOf are those that keep and fileinto give: their own, or those of the internal variable (RFC 5232 §5).
func (r *sieveRun) flagsOf(n *sieveNode) []string {
	a := n.tags["flags"]
	if a == nil {
		return strings.Fields(r.flags)
	}
	return strings.Fields(sieveFlags("", r.strings(a)))
}

// runKeep puts the mail into the inbox (RFC 5228 §4.3).
func (r *sieveRun) runKeep(n *sieveNode) error {
	r.done = true
	return r.act(sieveAction{at: n.sievePos, kind: "keep", flags: r.flagsOf(n), content: r.content})
}

// runDiscard cancels the implicit keep (RFC 5228 §4.4).
func (r *sieveRun) runDiscard(*sieveNode) error {
	r.done = true
	return nil
}

// runFileinto puts the mail into a mailbox (RFC 5228 §4.1).
func (r *sieveRun) runFileinto(n *sieveNode) error {
	name := r.str(n.pos[0])
	if fault := checkSieveMailbox(name); fault != "" {
		return &sieveFault{n.sievePos, fault}
	}
	r.done = r.done || n.tags["copy"] == nil
	return r.act(sieveAction{at: n.sievePos, kind: "fileinto", target: name, flags: r.flagsOf(n), content: r.content,
		create: n.tags["create"] != nil, special: r.str(n.tags["specialuse"]), id: r.str(n.tags["mailboxid"])})
}

// runRedirect sends the mail on (RFC 5228 §4.2).
func (r *sieveRun) runRedirect(n *sieveNode) error {
	a, err := sieveAddress(r.str(n.pos[0]))
	if err != nil {
		return &sieveFault{n.sievePos, sieveQuote(r.str(n.pos[0])) + " is no mail address"}
	}
	r.done = r.done || n.tags["copy"] == nil
	return r.act(sieveAction{at: n.sievePos, kind: "redirect", target: a.String(), content: r.content})
}

// runReject refuses the mail (RFC 5429).
func (r *sieveRun) runReject(n *sieveNode) error {
	r.done = true
	return r.act(sieveAction{at: n.sievePos, kind: n.name, text: r.str(n.pos[0])})
}

// sieveFlags adds flags to some: a list with each once, whatever its letters, divided by blanks (RFC 5232 §2).
func sieveFlags(have string, add []string) string {
	all := strings.Fields(have)
	for _, text := range add {
		for _, f := range strings.Fields(text) {
			if sieveIsFlag(f) && !slices.ContainsFunc(all, func(x string) bool { return strings.EqualFold(x, f) }) && len(all) < sieveMaxFlags {
				all = append(all, f)
			}
		}
	}
	return strings.Join(all, " ")
}

// sieveMaxFlags is how many flags a mail may get.
const sieveMaxFlags = 64

// sieveIsFlag says whether a flag can be such: a system flag that a client may set, or a keyword (RFC 9051 §9).
func sieveIsFlag(f string) bool {
	if rest, ok := strings.CutPrefix(f, `\`); ok {
		return slices.Contains([]string{"answered", "flagged", "deleted", "seen", "draft"}, strings.ToLower(rest))
	}
	return len(f) <= 100 && f != "" && !strings.ContainsFunc(f, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`(){%*"\]`, c) })
}

// checkFlags sees that a variable that is named can be one.
func (c *sieveCompiler) checkFlags(n *sieveNode) {
	if len(n.pos) < 2 {
		return
	}
	if !c.needs["variables"] {
		c.fault(n.sievePos, "%s takes no variable without require %s", n.name, sieveQuote("variables"))
		return
	}
	for _, s := range n.pos[0].strs {
		c.checkVariableName(s)
	}
}

// runFlags is setflag, addflag and removeflag (RFC 5232 §3).
func (r *sieveRun) runFlags(n *sieveNode) error {
	list := r.strings(n.pos[len(n.pos)-1])
	have := r.flags
	if len(n.pos) == 2 {
		have = sieveFlags("", []string{r.variable(strings.ToLower(n.pos[0].strs[0].text))})
	}
	switch n.name {
	case "setflag":
		have = sieveFlags("", list)
	case "addflag":
		have = sieveFlags(have, list)
	default:
		gone := strings.Fields(strings.Join(list, " "))
		have = strings.Join(slices.DeleteFunc(strings.Fields(have), func(f string) bool {
			return slices.ContainsFunc(gone, func(g string) bool { return strings.EqualFold(f, g) })
		}), " ")
	}
	if len(n.pos) == 2 {
		return r.setVariable(n, n.pos[0].strs[0].text, have)
	}
	r.flags = have
	return nil
}

// askFlag looks at the flags that the mail is to have (RFC 5232 §4). The keys may be lists themselves.
func (r *sieveRun) askFlag(n *sieveNode) (bool, error) {
	values := strings.Fields(r.flags)
	if len(n.pos) == 2 {
		values = values[:0:0]
		for _, name := range r.strings(n.pos[0]) {
			values = append(values, strings.Fields(sieveFlags("", []string{r.variable(strings.ToLower(name))}))...)
		}
	}
	if n.match.kind == "count" || n.match.kind == "regex" {
		return r.matches(n, values)
	}
	var keys, folded []string
	for _, k := range r.strings(n.pos[len(n.pos)-1]) {
		for _, f := range strings.Fields(k) {
			keys, folded = append(keys, f), append(folded, n.match.cmp.fold(f))
		}
	}
	for _, v := range values {
		for i := range keys {
			ok, err := r.matchOne(n.match, v, n.match.cmp.fold(v), keys[i], folded[i])
			if ok || err != nil {
				return ok, err
			}
		}
	}
	return false, nil
}
