// Rescue: a fresh file from what can still be read of a damaged one.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

const (
	rescueRows   = 500     // rows written in one transaction
	rescueBytes  = 4 << 20 // and octets, about
	rescueDomain = "rescued.invalid"
	rescueMark   = "Damaged" // the keyword of messages that are not as they were stored
	rescueZeros  = 512       // octets of zero in a row are a lost sector, where no sum says otherwise: mail has none (RFC 5322 §2.2)
)

// rescueNot lists what is not taken over: it is made again, or is no use in another file.
var rescueNot = []string{"search", "refs", "web_sessions", "unfinished", "log_note", "sqlite_sequence", "sqlite_stat1"}

// RescuedBox is a mailbox of a rescued file.
type RescuedBox struct {
	User, Name string
	Taken      int64 // messages that are there
	Cut        int64 // of them, those whose end is missing
	Changed    int64 // of them, those that are whole, but not as they were stored
	Lost       int64 // of which nothing but the row was found
}

// Rescued is what a rescue brought back.
type Rescued struct {
	Pages, Unread int   // of the damaged file; Unread could not be read at all
	Rows, Broken  int64 // rows that were taken, and that could not be made out
	Boxes         []RescuedBox
	Found         int64 // messages that belong to no mailbox any more, in lost+found
	Unproven      int64 // contents without sums: nothing says whether they are as they were stored
}

// Rescue reads what it can of the file at from, with or without SQLite's consent, and writes it into a new file at to. It changes nothing at from.
func Rescue(from, to string, log *slog.Logger) (*Rescued, error) {
	if _, err := os.Lstat(to); err == nil {
		return nil, fmt.Errorf("%s: %w; name a new file", to, ErrExists)
	}
	raw, err := openRaw(from)
	if err != nil {
		return nil, err
	}
	defer raw.close()
	part := to + ".part"
	if _, err := os.Lstat(part); err == nil {
		return nil, fmt.Errorf("%s is there, of another rescue; remove it first", part)
	}
	st, err := OpenStore(part, StoreOptions{Log: log, Readers: 1})
	if err != nil {
		return nil, err
	}
	x := &rescue{raw: raw, st: st, report: &Rescued{Pages: int(raw.pages)}, shapes: map[string]rawShape{}, inserts: map[string]string{}, dead: map[int64]bool{}}
	err = x.run()
	err = errors.Join(err, st.Close())
	if err == nil {
		err = os.Rename(part, to)
	}
	if err != nil {
		os.Remove(part)
		return nil, err
	}
	x.report.Unread = raw.bad
	return x.report, syncDir(to)
}

// rescue is one at work.
type rescue struct {
	raw     *rawFile
	st      *Store
	report  *Rescued
	shapes  map[string]rawShape // of the tables of the fresh file
	inserts map[string]string   // statements, by table and number of columns
	dead    map[int64]bool      // content that nothing referred to, which was only waiting to be cleared away
	rows    []rescuedRow        // that are not written yet
	bytes   int
}

type rescuedRow struct {
	table   string
	columns []any
}

// rawShape is what the rows of a table look like, in the order in which they are stored.
type rawShape struct {
	columns, types []string
	alias          int // the column that stands for the rowid, or -1
	keyed          bool
}

// shapeOf asks SQLite for the shape of a table.
func shapeOf(tx *Tx, t rawTable) (rawShape, error) {
	s := rawShape{alias: -1, keyed: t.withoutRowid()}
	err := tx.eachRow(`SELECT name,upper(type),pk FROM pragma_table_info(?) ORDER BY CASE WHEN ? AND pk>0 THEN pk-1000 ELSE cid END`, []any{t.name, s.keyed}, func(row *dbStmt) error {
		name, typ, pk := row.text(0), row.text(1), row.int(2)
		if !s.keyed && pk == 1 && typ == "INTEGER" {
			s.alias = len(s.columns)
		}
		s.columns, s.types = append(s.columns, name), append(s.types, typ)
		return nil
	})
	return s, err
}

// fits says whether a row can be one of this shape.
func (s rawShape) fits(columns []any) bool {
	if len(columns) > len(s.columns) || len(columns) < len(s.columns)-6 || len(columns) == 0 { // a later step may have added some
		return false
	}
	for i, c := range columns {
		switch c.(type) {
		case nil:
			if i != s.alias && s.columns[i] != "owner" && s.columns[i] != "keywords" && s.columns[i] != "value" && s.columns[i] != "next" {
				return false
			}
		case int64:
			if i == s.alias || (s.types[i] != "INTEGER" && s.columns[i] != "value") {
				return false
			}
		case string:
			if s.types[i] != "TEXT" && s.columns[i] != "value" {
				return false
			}
		case []byte:
			if s.types[i] != "BLOB" {
				return false
			}
		}
	}
	return true
}

func (x *rescue) run() error {
	err := x.st.w.run(`PRAGMA foreign_keys=0; DELETE FROM settings; DELETE FROM users`)
	if err != nil {
		return err
	}
	fresh, err := rows(&Tx{s: x.st, c: x.st.w}, `SELECT name,sql FROM sqlite_schema WHERE type='table'`, nil, func(t *rawTable) []any { return []any{&t.name, &t.sql} })
	if err != nil {
		return err
	}
	for _, t := range fresh {
		if !slices.Contains(rescueNot, t.name) || t.name == "refs" {
			x.shapes[t.name], err = shapeOf(&Tx{s: x.st, c: x.st.w}, t)
			if err != nil {
				return err
			}
		}
	}
	err = x.pages()
	if err == nil {
		err = x.flush()
	}
	if err == nil {
		err = x.st.Write(x.mend)
	}
	if err == nil {
		err = x.mendContent()
	}
	if err == nil {
		err = x.st.Write(x.count)
	}
	return err
}

// pages goes through the tables that the file still knows, and then through all other pages, which are recognised by what is on them.
func (x *rescue) pages() error {
	memory, err := openConn(":memory:")
	if err != nil {
		return err
	}
	defer memory.Close()
	seen := map[uint32]bool{}
	for _, t := range x.raw.schema(seen) {
		shape := x.shapes[t.name]
		if !t.index {
			if err := memory.run(t.sql); err == nil {
				if s, err := shapeOf(&Tx{s: x.st, c: memory}, t); err == nil && len(s.columns) > 0 {
					shape = s
				}
			}
		}
		x.raw.tree(t.root, seen, func(n uint32) {
			if err == nil && !t.index && len(shape.columns) > 0 {
				err = x.page(n, t.name, shape)
			}
		})
		if err != nil {
			return err
		}
	}
	free := x.raw.free()
	for n := uint32(1); n <= x.raw.pages; n++ {
		if seen[n] || free[n] {
			continue
		}
		if err := x.page(n, "", rawShape{}); err != nil {
			return err
		}
	}
	return nil
}

// page takes the rows of one page, of a table if it is known which.
func (x *rescue) page(n uint32, table string, shape rawShape) error {
	p := x.raw.page(n)
	kind, cells, _ := rawCells(n, p)
	if kind != rawLeaf && kind != rawLeafKeys && kind != rawInnerKeys {
		return nil
	}
	for _, at := range cells {
		rowid, columns, err := x.raw.row(p, kind, at)
		if err != nil {
			if table != "" {
				x.report.Broken++
			}
			continue
		}
		t, s := table, shape
		if t == "" || s.keyed == (kind == rawLeaf) || !s.fits(columns) {
			t, s = x.guess(kind, columns)
		}
		if t == "" {
			continue
		}
		if s.alias >= 0 && s.alias < len(columns) {
			columns[s.alias] = rowid
		}
		if t == "refs" {
			x.noteRefs(columns)
			continue
		}
		if table == "" && t == "chunks" && looksLikeSums(columns[1]) { // it may be the one or the other: judge finds out
			if err := x.take("content_sums", x.shapes["content_sums"], columns); err != nil {
				return err
			}
		}
		if err := x.take(t, s, columns); err != nil {
			return err
		}
	}
	return nil
}

// guess says which table a row belongs to of which nothing is known but its looks.
func (x *rescue) guess(kind byte, columns []any) (string, rawShape) {
	for _, name := range []string{"messages", "chunks", "blobs", "mailboxes", "users", "refs", "settings", "preferences", "queue", "recipients"} {
		s := x.shapes[name]
		if s.keyed != (kind == rawLeaf) && s.fits(columns) {
			return name, s
		}
	}
	return "", rawShape{}
}

// noteRefs remembers content without references: it was deleted and only not cleared away yet.
func (x *rescue) noteRefs(columns []any) {
	blob, ok := columns[0].(int64)
	if n, isInt := columns[len(columns)-1].(int64); ok && isInt && n == 0 {
		x.dead[blob] = true
	}
}

// take has a row written, with those of its columns that the fresh file has, too.
func (x *rescue) take(table string, s rawShape, columns []any) error {
	ours := x.shapes[table]
	if len(ours.columns) == 0 || slices.Contains(rescueNot, table) {
		return nil
	}
	var names []string
	var values []any
	for i, c := range columns {
		if i < len(s.columns) && slices.Contains(ours.columns, s.columns[i]) {
			names, values = append(names, `"`+s.columns[i]+`"`), append(values, c)
		}
		switch c := c.(type) {
		case []byte:
			x.bytes += len(c)
		case string:
			x.bytes += len(c)
		}
	}
	x.inserts[fmt.Sprint(table, len(values))] = `INSERT OR IGNORE INTO "` + table + `"(` + strings.Join(names, ",") + `) VALUES(?` + strings.Repeat(`,?`, len(values)-1) + `)`
	x.rows = append(x.rows, rescuedRow{table, values})
	if len(x.rows) < rescueRows && x.bytes < rescueBytes {
		return nil
	}
	return x.flush()
}

func (x *rescue) flush() error {
	var taken, broken int64
	err := x.st.Write(func(tx *Tx) error {
		taken, broken = 0, 0
		for _, r := range x.rows {
			n, err := tx.exec(x.inserts[fmt.Sprint(r.table, len(r.columns))], r.columns...)
			switch {
			case errors.Is(err, ErrDiskFull) || errors.Is(err, ErrReadOnly):
				return err
			case err != nil:
				broken++ // a value that no such column may have
			default:
				taken += n
			}
		}
		return nil
	})
	x.report.Rows, x.report.Broken = x.report.Rows+taken, x.report.Broken+broken
	x.rows, x.bytes = nil, 0
	return err
}

// mend puts in what rows need that were found: people for mailboxes, mailboxes for messages, mailboxes for content that nothing refers to.
func (x *rescue) mend(tx *Tx) error {
	for _, q := range []string{
		`INSERT OR IGNORE INTO users(id,name,disabled) VALUES(1,'',1)`,
		`INSERT OR IGNORE INTO users(id,name,admin) SELECT DISTINCT owner,'user-'||owner||'@` + rescueDomain + `',0 FROM mailboxes WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM users)`,
		`INSERT INTO users(name,admin) SELECT 'rescued@` + rescueDomain + `',0 WHERE NOT EXISTS(SELECT 1 FROM users WHERE id<>1)`,
		`DELETE FROM settings WHERE key IN ('clean','copy','proof')`,
		`DELETE FROM recipients WHERE item NOT IN (SELECT q.id FROM queue q JOIN blobs b ON b.id=q.blob)`,
		`DELETE FROM queue WHERE id NOT IN (SELECT item FROM recipients)`,
		`INSERT OR IGNORE INTO destinations(domain,next) SELECT DISTINCT domain,0 FROM recipients`,
	} {
		if _, err := tx.exec(q); err != nil {
			return err
		}
	}
	var validity int64
	err := tx.one(`SELECT max(coalesce((SELECT CAST(value AS INTEGER) FROM settings WHERE key='uidvalidity'),0), coalesce((SELECT max(uidvalidity) FROM mailboxes),0), ?)`,
		[]any{1 + rand.Int64N(1<<30)}, &validity)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`INSERT OR REPLACE INTO settings(key,value) VALUES('uidvalidity',?),(?,'1'),('clean','1')`, validity, settingCopy); err != nil {
		return err
	}
	heir, err := tx.heir()
	if err != nil {
		return err
	}
	lost, err := tx.ints(`SELECT DISTINCT mailbox FROM messages WHERE NOT gone AND mailbox NOT IN (SELECT id FROM mailboxes)`)
	if err != nil {
		return err
	}
	for _, id := range lost {
		_, err := tx.exec(`INSERT INTO mailboxes(id,owner,name,uidvalidity) VALUES(?,?,?,?)`, id, heir, fmt.Sprintf("rescued %d", id), validity)
		if err != nil {
			return err
		}
	}
	return nil
}

// heir is who gets what belongs to nobody any more: the first administrator, or the first person there is.
func (tx *Tx) heir() (UserID, error) {
	var id UserID
	err := tx.one(`SELECT id FROM users WHERE id<>1 ORDER BY admin DESC,id LIMIT 1`, nil, &id)
	return id, err
}

// looksLikeSums says whether a column can be the sums of content.
func looksLikeSums(column any) bool {
	b, _ := column.([]byte)
	return len(b) >= 2*sumSize && len(b)%sumSize == 0
}

// rescueVerdict is what a piece of content turned out to be.
type rescueVerdict int

const (
	rescueWhole    rescueVerdict = iota
	rescueUnproven               // all of it is there, but no sums are
	rescueTree                   // only its tree or its size is wrong
	rescueCut                    // its end is missing
	rescueChanged                // all of it is there, and not as it was stored
)

// rescueMarks are the keys of settings under which the content of each of these verdicts is noted until the end.
var rescueMarks = map[rescueVerdict]string{rescueCut: "rescue cut ", rescueChanged: "rescue changed "}

// mendContent compares all content with its sums and writes anew what is not whole; then it sees to content without a message.
func (x *rescue) mendContent() error {
	ids, err := read(x.st, func(tx *Tx) ([]int64, error) { return tx.ints(`SELECT id FROM blobs`) })
	if err != nil {
		return err
	}
	for _, id := range ids {
		verdict, there, err := x.judge(BlobID(id))
		switch {
		case err != nil:
		case verdict == rescueUnproven:
			x.report.Unproven++
			err = x.st.Write(func(tx *Tx) error { return tx.sumAgain(BlobID(id)) })
		case verdict != rescueWhole:
			err = x.renew(BlobID(id), there, rescueMarks[verdict])
		}
		if err != nil {
			return err
		}
	}
	return x.adopt()
}

// judge reads a piece of content and says what it is, and how many octets of it are there without a gap.
func (x *rescue) judge(id BlobID) (verdict rescueVerdict, there int64, err error) {
	c, err := x.st.Content(id)
	if err == nil {
		err = c.readSums()
	}
	if err != nil {
		return 0, 0, err
	}
	tree, treeErr := c.readTree()
	proven := c.headPacked || looksLikeSums(c.sums)
	wanted := int64(len(c.sums)/sumSize - 2)
	if c.headPacked {
		wanted = (c.Size - c.headHere() + chunkSize - 1) / chunkSize
	}
	changed, zeros, chunks := c.headFault != nil || (!c.headPacked && !sumIs(c.sums, 0, c.Head)), hasZeros(c.Head), int64(0)
	first := int64(len(c.Head))
	if c.headFault != nil {
		first = c.headHere()
	}
	there = first
	_, err = read(x.st, func(tx *Tx) (none struct{}, err error) {
		return none, tx.each(`SELECT id,data FROM chunks WHERE id BETWEEN ? AND ? ORDER BY id`, []any{int64(id) << chunkBits, int64(id)<<chunkBits | (1<<chunkBits - 1)}, func(scan func(...any) error) error {
			var at int64
			var data []byte
			if err := scan(&at, &data); err != nil {
				return err
			}
			// What comes behind a gap, behind the end or behind a short chunk is of no use.
			if at&(1<<chunkBits-1) != chunks || (proven && chunks >= wanted) || there != first+chunks*chunkSize {
				return nil
			}
			octets := int64(len(data))
			if chunkIsPiece(c.treeCodec, chunks) {
				opened, err := x.st.packer.open(data, at, chunkSize)
				octets = int64(len(opened))
				if err != nil {
					changed, octets = true, max(min(chunkSize, c.Size-there), 1)
				}
			} else {
				changed, zeros = changed || !sumIs(c.sums, 2+chunks, data), zeros || hasZeros(data)
			}
			chunks++
			there += octets
			return nil
		})
	})
	switch {
	case err != nil:
	case proven && !changed && chunks == wanted: // whatever its row says of its size
		if there != c.Size || (!c.headPacked && !sumIs(c.sums, 1, c.tree)) || treeErr != nil || tree.HeaderLen != c.HeadLen {
			verdict = rescueTree
		}
	case there < c.Size:
		verdict = rescueCut
	case proven || zeros || there > c.Size:
		verdict = rescueChanged
	case treeErr != nil || tree.HeaderLen != c.HeadLen:
		verdict = rescueTree
	default:
		verdict = rescueUnproven
	}
	return verdict, min(there, maxContent-1), err
}

func hasZeros(b []byte) bool { return bytes.Contains(b, make([]byte, rescueZeros)) }

// renew makes new content, with a tree and sums of its own, of the first octets of a piece of content, and notes it under the mark if there is one.
func (x *rescue) renew(id BlobID, there int64, mark string) error {
	c, err := x.st.Content(id)
	if err != nil {
		return err
	}
	c.Size = there
	sp := x.st.NewSpool(maxContent)
	defer sp.Close()
	if err := c.salvage(sp); err != nil {
		return err
	}
	return x.st.Write(func(tx *Tx) error {
		b, err := tx.AddBlob(sp)
		if err != nil {
			return err
		}
		delete(tx.unreferenced, b.ID) // count does the counting
		for _, table := range []string{"messages", "queue", "letter_files"} {
			if _, err := tx.exec(`UPDATE `+table+` SET blob=?, size=? WHERE blob=?`, b.ID, b.Size, id); err != nil {
				return err
			}
		}
		if _, err := tx.exec(`UPDATE messages SET form=form&~16 WHERE blob=?`, b.ID); err != nil { // sizeOld comes to it
			return err
		}
		if mark != "" {
			if _, err := tx.exec(`INSERT OR IGNORE INTO settings(key,value) VALUES(?||?,'1')`, mark, b.ID); err != nil {
				return err
			}
		}
		for _, q := range []string{`DELETE FROM chunks WHERE id>>14=?`, `DELETE FROM content_sums WHERE blob=?`, `DELETE FROM blobs WHERE id=?`} {
			if _, err := tx.exec(q, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// What stands in the place of a piece that can't be opened: nothing is known of what was in it.
const (
	rescueLostHead  = "Subject: [the header of this message is damaged]\r\n\r\n"
	rescueLostChunk = "\r\n[a part of this message is damaged: %d octets are missing here]\r\n"
)

// salvage writes the content as it is, and a line of text in the place of each piece that can't be opened.
func (c *Content) salvage(w io.Writer) error {
	head, first := c.Head[:min(int64(len(c.Head)), c.Size)], int64(len(c.Head))
	if c.headFault != nil {
		head, first = []byte(rescueLostHead), c.headHere()
	}
	_, err := w.Write(head)
	for k := int64(0); err == nil && first+k*chunkSize < c.Size; k++ {
		want := min(c.Size-first-k*chunkSize, chunkSize)
		err = c.fetch(k)
		if err != nil {
			return err
		}
		octets := c.chunk
		if chunkIsPiece(c.chunkCodec, k) {
			octets, err = c.s.packer.open(c.chunk, placeOfChunk(c.ID, k), chunkSize)
			if errors.Is(err, ErrContentDamaged) {
				octets, err = fmt.Appendf(nil, rescueLostChunk, want), nil
				want = int64(len(octets))
			}
		}
		if err == nil {
			_, err = w.Write(octets[:min(want, int64(len(octets)))])
		}
	}
	return err
}

// adopt puts content that no message refers to any more into a mailbox of its own.
func (x *rescue) adopt() error {
	return x.st.Write(func(tx *Tx) error {
		all, err := tx.ints(`SELECT id FROM blobs b WHERE NOT EXISTS(SELECT 1 FROM messages m WHERE m.blob=b.id) AND NOT EXISTS(SELECT 1 FROM queue q WHERE q.blob=b.id)
			AND NOT EXISTS(SELECT 1 FROM letter_files f WHERE f.blob=b.id)`)
		if err != nil {
			return err
		}
		x.report.Found = 0
		var box Mailbox
		for _, id := range all {
			if x.dead[id] {
				continue
			}
			if box.ID == 0 {
				heir, err := tx.heir()
				if err == nil {
					box, err = tx.CreateMailbox(heir, "lost+found", "")
				}
				if err != nil {
					return err
				}
			}
			x.report.Found++
			_, err := tx.exec(`INSERT INTO messages(mailbox,uid,modseq,flags,blob,size,internal,saved,thread,form) SELECT ?,?,1,0,id,size,?,?,0,0 FROM blobs WHERE id=?`,
				box.ID, x.report.Found, tx.s.Now().Unix(), tx.s.Now().Unix(), id)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

const maxContent = int64(chunkSize) << chunkBits

// mark gives the messages that are not as they were stored a keyword and a star, and holds such mail back in the queue. A message whose row has another
// size than its content refers to a wrong one.
func (x *rescue) mark(tx *Tx) error {
	_, err := tx.exec(`INSERT OR IGNORE INTO settings(key,value) SELECT 'rescue changed '||b.id,'1' FROM messages m JOIN blobs b ON b.id=m.blob WHERE m.size<>b.size`)
	if err == nil {
		_, err = tx.exec(`UPDATE messages SET size=(SELECT b.size FROM blobs b WHERE b.id=blob) WHERE blob IN (SELECT id FROM blobs)`)
	}
	if err == nil {
		_, err = tx.exec(`UPDATE recipients SET hold=1, error='it was damaged on the disk: look at it before it is released' WHERE item IN
			(SELECT q.id FROM queue q WHERE EXISTS(SELECT 1 FROM settings WHERE key IN ('rescue cut '||q.blob,'rescue changed '||q.blob)))`)
	}
	if err != nil {
		return err
	}
	type row struct {
		mailbox  MailboxID
		uid      UID
		keywords string
	}
	all, err := rows(tx, `SELECT mailbox,uid,coalesce(keywords,'') FROM messages m WHERE NOT gone AND EXISTS(SELECT 1 FROM settings WHERE key IN ('rescue cut '||m.blob,'rescue changed '||m.blob))`, nil,
		func(r *row) []any { return []any{&r.mailbox, &r.uid, &r.keywords} })
	for _, r := range all {
		if err == nil {
			_, err = tx.exec(`UPDATE messages SET keywords=?, flags=flags|? WHERE mailbox=? AND uid=?`, mergeWords(r.keywords, rescueMark), FlagFlagged, r.mailbox, r.uid)
		}
		if err == nil {
			err = tx.addKeywords(Mailbox{ID: r.mailbox}, rescueMark)
		}
		if errors.Is(err, ErrTooMany) || errors.Is(err, ErrKeyword) {
			err = nil // the star must do
		}
	}
	return err
}

// count makes all that is counted right, and writes the report.
func (x *rescue) count(tx *Tx) error {
	if err := x.mark(tx); err != nil {
		return err
	}
	boxes, err := rows(tx, `SELECT coalesce(u.name,''),b.name,
			(SELECT count(*) FROM messages m WHERE m.mailbox=b.id AND NOT gone AND EXISTS(SELECT 1 FROM blobs c WHERE c.id=m.blob)),
			(SELECT count(*) FROM messages m WHERE m.mailbox=b.id AND NOT gone AND EXISTS(SELECT 1 FROM settings s WHERE s.key='rescue cut '||m.blob)),
			(SELECT count(*) FROM messages m WHERE m.mailbox=b.id AND NOT gone AND EXISTS(SELECT 1 FROM settings s WHERE s.key='rescue changed '||m.blob)),
			(SELECT count(*) FROM messages m WHERE m.mailbox=b.id AND NOT gone AND NOT EXISTS(SELECT 1 FROM blobs c WHERE c.id=m.blob))
		FROM mailboxes b LEFT JOIN users u ON u.id=b.owner WHERE b.owner IS NOT NULL ORDER BY u.id,b.name`, nil,
		func(b *RescuedBox) []any { return []any{&b.User, &b.Name, &b.Taken, &b.Cut, &b.Changed, &b.Lost} })
	if err != nil {
		return err
	}
	x.report.Boxes = boxes
	for _, q := range []string{
		`DELETE FROM settings WHERE key LIKE 'rescue c%'`,
		`DELETE FROM messages WHERE blob<>0 AND blob NOT IN (SELECT id FROM blobs) OR mailbox NOT IN (SELECT id FROM mailboxes)`,
		`UPDATE messages SET arrived=0 WHERE arrived<>0`, // what is put in their places may be older
		`DELETE FROM letter_files WHERE blob NOT IN (SELECT id FROM blobs) OR letter NOT IN (SELECT id FROM letters)`,
		`DELETE FROM chunks WHERE id>>14 NOT IN (SELECT id FROM blobs)`,
		`DELETE FROM chunks WHERE id IN (SELECT c.id FROM blobs b JOIN chunks c ON c.id BETWEEN (b.id<<14)+(b.size-length(b.head)+65535)/65536 AND (b.id<<14)+16383)`,
		`DELETE FROM content_sums WHERE blob NOT IN (SELECT id FROM blobs)`,
		`DELETE FROM refs`,
		`INSERT INTO refs(blob,n) SELECT b.id, n FROM (SELECT b.id, (SELECT count(*) FROM messages m WHERE m.blob=b.id)+(SELECT count(*) FROM queue q WHERE q.blob=b.id)
			+(SELECT count(*) FROM letter_files f WHERE f.blob=b.id) AS n FROM blobs b) b WHERE n<>1`,
		`UPDATE mailboxes SET n_exists=(SELECT count(*) FROM messages m WHERE m.mailbox=mailboxes.id AND NOT gone),
			n_unseen=(SELECT count(*) FROM messages m WHERE m.mailbox=mailboxes.id AND NOT gone AND flags&1=0),
			n_deleted=(SELECT count(*) FROM messages m WHERE m.mailbox=mailboxes.id AND NOT gone AND flags&` + fmt.Sprint(int(FlagDeleted)) + `<>0),
			bytes=(SELECT coalesce(sum(size),0) FROM messages m WHERE m.mailbox=mailboxes.id AND NOT gone),
			uidnext=max(uidnext,(SELECT coalesce(max(uid),0)+1 FROM messages m WHERE m.mailbox=mailboxes.id)),
			highestmodseq=max(highestmodseq,(SELECT coalesce(max(modseq),1) FROM messages m WHERE m.mailbox=mailboxes.id))`,
		`UPDATE users SET modseq=1+max(modseq,(SELECT coalesce(max(highestmodseq),1) FROM mailboxes b WHERE b.owner=users.id))`,
		`UPDATE mailboxes SET owner=NULL WHERE owner NOT IN (SELECT id FROM users)`,
	} {
		q = strings.ReplaceAll(q, "flags&1=0", fmt.Sprintf("flags&%d=0", int(FlagSeen)))
		if _, err := tx.exec(q); err != nil {
			return err
		}
	}
	return nil
}

// rescueSource refuses what can't be a file of ours at all.
func rescueSource(path string) error {
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && (!fi.Mode().IsRegular() || fi.Size() < filePage) {
		err = fmt.Errorf("%s has nothing that could be rescued", path)
	}
	return err
}
