// What Sieve asks about beside the mail: mailboxes and their annotations, the environment, earlier mail, other scripts.
package main

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	sieveMaxIncludes = 10 // scripts within scripts
	sieveDay         = 24 * 60 * 60
	sieveMaxSeconds  = 400 * sieveDay // that something is remembered
)

// askMailbox says whether all of the mailboxes are there (RFC 5490 §3.1), or all of the IDs (RFC 9042 §4.2).
func (r *sieveRun) askMailbox(n *sieveNode) (bool, error) {
	ask := r.world.mailbox
	if n.name == "mailboxidexists" {
		ask = r.world.mailboxID
	}
	for _, name := range r.strings(n.pos[0]) {
		err := r.spend(20_000)
		if err != nil {
			return false, err
		}
		if ask == nil || checkSieveMailbox(name) != "" || !ask(name) {
			return false, nil
		}
	}
	return true, nil
}

// askSpecial says whether there are mailboxes with those uses, or whether one has them (RFC 8579 §4).
func (r *sieveRun) askSpecial(n *sieveNode) (bool, error) {
	mailbox := ""
	if len(n.pos) == 2 {
		mailbox = r.str(n.pos[0])
	}
	for _, use := range r.strings(n.pos[len(n.pos)-1]) {
		err := r.spend(20_000)
		if err != nil {
			return false, err
		}
		if r.world.special == nil || !r.world.special(mailbox, use) {
			return false, nil
		}
	}
	return true, nil
}

// askMetadata compares an annotation of a mailbox or of the server, or says whether all are there (RFC 5490 §3.3 to §3.6, §4).
func (r *sieveRun) askMetadata(n *sieveNode) (bool, error) {
	get := func(mailbox, entry string) (string, bool) {
		if r.world.metadata == nil {
			return "", false
		}
		return r.world.metadata(mailbox, entry)
	}
	server, exists := strings.HasPrefix(n.name, "server"), strings.HasSuffix(n.name, "exists")
	mailbox, rest := "", n.pos
	if !server {
		mailbox, rest = r.str(n.pos[0]), n.pos[1:]
		if mailbox == "" {
			return false, nil
		}
	}
	for _, entry := range r.strings(rest[0]) {
		err := r.spend(20_000)
		if err != nil {
			return false, err
		}
		value, ok := get(mailbox, entry)
		switch {
		case !ok:
			return false, nil
		case !exists:
			return r.matches(n, []string{value})
		}
	}
	return true, nil
}

// askEnvironment compares an item of RFC 5183; one that is not known matches nothing.
func (r *sieveRun) askEnvironment(n *sieveNode) (bool, error) {
	if r.world.environment == nil {
		return false, nil
	}
	v, ok := r.world.environment(strings.ToLower(r.str(n.pos[0])))
	if !ok {
		return false, nil
	}
	return r.matches(n, []string{v})
}

// askDuplicate says whether a mail like this one has been here (RFC 7352 §3). That it was is remembered when it is delivered.
func (r *sieveRun) askDuplicate(n *sieveNode) (bool, error) {
	id := ""
	switch {
	case n.tags["uniqueid"] != nil:
		id = r.str(n.tags["uniqueid"])
	default:
		name := "message-id"
		if a := n.tags["header"]; a != nil {
			name = r.str(a)
		}
		values, err := r.decoded(r.mail.tree, name)
		if err != nil {
			return false, err
		}
		if len(values) > 0 {
			id = values[0]
		}
	}
	seconds := int64(7 * sieveDay)
	if a := n.tags["seconds"]; a != nil {
		seconds = min(a.num, sieveMaxSeconds)
	}
	if id == "" {
		return false, nil
	}
	kind := "id"
	if n.tags["uniqueid"] == nil {
		kind = "header"
	}
	key := sieveKey("duplicate", r.str(n.tags["handle"]), kind, id)
	for _, m := range r.out.memories { // asked before for the same mail, which is no duplicate of itself
		if m.key == key {
			return false, nil
		}
	}
	err := r.spend(20_000)
	if err != nil {
		return false, err
	}
	seen := r.world.seen != nil && r.world.seen(key)
	if len(r.out.memories) < sieveMaxActions && (!seen || n.tags["last"] != nil) {
		r.out.memories = append(r.out.memories, sieveMemory{key, seconds})
	}
	return seen, nil
}

// sieveKey is a short name for what is remembered.
func sieveKey(words ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(words, "\x00")))
	return words[0] + " " + base64.RawURLEncoding.EncodeToString(sum[:15])
}

// checkInclude sees that a name can be a script's (RFC 5804 §1.6).
func (c *sieveCompiler) checkInclude(n *sieveNode) {
	if s := n.pos[0].strs[0]; s.parts == nil && !sieveIsScriptName(s.text) {
		c.fault(s.sievePos, "%s can't be the name of a script", sieveQuote(s.text))
	}
}

// sieveIsScriptName knows names that scripts may have: no control characters, no slashes, no line ends of any kind.
func sieveIsScriptName(name string) bool {
	return name != "" && len(name) <= maxScriptName && utf8.ValidString(name) && !strings.ContainsFunc(name, func(c rune) bool {
		return c < ' ' || (c >= 0x7f && c <= 0x9f) || c == '\u2028' || c == '\u2029' || c == '/'
	})
}

// checkGlobal sees that global names variables (RFC 6609 §3.4.1).
func (c *sieveCompiler) checkGlobal(n *sieveNode) {
	for _, s := range n.pos[0].strs {
		if s.parts != nil || !sieveIsIdentifier(s.text) {
			c.fault(s.sievePos, "%s can't be the name of a variable", sieveQuote(s.text))
		}
	}
}

func (r *sieveRun) runGlobal(n *sieveNode) error {
	for _, name := range r.strings(n.pos[0]) {
		if len(r.shared) < sieveMaxVariables {
			r.shared[strings.ToLower(name)] = true
		}
	}
	return nil
}

func (r *sieveRun) runReturn(*sieveNode) error { return errSieveReturn }

// runInclude runs another script in the place of this command (RFC 6609 §3.2): with variables of its own, but those that are global.
func (r *sieveRun) runInclude(n *sieveNode) error {
	name := r.str(n.pos[0])
	if r.depth >= sieveMaxIncludes {
		return &sieveFault{n.sievePos, "too many scripts include each other"}
	}
	err := r.spend(50_000)
	if err != nil {
		return err
	}
	var script *sieveScript
	key := fmt.Sprint(n.tags["global"] != nil, name)
	err = ErrNotFound
	if r.world.script != nil {
		script, err = r.world.script(n.tags["global"] != nil, name)
	}
	var fault *sieveFault
	switch {
	case errors.Is(err, ErrNotFound) && n.tags["optional"] != nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return &sieveFault{n.sievePos, "there is no script " + sieveQuote(name)}
	case errors.As(err, &fault):
		return &sieveFault{n.sievePos, "in the script " + sieveQuote(name) + ", " + fault.Error()}
	case err != nil:
		return err
	case r.once[key] && n.tags["once"] != nil:
		return nil
	}
	r.once[key] = true
	return r.included(script, n)
}

func (r *sieveRun) included(script *sieveScript, n *sieveNode) error {
	outer, vars, shared, match := r.script, r.vars, r.shared, r.match
	r.script, r.vars, r.shared, r.match = script, map[string]string{}, map[string]bool{}, nil
	r.depth++
	err := r.nodes(script.nodes)
	r.depth--
	r.script, r.vars, r.shared, r.match = outer, vars, shared, match
	if errors.Is(err, errSieveReturn) {
		return nil
	}
	var fault *sieveFault
	if errors.As(err, &fault) && fault.line > 0 {
		return &sieveFault{n.sievePos, "in the included script, " + fault.Error()}
	}
	return err
}
