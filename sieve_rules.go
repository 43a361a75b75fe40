// Rules as the filters page has them, and the script that says the same. A script that says anything else is its owner's own.
package main

import (
	"strconv"
	"strings"
)

// sieveRule does something with mail to which all of its tests apply, or any of them.
type sieveRule struct {
	Any   bool
	Tests []sieveRuleTest

	Folder, Name string // where it goes: the mailbox's ID and name; "" stays in the inbox
	Copy         bool   // and stays in the inbox as well
	Read, Star   bool
	Label        string // a keyword
	Redirect     string // an address
	Keep         bool   // a redirected mail stays here, too
	Reject       string
	Discard      bool
	On           bool // the rules below are asked as well
}

// sieveRuleTest looks for a text in a field: from, to (Cc, too), subject, body, size (over so many KB), clip, or another header
// field's name.
type sieveRuleTest struct {
	Field string
	Op    string // contains, is, matches, regex
	Not   bool
	Value string
}

const sieveMaxRules = 200

// What a script of the page begins with. The schema step for older filters says the same.
const sieveRulesHead = "# The filters page keeps its rules here.\r\n" +
	`require ["body", "copy", "fileinto", "imap4flags", "mailboxid", "mime", "regex", "reject"];` + "\r\n"

// sieveWriteRules is the script of some rules.
func sieveWriteRules(rules []sieveRule) string {
	var b strings.Builder
	b.WriteString(sieveRulesHead)
	for _, r := range rules {
		b.WriteString("\r\nif " + map[bool]string{false: "allof", true: "anyof"}[r.Any] + " (")
		for i, t := range r.Tests {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString("\r\n    " + t.script())
		}
		b.WriteString("\r\n) {\r\n")
		for _, line := range r.actions() {
			b.WriteString("    " + line + ";\r\n")
		}
		b.WriteString("}\r\n")
	}
	return b.String()
}

// sieveStringOf is a text as a script has it.
func sieveStringOf(s string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`) + `"`
}

func (t sieveRuleTest) script() string {
	not := ""
	if t.Not {
		not = "not "
	}
	names := sieveStringOf(t.Field)
	switch t.Field {
	case "clip":
		return not + `header :mime :anychild :contains "content-disposition" "attachment"`
	case "size":
		return not + "size :over " + t.Value + "K"
	case "body":
		return not + "body :text :" + t.Op + " " + sieveStringOf(t.Value)
	case "to":
		names = `["to", "cc"]`
	}
	return not + "header :" + t.Op + " " + names + " " + sieveStringOf(t.Value)
}

func (r *sieveRule) actions() []string {
	var all []string
	if r.Read {
		all = append(all, `addflag "\\Seen"`)
	}
	if r.Star {
		all = append(all, `addflag "\\Flagged"`)
	}
	if r.Label != "" {
		all = append(all, "addflag "+sieveStringOf(r.Label))
	}
	if r.Folder != "" {
		into := "fileinto "
		if r.Copy {
			into = "fileinto :copy "
		}
		all = append(all, into+":mailboxid "+sieveStringOf(r.Folder)+" "+sieveStringOf(r.Name))
	}
	if r.Redirect != "" {
		to := "redirect "
		if r.Keep {
			to = "redirect :copy "
		}
		all = append(all, to+sieveStringOf(r.Redirect))
	}
	if r.Reject != "" {
		all = append(all, "reject "+sieveStringOf(r.Reject))
	}
	if r.Discard {
		all = append(all, "discard")
	}
	if !r.On {
		all = append(all, "stop")
	}
	return all
}

// sieveReadRules are the rules of a script, if it is one of the page's: written from them again it is the same, to the last octet.
func sieveReadRules(source string) ([]sieveRule, bool) {
	if !strings.HasPrefix(source, sieveRulesHead) {
		return nil, false
	}
	nodes, fault := sieveParse(source)
	if fault != nil || len(nodes) == 0 {
		return nil, false
	}
	var rules []sieveRule
	for _, n := range nodes[1:] {
		if n.name != "if" || len(n.tests) != 1 || len(rules) >= sieveMaxRules {
			return nil, false
		}
		top := n.tests[0]
		r := sieveRule{Any: top.name == "anyof", On: true}
		for _, t := range top.tests {
			r.Tests = append(r.Tests, sieveReadTest(t))
		}
		for _, a := range n.block {
			r.readAction(a)
		}
		rules = append(rules, r)
	}
	return rules, sieveWriteRules(rules) == source
}

// words are the strings of a node's arguments, and two empty ones.
func (n *sieveNode) words() []string {
	var all []string
	for _, a := range n.args {
		for _, s := range a.strs {
			all = append(all, s.text)
		}
	}
	return append(all, "", "")
}

func (n *sieveNode) hasTag(name string) bool {
	for _, a := range n.args {
		if a.kind == sieveTagArg && a.tag == name {
			return true
		}
	}
	return false
}

func sieveReadTest(n *sieveNode) sieveRuleTest {
	if n.name == "not" && len(n.tests) == 1 {
		t := sieveReadTest(n.tests[0])
		t.Not = true
		return t
	}
	words := n.words()
	words = words[:len(words)-2]
	var t sieveRuleTest
	for _, op := range []string{"contains", "is", "matches", "regex"} {
		if n.hasTag(op) {
			t.Op = op
		}
	}
	if len(words) > 0 {
		t.Value = words[len(words)-1]
	}
	switch {
	case n.name == "size" && len(n.args) > 0:
		t.Field, t.Value = "size", strconv.FormatInt(n.args[len(n.args)-1].num>>10, 10)
	case n.name == "body":
		t.Field = "body"
	case n.hasTag("anychild"):
		t = sieveRuleTest{Field: "clip"}
	case len(words) == 3:
		t.Field = "to"
	case len(words) == 2:
		t.Field = words[0]
	}
	return t // what it does not know leads to another script than was read
}

func (r *sieveRule) readAction(n *sieveNode) {
	words := n.words()
	switch n.name {
	case "addflag":
		switch words[0] {
		case `\Seen`:
			r.Read = true
		case `\Flagged`:
			r.Star = true
		default:
			r.Label = words[0]
		}
	case "fileinto":
		r.Folder, r.Name, r.Copy = words[0], words[1], n.hasTag("copy")
	case "redirect":
		r.Redirect, r.Keep = words[0], n.hasTag("copy")
	case "reject":
		r.Reject = words[0]
	case "discard":
		r.Discard = true
	case "stop":
		r.On = false
	}
}

// sieveSends says whether a script sends mail to somebody whom it names.
func sieveSends(source string) bool {
	nodes, _ := sieveParse(source)
	return sieveAnySends(nodes)
}

func sieveAnySends(nodes []*sieveNode) bool {
	for _, n := range nodes {
		if n.name == "redirect" || n.name == "notify" || sieveAnySends(n.block) {
			return true
		}
	}
	return false
}
