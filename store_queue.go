// The queue at rest: envelopes, and one row for each recipient still owed.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// queueSchema holds the queue's tables.
//
//	queue         one row for each message that somebody is still owed, with its envelope; it refers to the content once
//	recipients    one row for each of them; it goes when the message has been handed over or given back
//	destinations  one row for each domain that mail waits for. A destination is tried, not each message: while it is
//	              dead only this row changes, however much waits. attempts counts its failures since the row was made,
//	              and recipients.base is what it was when the recipient came, so that tries are known for each recipient.
const queueSchema = `
CREATE TABLE queue(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, blob INTEGER NOT NULL, size INTEGER NOT NULL,
  thread INTEGER NOT NULL, form INTEGER NOT NULL, sender TEXT NOT NULL, flags INTEGER NOT NULL DEFAULT 0, ret TEXT NOT NULL DEFAULT '', envid TEXT NOT NULL DEFAULT '',
  created INTEGER NOT NULL, since INTEGER NOT NULL, due INTEGER NOT NULL DEFAULT 0, bymode TEXT NOT NULL DEFAULT '');
CREATE INDEX queue_name ON queue(name);
CREATE INDEX queue_since ON queue(since);
CREATE INDEX queue_due ON queue(due) WHERE due>0;

CREATE TABLE recipients(
  id INTEGER PRIMARY KEY AUTOINCREMENT, item INTEGER NOT NULL REFERENCES queue(id), address TEXT NOT NULL,
  domain TEXT NOT NULL, orcpt TEXT NOT NULL DEFAULT '', notify INTEGER NOT NULL DEFAULT 0,
  tries INTEGER NOT NULL DEFAULT 0, base INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL,
  hold INTEGER NOT NULL DEFAULT 0, warned INTEGER NOT NULL DEFAULT 0, error TEXT NOT NULL DEFAULT '',
  bundle TEXT NOT NULL DEFAULT '');
CREATE INDEX recipients_item ON recipients(item);
CREATE INDEX recipients_bundle ON recipients(bundle) WHERE bundle<>'';
CREATE INDEX recipients_domain ON recipients(domain,hold,item);

CREATE TABLE destinations(
  domain TEXT PRIMARY KEY, next INTEGER, asked INTEGER NOT NULL DEFAULT 0, failures INTEGER NOT NULL DEFAULT 0, attempts INTEGER NOT NULL DEFAULT 0,
  error TEXT NOT NULL DEFAULT '') WITHOUT ROWID;
CREATE INDEX destinations_next ON destinations(next) WHERE next IS NOT NULL;

CREATE TABLE fetched(account TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY(account,uid)) WITHOUT ROWID;

CREATE TABLE bundled(key TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
`

// queueDeadlines gives a queued message its deadline, and counts the faults of ours that it met. Deadlines of messages that
// wait already are in the past: the first look computes them.
const queueDeadlines = `
ALTER TABLE queue ADD COLUMN deadline INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queue ADD COLUMN faults INTEGER NOT NULL DEFAULT 0;
UPDATE queue SET deadline=max(1,since);
CREATE INDEX queue_deadline ON queue(deadline) WHERE deadline>0;
DROP INDEX queue_since;
DROP INDEX queue_due;
`

// queueAccounts says whose places in the queue a message takes, and which are reports.
const queueAccounts = `
ALTER TABLE queue ADD COLUMN account TEXT NOT NULL DEFAULT '';
ALTER TABLE queue ADD COLUMN report INTEGER NOT NULL DEFAULT 0;
UPDATE queue SET account=lower(sender), report=sender='';
CREATE INDEX queue_account ON queue(report,account);
`

// queueForwarded says which recipients an address of ours leads to: to them it goes under a sender of ours (SRS).
const queueForwarded = `ALTER TABLE recipients ADD COLUMN forwarded INTEGER NOT NULL DEFAULT 0;`

// QueueItem is a message that somebody is still owed.
type QueueItem struct {
	ID   int64  `json:"-"`
	Name string `json:"id"` // as in the log, in Received and in the answer to DATA
	Blob Blob   `json:"-"`
	Size int64  `json:"size"`
	SMTPEnvelope
	Sender  string    `json:"sender"` // From as text
	Created time.Time `json:"created"`
	Since   time.Time `json:"-"` // what its age is counted from: Created, or when a hold ended

	Account string `json:"account,omitempty"` // whose places in the queue it takes, as Mail.Account; "" nobody's
	Report  bool   `json:"-"`                 // a delivery report

	Deadline time.Time `json:"-"` // when something has to be done about it that is not a try; zero is never

	Rcpts []QueueRcpt `json:"recipients"`
}

// QueueRcpt is one recipient who is owed a message.
type QueueRcpt struct {
	ID int64 `json:"-"`
	Recipient
	Tries  int       `json:"tries"` // failed ones, the destination's among them
	Next   time.Time `json:"next"`
	Hold   bool      `json:"hold"`
	Warned bool      `json:"warned"`

	Forwarded bool   `json:"forwarded,omitempty"` // an address here leads to this one
	Error     string `json:"error,omitempty"`     // what stood in the way at the last try, "" none yet

	Address string `json:"address"`
}

// Destination is a domain that mail waits for.
type Destination struct {
	Domain   string    `json:"domain"`
	Next     time.Time `json:"next"` // zero: everything for it is on hold
	Failures int       `json:"failures"`
	Asked    bool      `json:"-"` // somebody wants it tried now, whatever its route says
	Error    string    `json:"error,omitempty"`
}

// overdue says whether the time by which the sender wants it delivered has passed (RFC 2852).
func (q *QueueItem) overdue(now time.Time) bool { return !q.Due.IsZero() && !now.Before(q.Due) }

// ErrQueueFull says that as many messages wait as [limits] allows: in all, from one person, or from one network of strangers.
var ErrQueueFull = errors.New("the queue is full")

// Enqueue puts an item into the queue and its destinations on the list of things to do, at its recipients' Next.
func (tx *Tx) Enqueue(q *QueueItem) error {
	q.Sender, q.Size = "", q.Blob.Size
	if !q.From.IsZero() {
		q.Sender = q.From.String()
	}
	err := tx.one(insertInto(`queue`, queueColumns)+` RETURNING id`, queueRow(q), &q.ID)
	if err != nil {
		return fmt.Errorf("enqueue: %w", err)
	}
	if err := tx.refer(q.Blob.ID); err != nil {
		return err
	}
	for i := range q.Rcpts {
		r := &q.Rcpts[i]
		next := r.Next.Unix()
		_, err := tx.exec(`INSERT INTO destinations(domain,next) VALUES(?,?)
			ON CONFLICT(domain) DO UPDATE SET next=min(coalesce(next,excluded.next),excluded.next) WHERE failures=0`, r.Addr.Domain, next)
		if err == nil {
			_, err = tx.exec(`INSERT INTO recipients(item,address,domain,orcpt,notify,next,error,forwarded,base)
				SELECT ?,?,?,?,?,?,?,?,attempts FROM destinations WHERE domain=?`,
				q.ID, r.Addr.String(), r.Addr.Domain, r.ORcpt, r.Notify, next, r.Error, r.Forwarded, r.Addr.Domain)
		}
		if err != nil {
			return fmt.Errorf("enqueue: %w", err)
		}
	}
	tx.Touch(QueueTopic)
	return nil
}

// QueueLength counts the messages in the queue.
func (tx *Tx) QueueLength() (int, error) {
	var n int
	err := tx.one(`SELECT count(*) FROM queue`, nil, &n)
	return n, err
}

// QueueCounts counts the messages in the queue that are reports, or those that are not: all of them, and one account's.
func (tx *Tx) QueueCounts(account string, report bool) (all, own int, err error) {
	err = tx.one(`SELECT count(*), coalesce(sum(account=?1),0) FROM queue WHERE report=?2`, []any{account, report}, &all, &own)
	return all, own, err
}

// DueDestinations lists the domains whose time has come, the longest due first, and says when the next one's comes
// (zero: none waits).
func (tx *Tx) DueDestinations(now time.Time) ([]Destination, time.Time, error) {
	due, err := rows(tx, `SELECT domain,next,failures,asked,error FROM destinations WHERE next<=? ORDER BY next`, []any{now.Unix()},
		func(d *Destination) []any {
			return []any{&d.Domain, (*unixTime)(&d.Next), &d.Failures, &d.Asked, &d.Error}
		})
	if err != nil {
		return nil, time.Time{}, err
	}
	var next time.Time
	err = tx.one(`SELECT next FROM destinations WHERE next>? ORDER BY next LIMIT 1`, []any{now.Unix()}, (*unixTime)(&next))
	if errors.Is(err, ErrNotFound) {
		return due, time.Time{}, nil
	}
	return due, next, err
}

// Destinations lists all domains that mail waits for.
func (tx *Tx) Destinations() ([]Destination, error) {
	var all []Destination
	err := tx.each(`SELECT domain,coalesce(next,0),failures,error FROM destinations ORDER BY domain`, nil,
		func(scan func(...any) error) error {
			var d Destination
			err := scan(&d.Domain, (*unixTime)(&d.Next), &d.Failures, &d.Error)
			if d.Next.Unix() == 0 {
				d.Next = time.Time{}
			}
			all = append(all, d)
			return err
		})
	return all, err
}

const queueColumns = `name,blob,size,thread,form,sender,flags,ret,envid,created,since,due,bymode,deadline,account,report`

func queueRow(q *QueueItem) []any {
	return []any{&q.Name, &q.Blob.ID, &q.Blob.Size, &q.Blob.Thread, &q.Blob.Form, &q.Sender, &q.Flags, &q.Ret, &q.EnvID,
		(*unixTime)(&q.Created), (*unixTime)(&q.Since), (*unixTime)(&q.Due), &q.ByMode, (*unixTime)(&q.Deadline), &q.Account, &q.Report}
}

// queueItem reads an envelope, without its recipients.
func (tx *Tx) queueItem(id int64) (QueueItem, error) {
	var q QueueItem
	err := tx.one(`SELECT id,`+queueColumns+` FROM queue WHERE id=?`, []any{id}, append([]any{&q.ID}, queueRow(&q)...)...)
	if err == nil && q.Sender != "" {
		q.From, err = ParseAddr(q.Sender)
	}
	q.Size = q.Blob.Size
	return q, err
}

// rcptColumns are what is read of a recipient r and its destination d. Its tries, its next try and its error are the
// destination's, too.
const rcptColumns = `r.id,r.address,r.orcpt,r.notify,r.tries+coalesce(d.attempts-r.base,0),max(r.next,coalesce(d.next,0)),r.hold,r.warned,r.forwarded,
	CASE r.error WHEN '' THEN coalesce(d.error,'') ELSE r.error END`

func rcptRow(r *QueueRcpt) []any {
	return []any{&r.ID, &r.Address, &r.ORcpt, &r.Notify, &r.Tries, (*unixTime)(&r.Next), &r.Hold, &r.Warned, &r.Forwarded, &r.Error}
}

// QueueMessage reads a message with all its recipients. One that has gone comes back without any.
func (tx *Tx) QueueMessage(id int64) (QueueItem, error) {
	q, err := tx.queueItem(id)
	if errors.Is(err, ErrNotFound) {
		return q, nil
	}
	if err == nil {
		q.Rcpts, err = tx.queueRcpts(id, ``)
	}
	if err != nil {
		return q, fmt.Errorf("queue item %d: %w", id, err)
	}
	return q, nil
}

// queueRcpts reads the recipients of an item, all of them or those that where and args pick.
func (tx *Tx) queueRcpts(item int64, where string, args ...any) ([]QueueRcpt, error) {
	all, err := rows(tx, `SELECT `+rcptColumns+` FROM recipients r LEFT JOIN destinations d ON d.domain=r.domain WHERE r.item=?`+where+` ORDER BY r.id`,
		append([]any{item}, args...), rcptRow)
	for i := range all {
		if err == nil {
			all[i].Addr, err = ParseAddr(all[i].Address)
		}
	}
	return all, err
}

// QueueDue lists the messages for the domains that are due, in the order they came: at most limit, and only such as came
// after the one with the given ID.
func (tx *Tx) QueueDue(domains []string, now time.Time, after int64, limit int) ([]int64, error) {
	var ids []int64
	for _, d := range domains {
		some, err := tx.ints(`SELECT DISTINCT item FROM recipients INDEXED BY recipients_domain WHERE domain=? AND hold=0 AND item>? AND next<=? ORDER BY item LIMIT ?`,
			d, after, now.Unix(), limit)
		if err != nil {
			return nil, err
		}
		ids = append(ids, some...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[:min(limit, len(ids))], nil
}

// QueueNow reads a message of QueueDue with those of its recipients at the domains whose time has come: none when
// somebody was faster.
func (tx *Tx) QueueNow(id int64, domains []string, now time.Time) (QueueItem, error) {
	list, err := json.Marshal(domains)
	if err != nil {
		return QueueItem{}, err
	}
	q, err := tx.queueItem(id)
	if errors.Is(err, ErrNotFound) {
		return q, nil
	}
	if err == nil {
		q.Rcpts, err = tx.queueRcpts(id, ` AND r.hold=0 AND r.next<=? AND r.domain IN (SELECT value FROM json_each(?))`, now.Unix(), string(list))
	}
	if err != nil {
		return QueueItem{}, fmt.Errorf("queue item %d: %w", id, err)
	}
	return q, nil
}

const queueLookBatch = 50 // messages whose deadlines are looked at in one go

// QueueOverdue returns messages with all their recipients whose deadline is not after now, the earliest first: at most
// queueLookBatch, and such as come after last, which is the last one of the call before, or zero.
func (tx *Tx) QueueOverdue(now time.Time, last QueueItem) ([]QueueItem, error) {
	at := int64(0)
	if !last.Deadline.IsZero() {
		at = last.Deadline.Unix()
	}
	ids, err := tx.ints(`SELECT id FROM queue WHERE deadline>0 AND deadline<=? AND (deadline,id)>(?,?) ORDER BY deadline,id LIMIT ?`,
		now.Unix(), at, last.ID, queueLookBatch)
	var items []QueueItem
	for _, id := range ids {
		if err != nil {
			return nil, err
		}
		var q QueueItem
		q, err = tx.QueueMessage(id)
		items = append(items, q)
	}
	return items, err
}

// NextQueueDeadline returns the earliest deadline of all messages, zero if there is none.
func (tx *Tx) NextQueueDeadline() (time.Time, error) {
	var next time.Time
	err := tx.one(`SELECT coalesce(min(deadline),0) FROM queue WHERE deadline>0`, nil, (*unixTime)(&next))
	return next, err
}

// SetQueueDeadline stores a message's deadline; zero is none.
func (tx *Tx) SetQueueDeadline(id int64, at time.Time) error {
	_, err := tx.exec(`UPDATE queue SET deadline=? WHERE id=?`, (*unixTime)(&at), id)
	return err
}

// QueuePolicy returns what SetQueuePolicy stored, "" at first.
func (tx *Tx) QueuePolicy() (string, error) {
	v, err := tx.Setting(settingQueuePolicy)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	return string(v), err
}

// SetQueuePolicy stores what deadlines are computed from, and makes those of all messages due, so that they are computed anew.
func (tx *Tx) SetQueuePolicy(policy string) error {
	if _, err := tx.exec(`UPDATE queue SET deadline=max(1,since)`); err != nil {
		return err
	}
	return tx.SetSetting(settingQueuePolicy, []byte(policy))
}

const settingQueuePolicy = "queue policy"

// QueueClockJumped moves what ages are counted from, the senders' own times and the deadlines by what the clock has run ahead
// of the time that passed, and returns for how many messages; those that came later stay.
func (tx *Tx) QueueClockJumped(by time.Duration) (int64, error) {
	return tx.exec(`UPDATE queue SET since=max(since,min(since+?1,?2)), due=CASE WHEN due>0 THEN due+?1 ELSE 0 END,
		deadline=CASE WHEN deadline>0 THEN deadline+max(since,min(since+?1,?2))-since ELSE 0 END WHERE created+?1<=?2`,
		int64(by/time.Second), tx.s.Now().Unix())
}

// QueueFault counts a fault of ours with a message, and returns how many there were since it was last released.
func (tx *Tx) QueueFault(id int64) (int, error) {
	var n int
	err := tx.one(`UPDATE queue SET faults=faults+1 WHERE id=? RETURNING faults`, []any{id}, &n)
	return n, err
}

// QueueHoldRcpts takes recipients out of the runner's sight until QueueHold gives them back; text says why.
func (tx *Tx) QueueHoldRcpts(rcpts []QueueRcpt, text string) error {
	for _, r := range rcpts {
		if _, err := tx.exec(`UPDATE recipients SET hold=1, error=? WHERE id=?`, text, r.ID); err != nil {
			return err
		}
		if err := tx.tidyDestinations([]string{r.Addr.Domain}); err != nil {
			return err
		}
	}
	tx.Touch(QueueTopic)
	return nil
}

// QueueDone takes recipients off the queue, and the message with the last of them.
func (tx *Tx) QueueDone(item int64, rcpts ...QueueRcpt) error {
	for _, r := range rcpts {
		if _, err := tx.exec(`DELETE FROM recipients WHERE id=?`, r.ID); err != nil {
			return err
		}
	}
	var blob BlobID
	err := tx.one(`DELETE FROM queue WHERE id=? AND NOT EXISTS(SELECT 1 FROM recipients WHERE item=queue.id) RETURNING blob`, []any{item}, &blob)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return tx.release(blob)
}

// QueueDefer stores a recipient's next try and the reason, and counts the one that failed. r.Tries is ignored, the row is
// incremented. For a failure of the whole destination call DestinationFailed.
func (tx *Tx) QueueDefer(r QueueRcpt) error {
	_, err := tx.exec(`UPDATE recipients SET tries=tries+1, next=?, error=? WHERE id=?`, r.Next.Unix(), r.Error, r.ID)
	return err
}

// QueueWarned notes that the sender has been told of the delay.
func (tx *Tx) QueueWarned(r QueueRcpt) error {
	_, err := tx.exec(`UPDATE recipients SET warned=1 WHERE id=?`, r.ID)
	return err
}

// DestinationFailed counts a failed try of the domains and sets the next one. A try that somebody asked for brings the end of no
// message nearer: it does not count among theirs.
func (tx *Tx) DestinationFailed(domains []string, next time.Time, text string) error {
	for _, d := range domains {
		if _, err := tx.exec(`UPDATE destinations SET failures=failures+1, attempts=attempts+(asked=0), asked=0, next=?, error=? WHERE domain=?`, nullTime(next), text, d); err != nil {
			return err
		}
	}
	return tx.tidyDestinations(domains)
}

// nullTime is what the file holds for a time; NULL for zero.
func nullTime(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.Unix()
}

// DestinationWaits has domains wait for a time without counting a try; zero is until somebody asks (QueueRetry). Those that somebody has
// asked for are left as they are, unless asking makes no difference.
func (tx *Tx) DestinationWaits(domains []string, next time.Time, askedToo bool) error {
	for _, d := range domains {
		if _, err := tx.exec(`UPDATE destinations SET next=? WHERE domain=? AND (asked=0 OR ?)`, nullTime(next), d, askedToo); err != nil {
			return err
		}
	}
	return nil
}

// DestinationWorked sets the domains' next look to what still waits for them.
func (tx *Tx) DestinationWorked(domains []string) error {
	for _, d := range domains {
		_, err := tx.exec(`UPDATE destinations SET failures=0, asked=0, error='', next=(SELECT min(next) FROM recipients WHERE domain=destinations.domain AND hold=0) WHERE domain=?`, d)
		if err != nil {
			return err
		}
	}
	return tx.tidyDestinations(domains)
}

// tidyDestinations forgets domains that nothing waits for, and leaves those alone where everything is on hold.
func (tx *Tx) tidyDestinations(domains []string) error {
	for _, d := range domains {
		if _, err := tx.exec(`DELETE FROM destinations WHERE domain=? AND NOT EXISTS(SELECT 1 FROM recipients WHERE domain=destinations.domain)`, d); err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE destinations SET next=NULL WHERE domain=? AND NOT EXISTS(SELECT 1 FROM recipients WHERE domain=destinations.domain AND hold=0)`, d); err != nil {
			return err
		}
	}
	return nil
}

// Queue lists what is in the queue in the order it came: all of it for "", the message of that name, or what waits for
// that domain.
func (tx *Tx) Queue(match string) ([]QueueItem, error) {
	ids, err := tx.ints(`SELECT id FROM queue q WHERE ?1='' OR name=?1 OR EXISTS(SELECT 1 FROM recipients WHERE item=q.id AND domain=?1) ORDER BY id`, match)
	if err != nil {
		return nil, err
	}
	var items []QueueItem
	for _, id := range ids {
		q, err := tx.queueItem(id)
		if err == nil {
			q.Rcpts, err = tx.queueRcpts(id, ` AND (?2='' OR ?3 OR r.domain=?2)`, match, q.Name == match)
		}
		if err != nil {
			return nil, fmt.Errorf("queue item %d: %w", id, err)
		}
		items = append(items, q)
	}
	return items, nil
}

// DestinationFailures is how often the worst of the domains has failed in a row.
func (tx *Tx) DestinationFailures(domains []string) (int, error) {
	most := 0
	for _, d := range domains {
		var n int
		err := tx.one(`SELECT coalesce(max(failures),0) FROM destinations WHERE domain=?`, []any{d}, &n)
		if err != nil {
			return 0, err
		}
		most = max(most, n)
	}
	return most, nil
}

// QueuePage lists the first messages of the queue, or those from one sender, at most limit.
func (tx *Tx) QueuePage(sender string, limit int) ([]QueueItem, error) {
	ids, err := tx.ints(`SELECT id FROM queue WHERE ?1='' OR lower(sender)=?1 ORDER BY id LIMIT ?2`, sender, limit)
	if err != nil {
		return nil, err
	}
	var items []QueueItem
	for _, id := range ids {
		q, err := tx.queueItem(id)
		if err == nil {
			q.Rcpts, err = tx.queueRcpts(id, ``)
		}
		if err != nil {
			return nil, err
		}
		items = append(items, q)
	}
	return items, nil
}

// QueueRetry makes what Queue lists due at once, and forgets that its destinations have failed. It returns how many
// messages it found.
func (tx *Tx) QueueRetry(match string) (int, error) {
	return tx.eachQueued(match, func(r QueueRcpt) error {
		now := tx.s.Now().Unix()
		if _, err := tx.exec(`UPDATE recipients SET next=? WHERE id=?`, now, r.ID); err != nil {
			return err
		}
		_, err := tx.exec(`UPDATE destinations SET next=?, failures=0, asked=1 WHERE domain=? AND EXISTS(SELECT 1 FROM recipients WHERE domain=destinations.domain AND hold=0)`, now, r.Addr.Domain)
		return err
	})
}

// QueueAsk has everything that waits for a domain tried at once, whatever its route says, and counts the messages.
func (tx *Tx) QueueAsk(domain string) (int, error) {
	n, err := tx.QueueReady(domain)
	if err != nil || n == 0 {
		return 0, err
	}
	tx.Touch(QueueTopic)
	_, err = tx.exec(`UPDATE destinations SET next=?, failures=0, asked=1 WHERE domain=?`, tx.s.Now().Unix(), domain)
	return n, err
}

// QueueReady makes everything that waits for a domain due, without a word to the runner, and counts the messages.
func (tx *Tx) QueueReady(domain string) (int, error) {
	now := tx.s.Now().Unix()
	var n int
	err := tx.one(`SELECT count(DISTINCT item) FROM recipients WHERE domain=? AND hold=0`, []any{domain}, &n)
	if err != nil || n == 0 {
		return 0, err
	}
	_, err = tx.exec(`UPDATE recipients SET next=? WHERE domain=? AND hold=0 AND next>?`, now, domain, now)
	return n, err
}

// SendingUse says how many messages a device has sent, and when the last one; nothing for one that has sent none.
func (tx *Tx) SendingUse(name string) (int64, time.Time, error) {
	v, err := tx.Setting("device " + name)
	if errors.Is(err, ErrNotFound) {
		return 0, time.Time{}, nil
	}
	if err != nil {
		return 0, time.Time{}, err
	}
	var n, at int64
	_, err = fmt.Sscanf(string(v), "%d %d", &n, &at)
	return n, time.Unix(at, 0), err
}

// QueueHold takes what Queue lists out of the runner's sight, or gives it back.
func (tx *Tx) QueueHold(match string, on bool) (int, error) {
	return tx.eachQueued(match, func(r QueueRcpt) error {
		if _, err := tx.exec(`UPDATE recipients SET hold=?, bundle='' WHERE id=?`, on, r.ID); err != nil {
			return err
		}
		if _, err := tx.exec(`UPDATE queue SET faults=0, deadline=max(1,since) WHERE id=(SELECT item FROM recipients WHERE id=?)`, r.ID); err != nil {
			return err
		}
		if on {
			return tx.tidyDestinations([]string{r.Addr.Domain})
		}
		_, err := tx.exec(`UPDATE destinations SET next=(SELECT min(next) FROM recipients WHERE domain=destinations.domain AND hold=0)
			WHERE domain=? AND next IS NULL`, r.Addr.Domain)
		return err
	})
}

// QueueRemove drops what Queue lists, without a report to anybody.
func (tx *Tx) QueueRemove(match string) (int, error) {
	items, err := tx.Queue(match)
	if err != nil {
		return 0, err
	}
	for _, q := range items {
		if err := tx.QueueDone(q.ID, q.Rcpts...); err != nil {
			return 0, err
		}
		for _, r := range q.Rcpts {
			if err := tx.tidyDestinations([]string{r.Addr.Domain}); err != nil {
				return 0, err
			}
		}
	}
	tx.Touch(QueueTopic)
	return len(items), nil
}

func (tx *Tx) eachQueued(match string, fn func(QueueRcpt) error) (int, error) {
	items, err := tx.Queue(match)
	if err != nil {
		return 0, err
	}
	for _, q := range items {
		for _, r := range q.Rcpts {
			if err := fn(r); err != nil {
				return 0, err
			}
		}
	}
	tx.Touch(QueueTopic)
	return len(items), nil
}
