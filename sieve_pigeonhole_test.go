package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// sieveSuite is one .svtest of Pigeonhole while it runs: the state that its commands of vnd.dovecot.testsuite share.
type sieveSuite struct {
	dir    string // of the file: scripts are named from there
	mail   *sieveMail
	script *sieveScript
	faults []*sieveFault
	result sieveOutcome
	own    bool // the result is that of the file itself, which goes on
	boxes  map[string][]sieveSuiteMail
	smtp   []sieveSuiteSent
	seen   map[string]bool
	meta   map[string]string
	tests  []sieveSuiteTest
}

type sieveSuiteMail struct {
	raw   string
	flags []string
}

// sieveSuiteSent is a mail that was sent.
type sieveSuiteSent struct{ raw, from, to string }

type sieveSuiteTest struct{ name, fault string }

// errSuiteFail is test_fail.
type errSuiteFail struct{ text string }

func (e *errSuiteFail) Error() string { return e.text }

func sieveMailOf(raw string) *sieveMail {
	m := NewMIMEReader()
	m.Write([]byte(raw))
	tree := m.Tree()
	r := strings.NewReader(raw)
	return &sieveMail{tree: tree, r: r, size: int64(len(raw)), header: ParseHeader([]byte(raw[:tree.HeaderLen]))}
}

// set makes a mail the one that is looked at.
func (x *sieveSuite) set(r *sieveRun, raw string) {
	m := sieveMailOf(raw)
	m.from, m.to, m.orig, m.auth = x.mail.from, x.mail.to, x.mail.orig, x.mail.auth
	x.mail = m
	r.mail, r.header, r.content, r.cached, r.bodies, r.bodyRead = m, m.header, nil, nil, nil, 0
}

func (x *sieveSuite) world() *sieveWorld {
	return &sieveWorld{now: time.Now(), zone: time.Local,
		mailbox:  func(name string) bool { return name == "INBOX" || x.boxes[name] != nil },
		seen:     func(key string) bool { return x.seen[key] },
		metadata: func(box, entry string) (string, bool) { v, ok := x.meta[box+"\x00"+entry]; return v, ok },
		environment: func(name string) (string, bool) {
			v, ok := map[string]string{"domain": "", "host": "host.arpa", "location": "MDA", "phase": "during", "name": "Postino",
				"version": "1", "remote-host": "", "remote-ip": ""}[name]
			return v, ok
		},
		script: func(global bool, name string) (*sieveScript, error) {
			dir := "included"
			if global {
				dir = "included-global"
			}
			if name == "" || strings.ContainsAny(name, "/\x00\n") {
				return nil, ErrNotFound
			}
			b, err := os.ReadFile(filepath.Join(x.dir, dir, name+".sieve"))
			if errors.Is(err, fs.ErrNotExist) {
				return nil, ErrNotFound
			}
			s, faults := sieveCompile(string(b))
			if len(faults) > 0 {
				return nil, faults[0]
			}
			s.name = name
			return s, nil
		},
	}
}

// outcome is what there is to do now.
func (x *sieveSuite) outcome(r *sieveRun) sieveOutcome {
	if !x.own {
		return x.result
	}
	out := r.out
	if !r.done {
		out.keep = &sieveAction{kind: "keep", flags: strings.Fields(r.flags), content: r.content}
	}
	return out
}

// execute does what the result says, in mailboxes of its own.
func (x *sieveSuite) execute(r *sieveRun) error {
	out := x.outcome(r)
	all := slices.Clone(out.actions)
	if out.keep != nil {
		all = append(all, *out.keep)
	}
	stored := map[string]int{}
	for _, a := range all {
		var b bytes.Buffer
		content := a.content
		if content == nil {
			content = &sieveEdit{header: x.mail.header}
		}
		if err := content.writeTo(&b, x.mail); err != nil {
			return err
		}
		switch a.kind {
		case "keep", "fileinto":
			box := a.target
			if a.kind == "keep" || strings.EqualFold(box, "INBOX") {
				box = "INBOX"
			}
			if box != "INBOX" && x.boxes[box] == nil && !a.create {
				x.faults = []*sieveFault{{a.at, "failed to store into mailbox: it does not exist: " + box}}
				return x.faults[0]
			}
			if at, ok := stored[box]; ok && a.content == nil {
				x.boxes[box][at-1].flags = a.flags
				continue
			}
			x.boxes[box] = append(x.boxes[box], sieveSuiteMail{b.String(), a.flags})
			stored[box] = len(x.boxes[box])
		case "redirect":
			x.smtp = append(x.smtp, sieveSuiteSent{b.String(), x.mail.from, a.target})
		case "reject", "ereject":
			if x.mail.from == "" {
				continue
			}
			from, _ := ParseAddr(x.mail.from)
			final, _ := ParseAddr(x.mail.to)
			var report bytes.Buffer
			rep := &Report{Action: ActionFailed, From: Addr{"postmaster", "example.org"}, To: from, Date: time.Now(), Header: []byte("Subject: x\r\n\r\n"),
				Rcpts: []ReportRcpt{{Final: final, Status: "5.7.1", Said: a.text}}}
			if _, err := rep.WriteTo(&report); err != nil {
				return err
			}
			x.smtp = append(x.smtp, sieveSuiteSent{report.String(), "", x.mail.from})
		case "notify", "vacation":
			text, err := x.reply(&a)
			if err != nil {
				return err
			}
			to := a.target
			if a.kind == "vacation" {
				to = x.mail.from
			}
			if text != nil {
				x.smtp = append(x.smtp, sieveSuiteSent{string(text), "", to})
			}
		}
	}
	for _, m := range out.memories {
		x.seen[m.key] = true
	}
	return nil
}

// sieveSuiteReply is what a vacation or notification would send; nil if there is to be none.
func (x *sieveSuite) reply(a *sieveAction) ([]byte, error) {
	from, _ := ParseAddr(x.mail.from)
	me, _ := ParseAddr(x.mail.to)
	p := placement{m: &Mail{SMTPEnvelope: SMTPEnvelope{From: from}, Body: &Spool{}}, header: x.mail.header}
	v := reply{user: User{Name: me.Key()}, act: a}
	var b bytes.Buffer
	if a.kind == "vacation" {
		key := sieveKey("vacation", a.reply.handle, from.Key())
		if x.seen[key] || !p.mayAnswer(v.user, a.reply.addresses) {
			return nil, nil
		}
		x.seen[key] = true
		d := answerDraft(v, me, from, x.mail.header, false)
		if list := ParseAddressList(a.reply.from); len(list) == 1 {
			d.From = &list[0]
		}
		d.Date = time.Now()
		err := writeReply(&b, a, d)
		return b.Bytes(), err
	}
	if p.isAutomatic() {
		return nil, nil
	}
	d := notifyDraft(v, me, x.mail.header)
	d.Date = time.Now()
	err := writeReply(&b, a, d)
	return b.Bytes(), err
}

func suiteOf(r *sieveRun) *sieveSuite { return r.extra.(*sieveSuite) }

// sieveSuiteCommands are the testsuite's commands and tests, as far as they make sense here.
var sieveSuiteCommands = map[string]sieveCommand{
	"test": {forms: []string{"s"}, block: true, run: func(r *sieveRun, n *sieveNode) error {
		x := suiteOf(r)
		err := r.nodes(n.block)
		fault := ""
		if err != nil && !errors.Is(err, errSieveStop) {
			fault = err.Error()
		}
		r.work, r.begun = 0, time.Now()
		x.tests = append(x.tests, sieveSuiteTest{r.str(n.pos[0]), fault})
		return nil
	}},
	"test_fail": {forms: []string{"s"}, run: func(r *sieveRun, n *sieveNode) error { return &errSuiteFail{r.str(n.pos[0])} }},
	"test_set": {forms: []string{"ss"}, run: func(r *sieveRun, n *sieveNode) error {
		x, v := suiteOf(r), r.str(n.pos[1])
		switch name := strings.ToLower(r.str(n.pos[0])); name {
		case "message":
			h := ParseHeader([]byte(v))
			x.mail.from, x.mail.to = sieveSuiteFirst(h, "From", "sender@example.com"), sieveSuiteFirst(h, "To", "recipient@example.org")
			x.set(r, v)
		case "envelope.from":
			x.mail.from = sieveSuitePath(v)
		case "envelope.to":
			x.mail.to = sieveSuitePath(v)
		case "envelope.orig_to":
			x.mail.orig = sieveSuitePath(v)
		case "envelope.auth":
			x.mail.auth = v
		default:
			return fmt.Errorf("no %s", name)
		}
		return nil
	}},
	"test_config_set":    {forms: []string{"ss"}, run: sieveSuiteNothing},
	"test_config_unset":  {forms: []string{"s"}, run: sieveSuiteNothing},
	"test_config_reload": {more: sieveSuiteTags["extension"], run: sieveSuiteNothing},
	"test_binary_save":   {forms: []string{"s"}, run: sieveSuiteNothing},
	"test_binary_load":   {forms: []string{"s"}, run: sieveSuiteNothing},
	"test_result_print":  {run: sieveSuiteNothing},
	"test_imap_metadata_set": {more: sieveSuiteTags["metabox"], forms: []string{"ss"}, run: func(r *sieveRun, n *sieveNode) error {
		suiteOf(r).meta[r.str(n.tags["mailbox"])+"\x00"+r.str(n.pos[0])] = r.str(n.pos[1])
		return nil
	}},
	"test_mailbox_create": {forms: []string{"s"}, run: func(r *sieveRun, n *sieveNode) error {
		if x := suiteOf(r); x.boxes[r.str(n.pos[0])] == nil {
			x.boxes[r.str(n.pos[0])] = []sieveSuiteMail{}
		}
		return nil
	}},
	"test_script_compile": {forms: []string{"s"}, ask: func(r *sieveRun, n *sieveNode) (bool, error) {
		x := suiteOf(r)
		b, err := os.ReadFile(filepath.Join(x.dir, r.str(n.pos[0])))
		if err != nil {
			return false, err
		}
		x.script, x.faults = sieveCompileWith(string(b), map[string]sieveCommand{"test_fail": sieveSuiteCommands2["test_fail"]})
		if os.Getenv("PIGEONHOLE_FAULTS") != "" && x.script == nil {
			fmt.Fprintln(os.Stderr, r.str(n.pos[0]))
			for _, f := range x.faults {
				fmt.Fprintln(os.Stderr, "   ", f)
			}
		}
		if x.script == nil { // Pigeonhole says at the end that there were some
			x.faults = append(x.faults, &sieveFault{text: "validation failed"})
		}
		return x.script != nil, nil
	}},
	"test_script_run": {more: sieveSuiteTags["append"], ask: func(r *sieveRun, n *sieveNode) (bool, error) {
		x := suiteOf(r)
		if x.script == nil {
			return false, nil
		}
		run := newSieveRun(x.script, x.mail, x.world())
		if n.tags["append_result"] != nil {
			run.out.actions, run.done = x.result.actions, x.result.keep == nil
		}
		err := run.finish(run.nodes(x.script.nodes))
		x.own = false
		var fault *sieveFault
		if errors.As(err, &fault) {
			x.faults = []*sieveFault{fault}
			x.result = run.out
			return false, nil
		}
		x.result, x.faults = run.out, nil
		return err == nil, err
	}},
	"test_multiscript": {forms: []string{"S"}, ask: func(r *sieveRun, n *sieveNode) (bool, error) { return false, errors.New("no multiscript") }},
	"test_result_execute": {ask: func(r *sieveRun, n *sieveNode) (bool, error) {
		err := suiteOf(r).execute(r)
		return err == nil, nil
	}},
	"test_result_reset": {run: func(r *sieveRun, n *sieveNode) error {
		x := suiteOf(r)
		x.result, x.own, x.smtp = sieveOutcome{}, true, nil
		maps.DeleteFunc(x.seen, func(key string, _ bool) bool { return strings.HasPrefix(key, "vacation") })
		r.out, r.done, r.flags, r.header, r.content, r.cached = sieveOutcome{}, false, "", x.mail.header, nil, nil
		return nil
	}},
	"test_result_action": {tags: []string{"match", "indexed"}, forms: []string{"S"}, ask: func(r *sieveRun, n *sieveNode) (bool, error) {
		out := suiteOf(r).outcome(r)
		var names []string
		for _, a := range out.actions {
			names = append(names, map[string]string{"fileinto": "store"}[a.kind]+map[bool]string{true: a.kind}[a.kind != "fileinto"])
		}
		if out.keep != nil {
			names = append(names, "keep")
		}
		return r.matches(n, sieveIndexed(n, names))
	}},
	"test_error": {tags: []string{"match", "indexed"}, forms: []string{"S"}, ask: func(r *sieveRun, n *sieveNode) (bool, error) {
		var texts []string
		for _, f := range suiteOf(r).faults {
			texts = append(texts, f.text)
		}
		return r.matches(n, sieveIndexed(n, texts))
	}},
	"test_message": {more: sieveSuiteTags["message"], forms: []string{"n"}, run: func(r *sieveRun, n *sieveNode) error {
		ok, err := sieveSuiteMessage(r, n)
		if err == nil && !ok {
			err = &errSuiteFail{"there is no such message"}
		}
		return err
	}, ask: sieveSuiteMessage},
}

var sieveSuiteCommands2 = map[string]sieveCommand{
	"test_fail": {forms: []string{"s"}, run: func(r *sieveRun, n *sieveNode) error { return &errSuiteFail{r.str(n.pos[0])} }},
}

// sieveSuiteFirst is the first address of a field: Pigeonhole makes an envelope of it.
func sieveSuiteFirst(h Header, name, other string) string {
	for _, a := range ParseAddressList(h.Get(name)) {
		if x, err := a.Addr(); err == nil {
			return x.String()
		}
	}
	return other
}

// sieveSuitePath is an address as SMTP has it, without its brackets.
func sieveSuitePath(s string) string {
	if !strings.HasPrefix(s, "<") {
		return s
	}
	a, _, err := ParsePath(s)
	if err != nil || a.IsZero() {
		return ""
	}
	return a.String()
}

func sieveSuiteNothing(*sieveRun, *sieveNode) error { return nil }

func sieveSuiteMessage(r *sieveRun, n *sieveNode) (bool, error) {
	x, i := suiteOf(r), int(n.pos[0].num)
	if n.tags["smtp"] != nil {
		if i >= len(x.smtp) {
			return false, nil
		}
		x.mail.from, x.mail.to = x.smtp[i].from, x.smtp[i].to
		x.set(r, x.smtp[i].raw)
		return true, nil
	}
	box := x.boxes[r.str(n.tags["folder"])]
	if i >= len(box) {
		return false, nil
	}
	x.set(r, box[i].raw)
	r.flags = strings.Join(box[i].flags, " ")
	return true, nil
}

// sieveSuiteTags are the tags of the testsuite's commands.
var sieveSuiteTags = map[string][]sieveTag{
	"extension": {{"extension", "", 's', ""}},
	"append":    {{"append_result", "", 0, ""}},
	"metabox":   {{"mailbox", "", 's', ""}},
	"message":   {{"smtp", "", 0, "where"}, {"folder", "", 's', "where"}},
}

// TestPigeonhole runs Pigeonhole's own tests, where PIGEONHOLE_TESTS names the folder tests/ of its sources. HACKING.md has the count and
// the reasons for those that differ.
func TestPigeonhole(t *testing.T) {
	root := os.Getenv("PIGEONHOLE_TESTS")
	if root == "" {
		skip(t, "PIGEONHOLE_TESTS does not name the folder of its tests")
	}
	passed, total := map[string]int{}, map[string]int{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".svtest") {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		if slices.ContainsFunc([]string{"plugins/", "failures/", "extensions/vnd.dovecot/", "extensions/spamvirustest/", "extensions/extlists/"}, func(p string) bool { return strings.HasPrefix(rel, p) }) {
			return nil
		}
		group := filepath.Dir(rel)
		if group == "extensions" {
			group = strings.TrimSuffix(rel, ".svtest")
		}
		tests, err := runSieveSuite(path)
		if err != nil {
			t.Logf("%s: %v", rel, err)
			total[group]++
			return nil
		}
		for _, x := range tests {
			total[group]++
			if x.fault == "" {
				passed[group]++
			} else {
				t.Logf("%s: %s: %s", rel, x.name, x.fault)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all, good := 0, 0
	for _, g := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%-30s %3d of %3d", g, passed[g], total[g])
		all += total[g]
		good += passed[g]
	}
	t.Logf("%-30s %3d of %3d", "all", good, all)
}

// runSieveSuite runs one file.
func runSieveSuite(path string) ([]sieveSuiteTest, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	extra := maps.Clone(sieveSuiteCommands)
	script, faults := sieveCompileWith(string(b), extra)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	x := &sieveSuite{dir: filepath.Dir(path), own: true, boxes: map[string][]sieveSuiteMail{"INBOX": {}}, seen: map[string]bool{}, meta: map[string]string{}}
	x.mail = sieveMailOf("From: sender@example.com\r\nTo: recipient@example.org\r\nSubject: Test\r\n\r\nTest\r\n")
	x.mail.from, x.mail.to = "sender@example.com", "recipient@example.org"
	r := newSieveRun(script, x.mail, x.world())
	r.extra = x
	err = r.nodes(script.nodes)
	return x.tests, err
}
