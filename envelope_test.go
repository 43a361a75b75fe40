package main

import (
	"strings"
	"testing"
)

func TestXtext(t *testing.T) {
	for x, want := range map[string]string{"": "", "a": "a", "a+2Bb+3Dc": "a+b=c", "+00+FF": "\x00\xff", "Ann+20+C3+96+20<x>": "Ann Ö <x>"} {
		if got, ok := decodeXtext(x); !ok || got != want {
			t.Errorf("%q is %q", x, got)
		}
	}
	for _, s := range []string{"a=b", "+", "+2", "+ZZ", "a b", "ö"} {
		if got, ok := decodeXtext(s); ok {
			t.Errorf("%q is %q", s, got)
		}
	}
}

func TestORcpt(t *testing.T) {
	for s, want := range map[string]bool{
		"rfc822;ann@home.arpa": true, "rfc822;a+2Bb@x": true, "utf-8;用户@example.com": true, "x400;/c=us/": false,
		"rfc822": false, ";x": false, "rfc822;": false, "rfc822;用户@x": false, "utf-8;\xff": false, "a b;c": false,
		"rfc822;" + strings.Repeat("x", maxORcpt): false,
	} {
		if checkORcpt(s) != want {
			t.Errorf("%q: %v", s, !want)
		}
	}
}
