package main

import (
	"errors"
	"strings"
	"testing"
)

// TestWebMasks gives masked addresses away, answers from one, switches it off and forgets it: mail comes while it is on, nobody else
// gets or uses the address, and nothing that goes out names its person.
func TestWebMasks(t *testing.T) {
	s := startServer(t)
	s.write(t, func(tx *Tx) error { return tx.AddAlias("@home.arpa", "bob@home.arpa") }) // gets what nobody has
	ann := newWebClient(t, s).login("ann")
	ann.get("/settings/masks")
	ann.post("/settings/masks", "do", "make", "label", " ")
	ann.want("Say what the address is for.")
	ann.post("/settings/masks", "do", "make", "label", "Shop <x>")
	mask := ann.find(`name="address" value="([a-z][a-z0-9]{7}@home\.arpa)"`)
	ann.want(mask+" is yours now.", "Shop &lt;x&gt;")

	k := s.talk(t, "smtp")
	rcpt := func(code int) {
		t.Helper()
		k.cmd("EHLO shop.example", 250)
		k.cmd("MAIL FROM:<shop@example.org>", 250)
		k.cmd("RCPT TO:<"+mask+">", code)
		k.cmd("RCPT TO:<"+strings.Replace(mask, "@", "+more@", 1)+">", code)
		k.cmd("RSET", 250)
	}
	rcpt(250)
	s.mail(t, "shop@example.org", mask, "From: shop@example.org\nTo: "+mask+"\nSubject: order\n\nthanks\n")
	if n, _ := s.in(t, "ann", "INBOX"); n != 1 {
		t.Fatalf("%d messages for the person", n)
	}

	ann.get("/mail")
	ann.get("/compose?reply=" + ann.find(`name="m" value="([0-9.]+)"`))
	ann.want(`<option value="` + mask + `" selected>` + mask + `</option>`)
	s.hurry(t)
	ann.letter(nil, "from", mask, "to", "bob", "subject", "Re: order", "text", "fine", "do", "send")
	waitFor(t, "the letter", func() bool { return len(s.inbox(t, "bob@home.arpa")) == 1 })
	if got := s.inbox(t, "bob@home.arpa")[0]; strings.Contains(got, "ann") || !strings.Contains(got, "From: "+mask) {
		t.Errorf("what was written under the mask:\n%s", got)
	}

	bob := newWebClient(t, s).login("bob")
	bob.get("/settings")
	bob.post("/settings/identities", "name", "Bob", "address", mask, "signature", "")
	bob.want("is not yours")
	bob.get("/settings/masks")
	for _, do := range []string{"keep", "drop"} {
		bob.post("/settings/masks", "do", do, "address", mask)
		bob.want("There is nothing at this address.")
	}
	for name, take := range map[string]func(*Tx) error{
		"user":  func(tx *Tx) error { _, err := tx.AddUser(mustAddr(t, mask), "x", false); return err },
		"alias": func(tx *Tx) error { return tx.AddAlias(mask, "bob@home.arpa") },
	} {
		if err := s.store.Write(take); !errors.Is(err, ErrExists) {
			t.Errorf("%s under the masked address: %v", name, err)
		}
	}

	ann.get("/settings/masks")
	ann.post("/settings/masks", "do", "keep", "address", mask, "label", "Shop")
	ann.want("switched off")
	rcpt(550)
	ann.get("/compose")
	if strings.Contains(ann.page, mask) {
		t.Error("a letter may be from an address that is switched off")
	}
	ann.get("/settings/masks")
	ann.post("/settings/masks", "do", "keep", "address", mask, "label", "Shop", "on", "1")
	rcpt(250)
	ann.post("/settings/masks", "do", "drop", "address", mask)
	ann.want(mask + " is gone.")
	rcpt(250) // the domain's catch-all has it now

	ann.post("/settings/masks", "do", "make", "label", "other")
	s.write(t, func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		for {
			_, err = tx.AddMask(u.ID, "home.arpa", "many")
			if errors.Is(err, ErrTooMany) {
				break
			}
			if err != nil {
				return err
			}
		}
		if masks, err := tx.Masks(u.ID); err != nil || len(masks) != maxMasks {
			t.Errorf("%d masks, %v", len(masks), err)
		}
		return tx.RemoveUser(u.ID)
	})
	n := -1
	mustRead(t, s.store, func(tx *Tx) error { return tx.one(`SELECT count(*) FROM masks`, nil, &n) })
	if n != 0 {
		t.Errorf("%d masked addresses of nobody", n)
	}
}
