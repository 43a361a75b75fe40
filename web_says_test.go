package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestWebSays walks the forms with what people and pages get wrong: nothing is cut, left out or not done in silence, and nothing
// is said to be done that was not.
func TestWebSays(t *testing.T) {
	s := startServer(t)
	s.admin(t, "ann")
	here, gone := s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: here\n\nx\n", 0), UID(4711)
	dora := s.put(t, "ann", "INBOX", "From: bob@home.arpa\nSubject: other\n\nx\n", 0)
	c := newWebClient(t, s).login("ann")
	inbox := strings.TrimPrefix(c.at, "/box/")
	c.get("/folders")
	trash := c.find(`href="/box/(\d+)">Trash`)
	key := func(u UID) string { return fmt.Sprintf("%s.%d", inbox, u) }
	const nothing, long = "Nothing was changed: what was chosen is no longer there", "too long for its field"
	many := make([]string, webMaxAct+1)
	for i := range many {
		many[i] = key(UID(i + 1))
	}
	for _, x := range []struct {
		page, path string
		fields     []string
		want       string
	}{
		{"/mail", "/act", []string{"do", "read"}, "No message was selected."},
		{"/mail", "/act", []string{"do", "read", "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "star", "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "archive", "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "delete", "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "move", "dest", trash, "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "move", "dest", inbox, "m", key(here)}, "is in that folder already"},
		{"/mail", "/act", []string{"do", "copy", "dest", trash, "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "copy", "dest", trash, "m", key(here), "m", key(gone)}, "1 message copied."},
		{"/mail", "/act", []string{"do", "move", "dest", "99999", "m", key(here)}, "There is nothing at this address."},
		{"/mail", "/act", []string{"do", "purge", "sure", "1", "m", key(gone)}, nothing},
		{"/mail", "/act", []string{"do", "purge", "sure", "1", "m", key(dora), "m", key(gone)}, "1 message deleted."},
		{"/mail", "/act", []string{"do", "read", "m", strings.Join(many, ",")}, "That are too many messages for one form."},
		{"/mail", "/act", []string{"do", "dance", "m", key(here)}, "That button is not known here."},
		{"/mail", "/undo", []string{}, nothing},
		{"/mail", "/undo", []string{"u", "nonsense"}, "That button is not known here."},
		{"/mail", "/order", []string{"order", "sideways"}, "That button is not known here."},
		{"/mail", "/look", []string{"lang", "tlh"}, "That button is not known here."},
		{"/mail", "/look", []string{"theme", "plaid"}, "That button is not known here."},
		{"/mail", "/pictures", []string{"from", ""}, "That is no address."},
		{"/outbox", "/outbox", []string{"id", "4711"}, "This letter was sent or discarded meanwhile."},
		{"/outbox", "/compose/recall", []string{"id", "4711"}, "It is too late: the letter has gone out."},
		{"/compose", "/redirect", []string{"m", key(here), "to", " , "}, "Whom is it for?"},
		{"/compose", "/redirect", []string{"m", key(gone), "to", "bob"}, "There is nothing at this address."},
		{"/folders", "/folders", []string{"do", "create", "name", ""}, "That name can&#39;t be used for a folder."},
		{"/folders", "/folders", []string{"do", "create", "name", "Trash"}, "That exists already."},
		{"/folders", "/folders", []string{"do", "remove", "sure", "1", "box", inbox}, "This folder is needed"},
		{"/folders", "/folders", []string{"do", "empty", "sure", "1", "box", "99999"}, "There is nothing at this address."},
		{"/contacts", "/contacts", []string{"do", "add", "address", "nobody"}, "That is no address."},
		{"/contacts", "/contacts", []string{"do", "add", "address", "a@b.example", "name", strings.Repeat("长", 201)}, long},
		{"/contacts", "/contacts", []string{"do", "add", "address", "a@b.example", "note", strings.Repeat("长", 500)}, strings.Repeat("长", 500)},
		{"/settings", "/settings/identities", []string{"name", "A", "address", "ann@home.arpa", "signature", strings.Repeat("x", webMaxSignature+1)}, long},
		{"/settings", "/settings/identities", []string{"name", "A", "address", "ann@home.arpa", "signature", "", "name", "Work", "address", "", "signature", ""}, "That is no address."},
		{"/settings", "/settings/identities", []string{"name", "A", "address", "bob@home.arpa", "signature", ""}, "is not yours"},
		{"/settings/rules", "/settings/vacation", []string{"on", "1", "text", ""}, "Write what the answer shall say."},
		{"/settings/rules", "/settings/vacation", []string{"on", "1", "text", "x", "from", "2026-12-10", "until", "2026-12-01"}, "It would end before it begins."},
		{"/settings/rules", "/settings/vacation", []string{"on", "1", "text", "x", "from", "tomorrow"}, "That is no date."},
		{"/settings/rules", "/settings/vacation", []string{"on", "1", "subject", strings.Repeat("x", 201), "text", "x"}, long},
		{"/settings/rules", "/settings/filters", []string{"do", "add", "field", "subject", "op", "is", "value", strings.Repeat("x", 201)}, long},
		{"/settings/rules", "/settings/filters", []string{"do", "add"}, "Say which messages the filter is for."},
		{"/settings/rules", "/settings/filters", []string{"do", "drop", "n", "7"}, "There is nothing at this address."},
		{"/settings/rules", "/settings/forward", []string{"to", "not an address"}, "is no mail address."},
		{"/settings/rules", "/settings/forward", []string{"to", "nobody@home.arpa"}, "There is nobody with this address here."},
		{"/settings/security", "/settings/sessions", []string{"end", "gone"}, "That browser was logged out already."},
		{"/settings", "/settings/zone", []string{"zone", "Moon/Tycho"}, "That is no time zone."},
		{"/devices", "/devices", []string{"do", "add", "name", strings.Repeat("x", 61), "old", "secret"}, long},
		{"/devices", "/devices", []string{"do", "drop", "id", "4711"}, "There is nothing at this address."},
		{"/admin/users", "/admin/users", []string{"name", "zoe", "password", "long enough", "quota", "10 GB"}, "The quota is a number of megabytes"},
		{"/admin/shared", "/admin/shared", []string{"do", "quota", "quota", "-5"}, "The quota is a number of megabytes"},
		{"/admin/aliases", "/admin/aliases", []string{"do", "add", "address", "info", "targets", ""}, "Write the addresses that it stands for."},
		{"/admin/aliases", "/admin/aliases", []string{"do", "remove", "address", "nobody@home.arpa"}, "There is nothing at this address."},
		{"/admin/queue", "/admin/queue", []string{"do", "retry", "match", "nothing.example"}, "Done for 0 messages."},
	} {
		c.get(x.page)
		c.post(x.path, x.fields...)
		if !strings.Contains(c.page, x.want) {
			t.Errorf("%s %.100q: %d at %s does not say %q: %.300s", x.path, x.fields, c.code, c.at, x.want, noteOf(c.page))
		}
	}
	c.get("/compose")
	c.letter(nil, "to", "bob", "from", "former@home.arpa", "subject", "s", "text", "x", "do", "send")
	c.want("former@home.arpa is no longer one of your addresses.")

	// In a folder in which she may only read, the star is refused and not said to be there.
	c.get("/admin/shared")
	c.post("/admin/shared", "do", "create", "name", "Notices")
	shared := c.find(`name="box" value="(\d+)"`)
	c.post("/admin/shared", "do", "rights", "box", shared, "who", "anyone", "level", "may read")
	c.post("/act", "do", "copy", "dest", shared, "m", key(here))
	c.want("1 message copied. → ")
	bob := newWebClient(t, s).login("bob")
	bob.post("/act", "do", "star", "m", shared+".1")
	bob.want("You may not do this in this folder.")
}

// noteOf is what a page says.
func noteOf(page string) string {
	_, after, _ := strings.Cut(page, `id="note"`)
	return after
}
