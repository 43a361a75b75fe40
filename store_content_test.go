package main

import (
	"strings"
	"sync/atomic"
	"testing"
)

// TestContentFault: a fault in reading ahead ends that reading with an error, and the next one has every octet.
func TestContentFault(t *testing.T) {
	var fallen atomic.Bool
	st := openTestStore(t, StoreOptions{Inject: func(name string) {
		if name == "content" && fallen.CompareAndSwap(false, true) {
			panic("injected")
		}
	}})
	_, inbox := addTestUser(t, st, "ann")
	text := "Subject: x\r\n\r\n" + strings.Repeat("some words of a long text\r\n", 8*chunkSize/27)
	m := appendText(t, st, inbox, text, Flags{})
	readAll := func() (string, error) {
		c, err := st.Content(m.Blob)
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		err = c.Each(0, c.Size, func(p []byte) error {
			b.Write(p)
			return nil
		})
		return b.String(), err
	}
	got, err := readAll()
	if err == nil || !strings.HasPrefix(text, got) {
		t.Errorf("%d octets and %v", len(got), err)
	}
	got, err = readAll()
	if err != nil || got != text {
		t.Errorf("afterwards: %d octets of %d and %v", len(got), len(text), err)
	}
	if faults := st.crew.Faults(); len(faults) != 1 || faults[0].Name != "content" {
		t.Errorf("noted: %+v", faults)
	}
}
