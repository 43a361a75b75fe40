// Sieve: what a script may say, as tables, and the compiler that checks a script against them.
package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// sieveExtension is a capability that a script may require.
type sieveExtension struct {
	name string
	rfc  int // 0 is a draft, or nobody's
}

// sieveExtensions is every extension there is, in the order in which they are listed. A comparator is one, too (RFC 5228 §2.7.3).
var sieveExtensions = []sieveExtension{
	{"fileinto", 5228},
	{"envelope", 5228},
	{"encoded-character", 5228},
	{"comparator-i;octet", 4790},
	{"comparator-i;ascii-casemap", 4790},
	{"comparator-i;ascii-numeric", 4790},
	{"comparator-i;unicode-casemap", 5051},
	{"variables", 5229},
	{"vacation", 5230},
	{"vacation-seconds", 6131},
	{"relational", 5231},
	{"imap4flags", 5232},
	{"subaddress", 5233},
	{"copy", 3894},
	{"body", 5173},
	{"environment", 5183},
	{"date", 5260},
	{"index", 5260},
	{"editheader", 5293},
	{"reject", 5429},
	{"ereject", 5429},
	{"enotify", 5435},
	{"ihave", 5463},
	{"mailbox", 5490},
	{"mboxmetadata", 5490},
	{"servermetadata", 5490},
	{"foreverypart", 5703},
	{"mime", 5703},
	{"extracttext", 5703},
	{"replace", 5703},
	{"enclose", 5703},
	{"include", 6609},
	{"duplicate", 7352},
	{"special-use", 8579},
	{"mailboxid", 9042},
	{"regex", 0},
}

// sieveTag is an argument with a colon. Those with the same set exclude each other.
type sieveTag struct {
	name  string
	ext   string
	value sieveKind // what follows it, 0 nothing
	set   string
}

// sieveTags are the tags by what they are for; a command names what it takes.
var sieveTags = map[string][]sieveTag{
	"match": {{"is", "", 0, "match"}, {"contains", "", 0, "match"}, {"matches", "", 0, "match"}, {"regex", "regex", 0, "match"},
		{"count", "relational", 's', "match"}, {"value", "relational", 's', "match"}, {"comparator", "", 's', ""}},
	"part": {{"all", "", 0, "part"}, {"localpart", "", 0, "part"}, {"domain", "", 0, "part"},
		{"user", "subaddress", 0, "part"}, {"detail", "subaddress", 0, "part"}},
	"index": {{"index", "index", 'n', ""}, {"last", "index", 0, ""}},
	"mime":  {{"mime", "mime", 0, ""}, {"anychild", "mime", 0, ""}},
	"mimepart": {{"type", "mime", 0, "mimepart"}, {"subtype", "mime", 0, "mimepart"}, {"contenttype", "mime", 0, "mimepart"},
		{"param", "mime", 'S', "mimepart"}},
	"size":    {{"over", "", 0, "size"}, {"under", "", 0, "size"}},
	"copy":    {{"copy", "copy", 0, ""}},
	"flags":   {{"flags", "imap4flags", 'S', ""}},
	"mailbox": {{"create", "mailbox", 0, ""}, {"specialuse", "special-use", 's', ""}, {"mailboxid", "mailboxid", 's', ""}},
	"body":    {{"raw", "", 0, "transform"}, {"text", "", 0, "transform"}, {"content", "", 'S', "transform"}},
	"zone":    {{"zone", "", 's', "zone"}},
	"orig":    {{"originalzone", "", 0, "zone"}},
	"last":    {{"last", "", 0, ""}},
	"indexed": {{"index", "", 'n', ""}, {"last", "", 0, ""}},
	"vacation": {{"days", "", 'n', "days"}, {"seconds", "vacation-seconds", 'n', "days"}, {"subject", "", 's', ""}, {"from", "", 's', ""},
		{"addresses", "", 'S', ""}, {"mime", "", 0, ""}, {"handle", "", 's', ""}},
	"set": {{"lower", "", 0, "40"}, {"upper", "", 0, "40"}, {"lowerfirst", "", 0, "30"}, {"upperfirst", "", 0, "30"},
		{"quotewildcard", "", 0, "20"}, {"quoteregex", "regex", 0, "20"}, {"encodeurl", "enotify", 0, "15"}, {"length", "", 0, "10"}},
	"duplicate": {{"handle", "", 's', ""}, {"header", "", 's', "id"}, {"uniqueid", "", 's', "id"}, {"seconds", "", 'n', ""}, {"last", "", 0, ""}},
	"notify":    {{"from", "", 's', ""}, {"importance", "", 's', ""}, {"options", "", 'S', ""}, {"message", "", 's', ""}},
	"include":   {{"personal", "", 0, "where"}, {"global", "", 0, "where"}, {"once", "", 0, ""}, {"optional", "", 0, ""}},
	"name":      {{"name", "", 's', ""}},
	"first":     {{"first", "", 'n', ""}},
	"replace":   {{"mime", "", 0, ""}, {"subject", "", 's', ""}, {"from", "", 's', ""}},
	"enclose":   {{"subject", "", 's', ""}, {"headers", "", 'S', ""}},
}

// sieveCommand is a row of the tables of commands and tests.
type sieveCommand struct {
	ext   string   // what has to be required, more than one with blanks between
	tags  []string // of sieveTags
	more  []sieveTag
	forms []string // what follows the tags: s a string, S one or more, n a number; the first that fits
	tests int      // 1 takes a test, 2 some in parentheses
	block bool
	check func(*sieveCompiler, *sieveNode)
	run   func(*sieveRun, *sieveNode) error
	ask   func(*sieveRun, *sieveNode) (bool, error)
}

// sieveCommands is every command there is.
var sieveCommands = map[string]sieveCommand{
	"require": {forms: []string{"S"}, check: (*sieveCompiler).checkRequire},
	"if":      {tests: 1, block: true, run: (*sieveRun).runIf},
	"elsif":   {tests: 1, block: true, check: (*sieveCompiler).checkElse, run: (*sieveRun).runIf},
	"else":    {block: true, check: (*sieveCompiler).checkElse, run: (*sieveRun).runBlock},
	"stop":    {run: (*sieveRun).runStop},

	"keep":     {tags: []string{"flags"}, run: (*sieveRun).runKeep},
	"discard":  {run: (*sieveRun).runDiscard},
	"fileinto": {ext: "fileinto", tags: []string{"copy", "flags", "mailbox"}, forms: []string{"s"}, check: (*sieveCompiler).checkMailbox, run: (*sieveRun).runFileinto},
	"redirect": {tags: []string{"copy"}, forms: []string{"s"}, check: (*sieveCompiler).checkAddress, run: (*sieveRun).runRedirect},
	"reject":   {ext: "reject", forms: []string{"s"}, run: (*sieveRun).runReject},
	"ereject":  {ext: "ereject", forms: []string{"s"}, run: (*sieveRun).runReject},
	"vacation": {ext: "vacation", tags: []string{"vacation"}, forms: []string{"s"}, check: (*sieveCompiler).checkVacation, run: (*sieveRun).runVacation},
	"notify":   {ext: "enotify", tags: []string{"notify"}, forms: []string{"s"}, check: (*sieveCompiler).checkNotify, run: (*sieveRun).runNotify},

	"set":        {ext: "variables", tags: []string{"set"}, forms: []string{"ss"}, check: (*sieveCompiler).checkVariable, run: (*sieveRun).runSet},
	"setflag":    {ext: "imap4flags", forms: []string{"S", "sS"}, check: (*sieveCompiler).checkFlags, run: (*sieveRun).runFlags},
	"addflag":    {ext: "imap4flags", forms: []string{"S", "sS"}, check: (*sieveCompiler).checkFlags, run: (*sieveRun).runFlags},
	"removeflag": {ext: "imap4flags", forms: []string{"S", "sS"}, check: (*sieveCompiler).checkFlags, run: (*sieveRun).runFlags},

	"addheader":    {ext: "editheader", tags: []string{"last"}, forms: []string{"ss"}, check: (*sieveCompiler).checkHeader, run: (*sieveRun).runAddHeader},
	"deleteheader": {ext: "editheader", tags: []string{"indexed", "match"}, forms: []string{"s", "sS"}, check: (*sieveCompiler).checkHeader, run: (*sieveRun).runDeleteHeader},

	"include": {ext: "include", tags: []string{"include"}, forms: []string{"s"}, check: (*sieveCompiler).checkInclude, run: (*sieveRun).runInclude},
	"return":  {ext: "include", run: (*sieveRun).runReturn},
	"global":  {ext: "include variables", forms: []string{"S"}, check: (*sieveCompiler).checkGlobal, run: (*sieveRun).runGlobal},
	"error":   {ext: "ihave", forms: []string{"s"}, run: (*sieveRun).runError},

	"foreverypart": {ext: "foreverypart", tags: []string{"name"}, block: true, run: (*sieveRun).runForEvery},
	"break":        {ext: "foreverypart", tags: []string{"name"}, check: (*sieveCompiler).checkBreak, run: (*sieveRun).runBreak},
	"extracttext":  {ext: "extracttext variables", tags: []string{"set", "first"}, forms: []string{"s"}, check: (*sieveCompiler).checkExtract, run: (*sieveRun).runExtract},
	"replace":      {ext: "replace", tags: []string{"replace"}, forms: []string{"s"}, run: (*sieveRun).runReplace},
	"enclose":      {ext: "enclose", tags: []string{"enclose"}, forms: []string{"s"}, run: (*sieveRun).runEnclose},
}

// sieveTests is every test there is.
var sieveTests = map[string]sieveCommand{
	"true":  {ask: (*sieveRun).askTrue},
	"false": {ask: (*sieveRun).askFalse},
	"not":   {tests: 1, ask: (*sieveRun).askNot},
	"allof": {tests: 2, ask: (*sieveRun).askAll},
	"anyof": {tests: 2, ask: (*sieveRun).askAny},

	"size":     {tags: []string{"size"}, forms: []string{"n"}, check: (*sieveCompiler).checkSize, ask: (*sieveRun).askSize},
	"exists":   {tags: []string{"mime"}, forms: []string{"S"}, check: (*sieveCompiler).checkFields, ask: (*sieveRun).askExists},
	"header":   {tags: []string{"match", "index", "mime", "mimepart"}, forms: []string{"SS"}, check: (*sieveCompiler).checkFields, ask: (*sieveRun).askHeader},
	"address":  {tags: []string{"match", "part", "index", "mime"}, forms: []string{"SS"}, check: (*sieveCompiler).checkAddressFields, ask: (*sieveRun).askAddress},
	"envelope": {ext: "envelope", tags: []string{"match", "part"}, forms: []string{"SS"}, check: (*sieveCompiler).checkEnvelope, ask: (*sieveRun).askEnvelope},
	"body":     {ext: "body", tags: []string{"match", "body"}, forms: []string{"S"}, ask: (*sieveRun).askBody},

	"string":  {ext: "variables", tags: []string{"match"}, forms: []string{"SS"}, ask: (*sieveRun).askString},
	"hasflag": {ext: "imap4flags", tags: []string{"match"}, forms: []string{"S", "SS"}, check: (*sieveCompiler).checkFlags, ask: (*sieveRun).askFlag},

	"date":        {ext: "date", tags: []string{"zone", "orig", "match", "index"}, forms: []string{"ssS"}, check: (*sieveCompiler).checkDate, ask: (*sieveRun).askDate},
	"currentdate": {ext: "date", tags: []string{"zone", "match"}, forms: []string{"sS"}, check: (*sieveCompiler).checkDate, ask: (*sieveRun).askCurrentDate},
	"environment": {ext: "environment", tags: []string{"match"}, forms: []string{"sS"}, ask: (*sieveRun).askEnvironment},
	"duplicate":   {ext: "duplicate", tags: []string{"duplicate"}, ask: (*sieveRun).askDuplicate},
	"ihave":       {ext: "ihave", forms: []string{"S"}, check: (*sieveCompiler).checkHave, ask: (*sieveRun).askHave},

	"mailboxexists":        {ext: "mailbox", forms: []string{"S"}, ask: (*sieveRun).askMailbox},
	"mailboxidexists":      {ext: "mailboxid", forms: []string{"S"}, ask: (*sieveRun).askMailbox},
	"specialuse_exists":    {ext: "special-use", forms: []string{"S", "sS"}, ask: (*sieveRun).askSpecial},
	"metadata":             {ext: "mboxmetadata", tags: []string{"match"}, forms: []string{"ssS"}, ask: (*sieveRun).askMetadata},
	"metadataexists":       {ext: "mboxmetadata", forms: []string{"sS"}, ask: (*sieveRun).askMetadata},
	"servermetadata":       {ext: "servermetadata", tags: []string{"match"}, forms: []string{"sS"}, ask: (*sieveRun).askMetadata},
	"servermetadataexists": {ext: "servermetadata", forms: []string{"S"}, ask: (*sieveRun).askMetadata},

	"valid_notify_method":      {ext: "enotify", forms: []string{"S"}, ask: (*sieveRun).askNotifyMethod},
	"notify_method_capability": {ext: "enotify", tags: []string{"match"}, forms: []string{"ssS"}, ask: (*sieveRun).askNotifyCapability},
}

// sieveFault is what is wrong with a script, and where.
type sieveFault struct {
	sievePos
	text string
}

func (f *sieveFault) Error() string {
	if f.line == 0 {
		return f.text
	}
	return fmt.Sprintf("line %d, column %d: %s", f.line, f.col, f.text)
}

// sieveScript is a script that was checked. Nothing changes it any more: any number of deliveries may run it at once.
type sieveScript struct {
	name  string
	nodes []*sieveNode
	needs map[string]bool
}

// sieveMaxFaults is how many faults of one script are told.
const sieveMaxFaults = 50

// sieveCompiler checks one script.
type sieveCompiler struct {
	extra   map[string]sieveCommand // commands and tests of the testsuite
	needs   map[string]bool
	globals map[string]bool
	faults  []*sieveFault
	begun   bool // a command other than require has come
	prev    string
	missing string   // what an ihave test around has asked for in vain
	loops   []string // names of the foreverypart around
}

// sieveCompile checks a script. With faults there is no script; at most sieveMaxFaults are told. What a script includes is checked
// when it is run. Its time is linear in the source.
func sieveCompile(source string) (*sieveScript, []*sieveFault) {
	return sieveCompileWith(source, nil)
}

// sieveCompileWith knows extra commands and tests, too.
func sieveCompileWith(source string, extra map[string]sieveCommand) (*sieveScript, []*sieveFault) {
	nodes, fault := sieveParse(source)
	if fault != nil {
		return nil, []*sieveFault{fault}
	}
	c := &sieveCompiler{extra: extra, needs: map[string]bool{}, globals: map[string]bool{}}
	c.commands(nodes)
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return &sieveScript{nodes: nodes, needs: c.needs}, nil
}

func (c *sieveCompiler) fault(p sievePos, format string, a ...any) {
	if len(c.faults) < sieveMaxFaults {
		c.faults = append(c.faults, &sieveFault{p, fmt.Sprintf(format, a...)})
	}
}

// has says whether everything is required that a row names.
func (c *sieveCompiler) has(ext string) bool {
	for e := range strings.FieldsSeq(ext) {
		if !c.needs[e] {
			return false
		}
	}
	return true
}

func (c *sieveCompiler) commands(nodes []*sieveNode) {
	c.prev = ""
	for _, n := range nodes {
		cmd, ok := sieveCommands[n.name]
		if !ok {
			cmd, ok = c.extra[n.name]
		}
		_, isTest := sieveTests[n.name]
		switch {
		case !ok && isTest:
			c.fault(n.sievePos, "%s is a test, and can't be a command", n.name)
		case !ok:
			c.fault(n.sievePos, "unknown command %s", sieveQuote(n.name))
		default:
			c.command(n, &cmd)
		}
		c.begun = c.begun || n.name != "require"
		c.prev = n.name
	}
}

// command checks a command with its tests and its block.
func (c *sieveCompiler) command(n *sieveNode, cmd *sieveCommand) {
	had, missing := len(c.faults), c.missing
	c.missing = ""
	c.shape(n, cmd, "command")
	switch {
	case cmd.block && !n.body:
		c.fault(n.sievePos, "%s needs a block", n.name)
	case !cmd.block && n.body:
		c.fault(n.sievePos, "%s takes no block", n.name)
	}
	if n.name == "foreverypart" {
		c.loops = append(c.loops, n.nameOf())
	}
	prev := c.prev
	c.commands(n.block)
	c.prev = prev
	if n.name == "foreverypart" {
		c.loops = c.loops[:len(c.loops)-1]
	}
	if c.missing != "" && len(c.faults) > had { // RFC 5463 §4: what follows the test need not make sense
		c.faults = c.faults[:had]
		n.wrong = c.missing
	}
	c.missing = missing
}

// checkHave takes what an ihave test asks for as if it were required, as far as it is there.
func (c *sieveCompiler) checkHave(n *sieveNode) {
	for _, s := range n.pos[0].strs {
		if s.text == "variables" || s.text == "encoded-character" { // RFC 5463 §4: they change what strings mean
			c.fault(s.sievePos, "%s must be required at the top", s.text)
		}
		if !c.require(s.text) {
			c.missing = s.text
		}
	}
}

func (c *sieveCompiler) require(ext string) bool {
	ok := sieveKnows(ext) || (c.extra != nil && strings.HasPrefix(ext, "vnd.dovecot.testsuite"))
	if ok {
		c.needs[ext] = true
	}
	if ext == "vacation-seconds" { // RFC 6131 §2
		c.needs["vacation"] = true
	}
	return ok
}

func sieveKnows(ext string) bool {
	return slices.ContainsFunc(sieveExtensions, func(x sieveExtension) bool { return x.name == ext })
}

func (c *sieveCompiler) test(n *sieveNode) {
	cmd, ok := sieveTests[n.name]
	if !ok {
		cmd, ok = c.extra[n.name]
	}
	_, isCommand := sieveCommands[n.name]
	switch {
	case !ok && isCommand:
		c.fault(n.sievePos, "%s is a command, and can't be a test", n.name)
	case !ok:
		c.fault(n.sievePos, "unknown test %s", sieveQuote(n.name))
	default:
		c.shape(n, &cmd, "test")
	}
}

// shape checks what stands behind a command or test against its row. It says whether there was a row to check against.
func (c *sieveCompiler) shape(n *sieveNode, cmd *sieveCommand, what string) bool {
	if cmd.ext != "" && !c.has(cmd.ext) {
		c.fault(n.sievePos, "the %s %s needs require %s", what, n.name, sieveQuote(cmd.ext))
		return false
	}
	n.cmd = cmd
	before := len(c.faults)
	c.arguments(n, cmd)
	switch {
	case cmd.tests == 0 && len(n.tests) > 0:
		c.fault(n.sievePos, "%s takes no tests", n.name)
	case cmd.tests > 0 && len(n.tests) == 0:
		c.fault(n.sievePos, "%s needs a test", n.name)
	case cmd.tests == 1 && (len(n.tests) > 1 || n.paren):
		c.fault(n.sievePos, "%s takes one test", n.name)
	case cmd.tests == 2 && !n.paren:
		c.fault(n.sievePos, "%s takes its tests in parentheses", n.name)
	}
	for _, t := range n.tests {
		c.test(t)
	}
	if len(c.faults) > before {
		return true
	}
	if slices.Contains(cmd.tags, "match") {
		c.checkMatch(n)
	}
	if cmd.check != nil {
		cmd.check(c, n)
	}
	return true
}

// arguments sorts tags from the others, and sees that they are what the row wants.
func (c *sieveCompiler) arguments(n *sieveNode, cmd *sieveCommand) {
	sets, had := map[string]string{}, len(c.faults)
	for i := 0; i < len(n.args); i++ {
		a := &n.args[i]
		for j := range a.strs {
			c.pieces(&a.strs[j])
		}
		a.constant()
		if a.kind != sieveTagArg {
			n.pos = append(n.pos, a)
			continue
		}
		tag, ok := cmd.tag(a.tag)
		switch {
		case !ok:
			c.fault(a.sievePos, "unknown tag :%s for %s", a.tag, n.name)
			continue
		case tag.ext != "" && !c.has(tag.ext):
			c.fault(a.sievePos, "the tag :%s needs require %s", a.tag, sieveQuote(tag.ext))
		case n.tags[a.tag] != nil:
			c.fault(a.sievePos, "the tag :%s stands here twice", a.tag)
		case tag.set != "" && sets[tag.set] != "":
			c.fault(a.sievePos, "the tags :%s and :%s exclude each other", sets[tag.set], a.tag)
		}
		sets[tag.set] = a.tag
		if n.tags == nil {
			n.tags = map[string]*sieveArg{}
		}
		n.tags[a.tag] = a
		if tag.value == 0 {
			continue
		}
		if i+1 == len(n.args) || !n.args[i+1].fits(tag.value) {
			c.fault(a.sievePos, "the tag :%s needs %s behind it", a.tag, sieveKindNames[tag.value])
			continue
		}
		i++
		v := &n.args[i]
		for j := range v.strs {
			c.pieces(&v.strs[j])
		}
		v.constant()
		n.tags[a.tag] = v
	}
	if len(c.faults) == had && !c.fitsForm(n, cmd) { // what follows a tag that is wrong would be told twice
		forms := make([]string, 0, 2)
		for _, f := range cmd.forms {
			forms = append(forms, sieveFormWords(f))
		}
		if len(forms) == 0 {
			forms = append(forms, "nothing")
		}
		c.fault(n.sievePos, "%s takes %s, and not %s", n.name, strings.Join(forms, " or "), sieveFormWords(n.given()))
	}
}

func (c *sieveCompiler) fitsForm(n *sieveNode, cmd *sieveCommand) bool {
	if len(cmd.forms) == 0 {
		return len(n.pos) == 0
	}
	return slices.ContainsFunc(cmd.forms, func(f string) bool {
		if len(f) != len(n.pos) {
			return false
		}
		for i, a := range n.pos {
			if !a.fits(sieveKind(f[i])) {
				return false
			}
		}
		return true
	})
}

// tag finds one of the row's tags.
func (cmd *sieveCommand) tag(name string) (sieveTag, bool) {
	for _, t := range cmd.more {
		if t.name == name {
			return t, true
		}
	}
	for _, group := range cmd.tags {
		for _, t := range sieveTags[group] {
			if t.name == name {
				return t, true
			}
		}
	}
	return sieveTag{}, false
}

var sieveKindNames = map[sieveKind]string{sieveNumArg: "a number", sieveStrArg: "a string", sieveListArg: "a list of strings", sieveTagArg: "a tag"}

func sieveFormWords(form string) string {
	if form == "" {
		return "nothing"
	}
	var all []string
	for i := range len(form) {
		all = append(all, sieveKindNames[sieveKind(form[i])])
	}
	return strings.Join(all, " and ")
}

// given is what stands there, as a form.
func (n *sieveNode) given() string {
	var b strings.Builder
	for _, a := range n.pos {
		b.WriteByte(byte(a.kind))
	}
	return b.String()
}

func (a *sieveArg) fits(want sieveKind) bool {
	return a.kind == want || (want == sieveListArg && a.kind == sieveStrArg)
}

// constant fills consts if no string of the argument has a variable in it.
func (a *sieveArg) constant() {
	if a.kind != sieveStrArg && a.kind != sieveListArg {
		return
	}
	all := make([]string, 0, len(a.strs))
	for i := range a.strs {
		if a.strs[i].parts != nil {
			return
		}
		all = append(all, a.strs[i].text)
	}
	a.consts = all
}

// nameOf is the value of :name, "" without.
func (n *sieveNode) nameOf() string {
	a := n.tags["name"]
	if a == nil || len(a.consts) != 1 {
		return ""
	}
	return a.consts[0]
}

// checkRequire takes what a script requires (RFC 5228 §3.2).
func (c *sieveCompiler) checkRequire(n *sieveNode) {
	if c.begun {
		c.fault(n.sievePos, "require must stand before all other commands")
	}
	for _, s := range n.pos[0].strs {
		if !c.require(s.text) {
			c.fault(s.sievePos, "there is no extension %s here", sieveQuote(s.text))
		}
	}
}

func (c *sieveCompiler) checkElse(n *sieveNode) {
	if c.prev != "if" && c.prev != "elsif" {
		c.fault(n.sievePos, "%s must follow if or elsif", n.name)
	}
}

func (c *sieveCompiler) checkSize(n *sieveNode) {
	if len(n.tags) == 0 {
		c.fault(n.sievePos, "size needs :over or :under")
	}
}

// checkFields sees that :mime stands where its options do. What can't be the name of a field is one that no mail has (RFC 5228 §2.4.2.2).
func (c *sieveCompiler) checkFields(n *sieveNode) {
	if n.tags["mime"] != nil {
		return
	}
	for _, t := range []string{"anychild", "type", "subtype", "contenttype", "param"} {
		if n.tags[t] != nil {
			c.fault(n.sievePos, "the tag :%s needs :mime", t)
		}
	}
	if n.tags["last"] != nil && n.tags["index"] == nil {
		c.fault(n.sievePos, "the tag :last needs :index")
	}
}

// sieveAddressFields are the fields with addresses in them (RFC 5228 §5.1 and those that others have defined).
var sieveAddressFields = []string{"from", "to", "cc", "bcc", "sender", "reply-to", "resent-from", "resent-to", "resent-cc", "resent-bcc",
	"resent-sender", "resent-reply-to", "return-path", "delivered-to", "x-original-to", "x-envelope-to", "disposition-notification-to", "mail-followup-to",
	"mail-reply-to", "errors-to", "envelope-to", "apparently-to", "return-receipt-to", "x-delivered-to", "envelope-from", "x-envelope-from"}

func (c *sieveCompiler) checkAddressFields(n *sieveNode) {
	c.checkFields(n)
	for _, s := range n.pos[0].strs {
		if s.parts == nil && !slices.Contains(sieveAddressFields, strings.ToLower(s.text)) {
			c.fault(s.sievePos, "%s is no header field with addresses", sieveQuote(s.text))
		}
	}
}

func (c *sieveCompiler) checkEnvelope(n *sieveNode) {
	for _, s := range n.pos[0].strs {
		if s.parts == nil && !slices.Contains([]string{"from", "to", "auth", "orig_recipient"}, strings.ToLower(s.text)) {
			c.fault(s.sievePos, "there is no part %s of the envelope", sieveQuote(s.text))
		}
	}
}

func (c *sieveCompiler) checkMailbox(n *sieveNode) {
	s := n.pos[0].strs[0]
	if s.parts == nil {
		if err := checkSieveMailbox(s.text); err != "" {
			c.fault(s.sievePos, "%s", err)
		}
	}
}

func (c *sieveCompiler) checkAddress(n *sieveNode) {
	s := n.pos[0].strs[0]
	if s.parts == nil {
		if _, err := sieveAddress(s.text); err != nil {
			c.fault(s.sievePos, "%s is no mail address: %v", sieveQuote(s.text), err)
		}
	}
}

func (c *sieveCompiler) checkBreak(n *sieveNode) {
	name := n.nameOf()
	if len(c.loops) == 0 || (name != "" && !slices.Contains(c.loops, name)) {
		c.fault(n.sievePos, "break stands in no such foreverypart")
	}
}

// sieveQuote is a text as it stands in a message for people: short, on one line.
func sieveQuote(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	return `"` + clip(s) + `"`
}

// sieveAddress reads an address that a script names: alone, or with a name in front of it.
func sieveAddress(s string) (Addr, error) {
	list := ParseAddressList(s)
	if len(list) != 1 || strings.ContainsAny(s, "\r\n") {
		return Addr{}, fmt.Errorf("one address is wanted")
	}
	if list[0].Domain == missingDomain || list[0].Local == missingLocal {
		return Addr{}, fmt.Errorf("it has no @")
	}
	return list[0].Addr()
}

// checkSieveMailbox says what is wrong with a mailbox's name, "" if nothing.
func checkSieveMailbox(name string) string {
	switch {
	case name == "":
		return "the mailbox has no name"
	case len(name) > 1000 || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "no mailbox can have this name"
	}
	return ""
}
