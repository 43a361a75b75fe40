// The rule for passwords that people choose, the same wherever one is set.
package main

import (
	_ "embed"
	"strings"
	"unicode/utf8"
)

const (
	passwordLeast     = 8 // characters on the pages
	passwordLeastVerb = 6 // by verb: whoever has the machine makes accounts for tests and devices, too
)

// worstPasswords are those that are tried first, a line each.
//
//go:embed auth_worst.txt
var worstPasswords string

// PasswordFault says what is wrong with a password for an address, as a key of the pages' words, or "" if it may be taken. least is
// how many characters it needs.
func PasswordFault(password string, addr Addr, least int) string {
	plain := strings.ToLower(strings.TrimSpace(password))
	switch {
	case utf8.RuneCountInString(password) < least:
		return "The password needs at least 8 characters."
	case plain == "":
		return "Blanks alone are no password."
	case plain == addr.Key() || plain == strings.ToLower(addr.Local) || plain == addr.Domain:
		return "The address is no password."
	case strings.Contains(worstPasswords, "\n"+plain+"\n"):
		return "This password is one of those that are guessed first. Choose another one."
	}
	return ""
}
