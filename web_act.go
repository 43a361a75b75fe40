// What can be done with messages: flags, move, copy, archive, junk, delete, undo; and folders.
package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	webMaxUndo = 20_000  // messages of an action that can be undone
	webMaxAct  = 2_000   // messages that are named one by one in a form
	webMaxAll  = 1 << 20 // messages that a search may find to have something done to all of them
)

// webUndo says how to bring messages back from where an action put them.
type webUndo struct {
	Now, Before MailboxID
	UIDs        []UID
	Flags       FlagChange // what to change about them; Op 0 for nothing
}

// webAction is one of the buttons over a list.
type webAction struct {
	special string     // the folder that it moves to; "" for none
	need    Rights     // without which a button that only sets flags is refused
	flags   FlagChange // done before moving
	undo    FlagChange
	said    [2]string // for one message and for many
}

// webActions are the buttons that mean the same for every message. Moving to a chosen folder, copying and deleting for
// good are apart.
var webActions = map[string]webAction{
	"archive": {special: `\Archive`, said: [2]string{"%s message archived.", "%s messages archived."}},
	"delete":  {special: `\Trash`, said: [2]string{"%s message moved to Trash.", "%s messages moved to Trash."}},
	"junk": {special: `\Junk`, flags: webFlags('+', FlagJunk), undo: webFlags('-', FlagJunk),
		said: [2]string{"%s message moved to Junk.", "%s messages moved to Junk."}},
	"notjunk": {special: "INBOX", flags: webFlags('-', FlagJunk), undo: webFlags('+', FlagJunk),
		said: [2]string{"%s message moved to the inbox.", "%s messages moved to the inbox."}},
	"read":   {need: RightSeen, flags: webFlags('+', FlagSeen), said: [2]string{"%s message marked as read.", "%s messages marked as read."}},
	"unread": {need: RightSeen, flags: webFlags('-', FlagSeen), said: [2]string{"%s message marked as unread.", "%s messages marked as unread."}},
	"star":   {need: RightWrite, flags: webFlags('+', FlagFlagged), said: [2]string{"%s message starred.", "%s messages starred."}},
	"unstar": {need: RightWrite, flags: webFlags('-', FlagFlagged), said: [2]string{"%s star removed.", "%s stars removed."}},
}

func webFlags(op byte, bits FlagBits) FlagChange {
	return FlagChange{Op: op, Flags: Flags{Bits: bits}, Unchanged: -1}
}

// webChosen is what a form's action is for.
type webChosen map[MailboxID][]UID

func (c webChosen) count() int64 {
	n := int64(0)
	for _, uids := range c {
		n += int64(len(uids))
	}
	return n
}

// chosen reads which messages are meant: those that are ticked, or all of the folder or search.
func (q *webReq) chosen(f url.Values) (webChosen, error) {
	c := webChosen{}
	if f.Get("all") != "" {
		return c, q.chooseAll(c, webID[MailboxID](f.Get("box")), f.Get("q"))
	}
	for _, v := range f["m"] {
		if _, err := q.readKeys(c, v); err != nil {
			return nil, err
		}
	}
	for id := range c {
		if err := q.s.store.Read(func(tx *Tx) error { _, err := q.mailbox(tx, id); return err }); err != nil {
			return nil, err
		}
		slices.Sort(c[id])
	}
	return c, nil
}

// readKeys adds the messages of a line of a list to what is chosen.
func (q *webReq) readKeys(c webChosen, line string) (webChosen, error) {
	for _, key := range strings.Split(line, ",") {
		box, uid, _ := strings.Cut(key, ".")
		id, u := webID[MailboxID](box), webUID(uid)
		if id == 0 || u == 0 || slices.Contains(c[id], u) {
			continue
		}
		if c.count() >= webMaxAct {
			return nil, webFault(http.StatusRequestEntityTooLarge, "That are too many messages for one form.")
		}
		c[id] = append(c[id], u)
	}
	return c, nil
}

func (q *webReq) chooseAll(c webChosen, box MailboxID, text string) error {
	if text != "" {
		r, err := q.search(box, text, webMaxAll)
		if err != nil {
			return err
		}
		if r.late {
			return webFault(http.StatusUnprocessableEntity, "The search did not find everything in time. Make it narrower.")
		}
		for _, h := range r.hits {
			c[h.box] = append(c[h.box], h.uid)
		}
		for id := range c {
			slices.Sort(c[id])
		}
		return nil
	}
	return q.s.store.Read(func(tx *Tx) error {
		if _, err := q.mailbox(tx, box); err != nil {
			return err
		}
		uids, _, err := tx.UIDs(box, nil)
		c[box] = uids
		return err
	})
}

// inBatches calls fn in transactions of some messages each, so that nobody waits long for the writer, and then, which may be
// nil, after the commit of each: fn may run twice. The user needs the rights in every folder that is touched.
func (q *webReq) inBatches(c webChosen, need Rights, fn func(tx *Tx, m Mailbox, uids []UID) error, then func(MailboxID)) error {
	for id, uids := range c {
		err := q.s.store.InSteps(uids, func(tx *Tx, step []UID) error {
			m, _, err := q.access(tx, id, need)
			if err != nil {
				return err
			}
			return fn(tx, m, step)
		}, func([]UID) error {
			if then != nil {
				then(id)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// setFlags changes flags, and says how many of the messages are there. Flags that the user may not touch stay as they are, unless
// need has the right to them: then it is an error.
func (q *webReq) setFlags(c webChosen, change FlagChange, need Rights) (int64, error) {
	if change.Op == 0 {
		return 0, nil
	}
	there, step := int64(0), 0
	err := q.inBatches(c, RightRead|need, func(tx *Tx, m Mailbox, uids []UID) error {
		have, err := tx.RightsOf(q.user, m)
		if err != nil {
			return err
		}
		change.May = have
		r, err := tx.SetFlags(m, uids, change)
		step = len(uids) - len(r.Missing)
		return err
	}, func(MailboxID) { there += int64(step) })
	return there, err
}

// moveTo moves messages, and says how to bring them back and how many they are.
func (q *webReq) moveTo(c webChosen, to Mailbox) ([]webUndo, int64, error) {
	var undo []webUndo
	moved := int64(0)
	var dst []UID // of the last step
	err := q.inBatches(c, RightRead|RightTrash|RightExpunge, func(tx *Tx, m Mailbox, uids []UID) error {
		dst = nil
		if m.ID == to.ID {
			return nil
		}
		_, _, err := q.access(tx, to.ID, RightInsert)
		if err == nil {
			_, dst, err = tx.Move(m, uids, to)
		}
		return err
	}, func(from MailboxID) {
		moved += int64(len(dst))
		if moved > webMaxUndo || len(dst) == 0 {
			return
		}
		if n := len(undo); n > 0 && undo[n-1].Before == from {
			undo[n-1].UIDs = append(undo[n-1].UIDs, dst...)
		} else {
			undo = append(undo, webUndo{Now: to.ID, Before: from, UIDs: dst})
		}
	})
	if moved > webMaxUndo {
		undo = nil
	}
	return undo, moved, err
}

// folderFor finds the folder of a special use, and makes it if somebody has removed it.
func (q *webReq) folderFor(special string) (Mailbox, error) {
	return write(q.s.store, func(tx *Tx) (Mailbox, error) { return webSpecialFolder(tx, q.user.ID, special) })
}

func webSpecialFolder(tx *Tx, user UserID, special string) (Mailbox, error) {
	if special == "INBOX" {
		return tx.MailboxByName(user, "INBOX")
	}
	m, err := tx.MailboxBySpecial(user, special)
	if !errors.Is(err, ErrNotFound) {
		return m, err
	}
	name := strings.TrimPrefix(special, `\`)
	m, err = tx.MailboxByName(user, name)
	if err == nil {
		return m, tx.SetSpecial(m, special)
	}
	m, err = tx.CreateMailbox(user, name, special)
	if err == nil {
		err = tx.Subscribe(user, name)
	}
	return m, err
}

// postAct does what a button over a list or a message says.
func (q *webReq) postAct() error {
	f := q.r.PostForm
	back := webLocal(f.Get("back"))
	c, err := q.chosen(f)
	if err != nil {
		return err
	}
	if c.count() == 0 {
		q.sayBad("No message was selected.")
		return q.redirect(back)
	}
	do := f.Get("do")
	if do == "delete" {
		gone, err := q.inTrash(c)
		if err != nil {
			return err
		}
		if gone {
			do = "purge"
		}
	}
	if f.Get("talk") != "" && f.Get("all") == "" {
		if err := q.wholeTalks(c, do, f["m"]); err != nil {
			return err
		}
	}
	switch do {
	case "move", "copy":
		return q.toFolder(do, c, webID[MailboxID](f.Get("dest")), back)
	case "purge":
		return q.purge(c, f, back)
	}
	a, ok := webActions[do]
	if !ok {
		return webErrDo
	}
	there, err := q.setFlags(c, a.flags, a.need)
	if err != nil {
		return err
	}
	if a.special == "" {
		q.say2(there, a.said, nil)
		return q.redirect(back)
	}
	to, err := q.folderFor(a.special)
	if err != nil {
		return err
	}
	undo, moved, err := q.moveTo(c, to)
	if err != nil {
		return err
	}
	for i := range undo {
		undo[i].Flags = a.undo
	}
	q.say2(moved, a.said, undo)
	return q.redirect(back)
}

// say2 tells how many messages something was done to, or that there were none.
func (q *webReq) say2(n int64, said [2]string, undo []webUndo) {
	if n == 0 {
		q.sayBad("Nothing was changed: what was chosen is no longer there, or is in that folder already.")
		return
	}
	q.note(&webNote{Text: q.lang.N(n, said[0], said[1]), Undo: undo})
}

// inTrash says whether all that is chosen lies in Trash already.
func (q *webReq) inTrash(c webChosen) (bool, error) {
	return read(q.s.store, func(tx *Tx) (bool, error) {
		for id := range c {
			m, err := q.mailbox(tx, id)
			if err != nil || m.Special != `\Trash` || m.Owner != q.user.ID {
				return false, err
			}
		}
		return true, nil
	})
}

// toFolder moves or copies to the folder that was chosen.
func (q *webReq) toFolder(do string, c webChosen, dest MailboxID, back string) error {
	to, err := read(q.s.store, func(tx *Tx) (Mailbox, error) { return q.mailbox(tx, dest) })
	if err != nil {
		return err
	}
	name := q.lang.folderName(to)
	if do == "move" {
		undo, moved, err := q.moveTo(c, to)
		if err != nil {
			return err
		}
		q.sayMoved(moved, [2]string{"%s message moved.", "%s messages moved."}, name, undo)
		return q.redirect(back)
	}
	copied, step := int64(0), 0
	err = q.inBatches(c, RightRead, func(tx *Tx, m Mailbox, uids []UID) error {
		if _, _, err := q.access(tx, to.ID, RightInsert); err != nil {
			return err
		}
		_, dst, err := tx.Copy(m, uids, to)
		step = len(dst)
		return err
	}, func(MailboxID) { copied += int64(step) })
	if err != nil {
		return err
	}
	q.sayMoved(copied, [2]string{"%s message copied.", "%s messages copied."}, name, nil)
	return q.redirect(back)
}

// sayMoved is say2 with the folder.
func (q *webReq) sayMoved(n int64, said [2]string, folder string, undo []webUndo) {
	q.say2(n, said, undo)
	if n > 0 {
		q.note(&webNote{Text: q.lang.N(n, said[0], said[1]) + " → " + folder, Undo: undo})
	}
}

// webConfirm asks before something that can't be undone.
type webConfirm struct {
	Question string
	Button   string
	Action   string
	Fields   [][2]string
	Back     string
}

// purge deletes for good, after asking.
func (q *webReq) purge(c webChosen, f url.Values, back string) error {
	if f.Get("sure") == "" {
		p := webConfirm{Question: q.lang.N(c.count(), "Delete %s message for good? This can't be undone.", "Delete %s messages for good? This can't be undone."),
			Button: q.lang.T("Delete for good"), Action: "/act", Back: back}
		for _, k := range []string{"m", "all", "box", "q", "back"} {
			for _, v := range f[k] {
				p.Fields = append(p.Fields, [2]string{k, v})
			}
		}
		p.Fields = append(p.Fields, [2]string{"do", "purge"}, [2]string{"sure", "1"})
		return q.page("confirm", "Delete for good", p)
	}
	gone, step := int64(0), 0
	err := q.inBatches(c, RightTrash|RightExpunge, func(tx *Tx, m Mailbox, uids []UID) error {
		all, err := tx.Expunge(m, uids)
		step = len(all)
		return err
	}, func(MailboxID) { gone += int64(step) })
	if err != nil {
		return err
	}
	q.say2(gone, [2]string{"%s message deleted.", "%s messages deleted."}, nil)
	return q.redirect(back)
}

// postUndo brings back what the last action of this session moved. The note with it is gone once it was shown, so the
// page carries what to do in its form.
func (q *webReq) postUndo() error {
	f := q.r.PostForm
	back := webLocal(f.Get("back"))
	var n int64
	for _, text := range f["u"] {
		u, ok := webReadUndo(text)
		if !ok {
			return webErrDo
		}
		to, err := read(q.s.store, func(tx *Tx) (Mailbox, error) { return q.mailbox(tx, u.Before) })
		if err != nil {
			return err
		}
		c := webChosen{u.Now: u.UIDs}
		if _, err := q.setFlags(c, u.Flags, 0); err != nil {
			return err
		}
		_, moved, err := q.moveTo(c, to)
		if err != nil {
			return err
		}
		n += moved
	}
	q.say2(n, [2]string{"%s message brought back.", "%s messages brought back."}, nil)
	return q.redirect(back)
}

// String is the undo in a form: from, to, flags, and the UIDs as ranges. It gives no right that its user has not anyway.
func (u webUndo) String() string {
	var b strings.Builder
	op := u.Flags.Op
	if op == 0 {
		op = '0'
	}
	fmt.Fprintf(&b, "%d>%d %c%d ", u.Now, u.Before, op, u.Flags.Flags.Bits)
	for i := 0; i < len(u.UIDs); {
		j := i
		for j+1 < len(u.UIDs) && u.UIDs[j+1] == u.UIDs[j]+1 {
			j++
		}
		fmt.Fprintf(&b, "%d:%d,", u.UIDs[i], u.UIDs[j])
		i = j + 1
	}
	return strings.TrimSuffix(b.String(), ",")
}

func webReadUndo(s string) (webUndo, bool) {
	f := strings.SplitN(s, " ", 3)
	if len(f) != 3 || len(f[1]) < 2 {
		return webUndo{}, false
	}
	now, before, _ := strings.Cut(f[0], ">")
	u := webUndo{Now: webID[MailboxID](now), Before: webID[MailboxID](before)}
	if f[1][0] != '0' {
		u.Flags = webFlags(f[1][0], FlagBits(webUID(f[1][1:]))&FlagJunk)
	}
	for _, r := range strings.Split(f[2], ",") {
		lo, hi, _ := strings.Cut(r, ":")
		first, last := webUID(lo), webUID(hi)
		if first == 0 || last < first || int(last-first) > webMaxUndo || len(u.UIDs) > webMaxUndo {
			return webUndo{}, false
		}
		for n := first; n <= last; n++ {
			u.UIDs = append(u.UIDs, n)
		}
	}
	return u, true
}
