// One try of one next hop: the connections that carry what is due to a host.
package main

import (
	"errors"
	"sync"
)

// queueJob is one try of one next hop.
type queueJob struct {
	s       *Server
	q       *queueRunner
	hop     nextHop
	domains []string // nil: nothing is tried, only decided
	anyTLS  bool     // what its hosts have to show does not matter: only mail goes that says so (MailAnyTLS)

	mu    sync.Mutex
	ids   []int64        // messages that are due and not yet begun
	after int64          // the last message that was looked up
	fault error          // why an outcome could not be stored
	more  sync.WaitGroup // connections beside the first
	conns int            // how many those are
}

func newQueueJob(q *queueRunner, hop nextHop, domains []string) *queueJob {
	return &queueJob{s: q.s, q: q, hop: hop, domains: domains}
}

// run hands over everything that is due. Its error is the next hop's: it goes on for as long as only single messages fail.
func (j *queueJob) run() error {
	some, err := read(j.s.store, func(tx *Tx) ([]int64, error) { return tx.QueueDue(j.domains, j.s.store.Now(), 0, 1) })
	if err != nil || len(some) == 0 {
		return err
	}
	if j.hop.kind != nextHopLocal {
		return j.remote()
	}
	for {
		err := j.each(j.deliverLocal)
		var cut *queueCut
		if !errors.As(err, &cut) { // else it was one message, and the others come next
			return err
		}
	}
}

// next takes the next message that is due, nil for none; those too that come while the others are on their way. It is read
// at the last moment: what was held or put into a bundle meanwhile stays here.
func (j *queueJob) next() (*QueueItem, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.s.stop.Err() == nil && j.fault == nil {
		var q QueueItem
		err := j.s.store.Read(func(tx *Tx) error {
			var err error
			if len(j.ids) == 0 {
				j.ids, err = tx.QueueDue(j.domains, j.s.store.Now(), j.after, queueBatch)
				if err != nil || len(j.ids) == 0 {
					return err
				}
			}
			q, err = tx.QueueNow(j.ids[0], j.domains, j.s.store.Now())
			return err
		})
		if err != nil || len(j.ids) == 0 {
			return nil, err
		}
		j.after = max(j.after, j.ids[0])
		j.ids = j.ids[1:]
		if len(q.Rcpts) > 0 && !j.q.owes(q.ID) && (!j.anyTLS || q.Flags&MailAnyTLS != 0) {
			return &q, nil
		}
	}
	return nil, j.fault
}

// putBack makes a message the next one again; those of its recipients who have an outcome by then are left out.
func (j *queueJob) putBack(q *QueueItem) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ids = append([]int64{q.ID}, j.ids...)
}

// each calls fn for every message that is due. A fault of ours ends it with a *queueCut, as a cut connection would.
func (j *queueJob) each(fn func(*QueueItem) error) error {
	for {
		q, err := j.next()
		if q == nil || err != nil {
			return err
		}
		err = j.s.crew.Guard("queued message", func() error { return fn(q) })
		var fault *PanicError
		if errors.As(err, &fault) {
			err = j.faulty(q)
			if err == nil {
				err = &queueCut{errInternal}
			}
		}
		if err != nil {
			return err
		}
	}
}

const (
	queueFaults    = 2 // faults of ours with one message, after which it is held
	queueFaultText = "held: a fault in Postino has stopped it twice; the log says where, and `postino queue release` tries again"
)

// faulty counts a fault of ours with a message, and puts it off or holds it. The count is in the file: the fault may be one
// that ends the process.
func (j *queueJob) faulty(q *QueueItem) error {
	return j.s.store.Write(func(tx *Tx) error {
		n, err := tx.QueueFault(q.ID)
		if err != nil {
			return err
		}
		if n >= queueFaults {
			err = tx.QueueHoldRcpts(q.Rcpts, queueFaultText)
		}
		for _, r := range q.Rcpts {
			if err == nil && n < queueFaults {
				r.Error, r.Next = errInternal.Error(), tx.s.Now().Add(j.s.retryAfter(r.Tries+1))
				err = tx.QueueDefer(r)
			}
		}
		if err != nil {
			return err
		}
		return j.s.renewDeadline(tx, q.ID)
	})
}

// remote hands everything that is due to the first host that takes it.
func (j *queueJob) remote() error {
	hops, err := j.s.hops(j.s.stop, j.hop, j.domains[0])
	if err != nil && dnsPermanent(err) {
		return j.each(func(q *QueueItem) error { return j.record(q, queueFailAll(q, queueStatus(err), queueText(err))) })
	}
	if err != nil {
		return err
	}
	var unproven []hopAddr
	for _, h := range hops {
		err = j.handOver(h)
		j.more.Wait()
		if err == nil {
			return nil
		}
		if j.s.stop.Err() != nil {
			return err
		}
		j.s.log.Info("host failed", "host", h.host, "addr", h.addr, "err", err)
		if h.fault != nil || (h.proof.strict() && errors.Is(err, smtpErrTLS)) {
			unproven = append(unproven, h)
		}
	}
	j.withAnyTLS(unproven)
	return err
}

// withAnyTLS hands the mail over that is to go all the same to hosts which did not show what they have to. The others wait.
func (j *queueJob) withAnyTLS(hops []hopAddr) {
	if len(hops) == 0 {
		return
	}
	j.mu.Lock()
	j.anyTLS, j.ids, j.after = true, nil, 0
	j.mu.Unlock()
	q, err := j.next()
	if q == nil || err != nil {
		return
	}
	j.putBack(q)
	for _, h := range hops {
		err := j.handOver(h.anyTLS())
		j.more.Wait()
		if err == nil || j.s.stop.Err() != nil {
			return
		}
		j.s.log.Info("host failed, whatever it shows", "host", h.host, "addr", h.addr, "err", err)
	}
}

// handOver hands everything that is due to one host. A connection that is cut costs the message that it was cut in a try,
// and the rest goes on in a new one.
func (j *queueJob) handOver(h hopAddr) error {
	h.crowded, h.hurry = j.q.isCrowded, j.q.hurry
	for cuts := 0; ; {
		c, err := j.s.smtpDial(h)
		if err != nil {
			return err
		}
		n, err := j.carry(c, func() { j.another(h) })
		var cut *queueCut
		switch {
		case err == nil:
			c.quit()
			return nil
		case errors.Is(err, errQueueEnough):
			c.quit()
			continue
		case !errors.As(err, &cut):
			c.close()
			return err
		}
		c.close()
		cuts++
		if n > 0 {
			cuts = 1
		}
		if cuts >= queueCuts || j.s.stop.Err() != nil || j.broken() != nil {
			return cut.err
		}
	}
}

// broken says why an outcome could not be stored, nil if all could: then nothing more goes out.
func (j *queueJob) broken() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.fault
}

// another opens one more connection to a host that has taken much and has much to take, so that a flush of the disk
// serves several messages. When it fails, the first one goes on alone.
func (j *queueJob) another(h hopAddr) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.conns >= queueConns-1 {
		return
	}
	j.conns++
	j.s.crew.Go(&j.more, "another connection", func() {
		c, err := j.s.smtpDial(h)
		if err == nil {
			_, err = j.carry(c, nil)
			if err == nil || errors.Is(err, errQueueEnough) {
				c.quit()
			} else {
				c.close()
			}
		}
		if err != nil {
			j.s.log.Info("connection ended", "host", h.host, "addr", h.addr, "err", err)
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.conns--
	})
}

// carry sends what is due over one connection and counts the messages. more is called after each queueMore of them.
func (j *queueJob) carry(c *smtpClient, more func()) (int, error) {
	k := &queueCarrier{j: j, c: c}
	n := 0
	err := j.each(func(q *QueueItem) error {
		err := k.send(q)
		if err != nil {
			return err
		}
		n++
		if n%queueMore == 0 && more != nil {
			more()
		}
		return nil
	})
	return n, errors.Join(err, k.waitRecorded())
}

// queueCarrier is a connection and the message that it carried last.
//
// Only one message at a time is handed over and not yet taken off the queue: the next one's envelope goes out while the
// outcome is stored, but its content only then. So a crash repeats one message for each connection at worst.
type queueCarrier struct {
	j      *queueJob
	c      *smtpClient
	stored <-chan error // what came of storing the last outcome; nil when there is none
	coming func()       // takes back the announcement of the next outcome
}

// ready waits until the content of the next message may go.
func (k *queueCarrier) ready() error {
	if err := k.waitRecorded(); err != nil {
		return err
	}
	k.coming = k.j.s.store.Announce() // so that several connections' outcomes share a flush of the disk
	k.j.s.crew.After(queueLull, "outcome that was announced", k.coming)
	return nil
}

// record stores the outcomes of a transaction and does not wait for it. What can't be stored is the runner's to keep.
func (k *queueCarrier) record(q *QueueItem, out []outcome) error {
	if err := k.waitRecorded(); err != nil {
		return err
	}
	coming := k.coming
	k.coming = nil
	j := k.j
	k.stored = j.s.crew.Result("outcome", func() error {
		if coming != nil {
			defer coming()
		}
		err := j.s.crew.Guard("storing an outcome", func() error { return j.record(q, out) })
		if err != nil {
			j.q.owe(queueEntry{j, *q, out}, err)
		}
		return err
	})
	return nil
}

// waitRecorded waits until the outcomes so far are stored.
func (k *queueCarrier) waitRecorded() error {
	if k.stored == nil {
		return nil
	}
	err := <-k.stored
	k.stored = nil
	if err != nil {
		k.j.mu.Lock()
		defer k.j.mu.Unlock()
		k.j.fault = errors.Join(k.j.fault, err)
	}
	return err
}

// errQueueEnough says that the peer takes no more mail on this connection (RFC 9422 §4.1).
var errQueueEnough = errors.New("the connection has carried as much mail as it may")

// queueShare is how many of the recipients can go in one transaction.
func queueShare(c *smtpClient, rcpts []QueueRcpt) int {
	n := min(len(rcpts), queueRcpts)
	if most := c.limit("RCPTMAX"); most > 0 {
		n = min(n, most)
	}
	most, domains := c.limit("RCPTDOMAINMAX"), map[string]bool{}
	for i := 0; most > 0 && i < n; i++ {
		domains[rcpts[i].Addr.Domain] = true
		if len(domains) > most {
			return i
		}
	}
	return n
}

// queueCut is a connection that ended inside a message.
type queueCut struct{ err error }

func (e *queueCut) Error() string { return e.err.Error() }

// send carries one message to its recipients, at most queueRcpts in each transaction.
func (k *queueCarrier) send(q *QueueItem) error {
	content, err := k.j.s.store.Content(q.Blob.ID)
	if err == nil {
		err = content.Sound(0, content.Size)
	}
	if errors.Is(err, ErrContentDamaged) { // no try will mend it, and its sender may have it still
		k.j.s.crew.Complain("queue: a message is damaged", err, "msg", q.Name)
		return k.record(q, queueFailAll(q, "5.3.0", reasonDamaged))
	}
	if err != nil {
		return err
	}
	rest := q.Rcpts
	for len(rest) > 0 {
		if most := k.c.limit("MAILMAX"); most > 0 && k.c.mails >= most {
			if err := k.waitRecorded(); err != nil {
				return err
			}
			k.j.putBack(q)
			return errQueueEnough
		}
		n := queueShare(k.c, rest)
		part := *q
		part.Rcpts, rest = rest[:n], rest[n:]
		out, err := k.transact(&part, content)
		for _, o := range out {
			if o.again {
				rest = append(rest, o.rcpt)
			}
		}
		if rerr := k.record(&part, out); rerr != nil {
			return rerr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// transact makes one transaction and turns the replies into outcomes.
func (k *queueCarrier) transact(q *QueueItem, content *Content) ([]outcome, error) {
	c, s := k.c, k.j.s
	m, faults := c.prepare(q, content)
	m.ready = k.ready
	var out []outcome
	for _, f := range faults {
		out = append(out, outcome{rcpt: f.rcpt, action: ActionFailed, status: f.status, said: f.said})
	}
	if len(m.rcpts) == 0 {
		return out, nil
	}
	replies, err := c.send(m)
	taken := false
	for _, r := range replies {
		taken = taken || r.code/100 == 2
	}
	for i, r := range replies {
		o := outcome{rcpt: m.to[i], remote: c.host, said: r.String(), status: r.enhanced()}
		switch {
		case r.code/100 == 2:
			k.j.q.took(k.j.hop.key)
			o.action, o.dsn = ActionRelayed, c.offers("DSN")
			s.log.Info("sent", "msg", q.Name, "from", q.From, "rcpt", o.rcpt.Addr, "host", c.host, "tls", c.secure, "reply", o.said)
		case r.code/100 == 5:
			o.action = ActionFailed
		case r.code == 452 && taken: // too many recipients (RFC 5321 §4.5.3.1.10): the rest goes next
			o.action, o.again = ActionDelayed, true
		case r.code == 0:
			o.action, o.remote, o.said, o.status = ActionDelayed, "", reasonLost, "4.4.2"
			if err != nil {
				o.said += ": " + queueText(err)
			}
			o.again = s.stop.Err() != nil // we hung up, and it does not count as a try
		default:
			o.action = ActionDelayed
		}
		out = append(out, o)
	}
	if err != nil {
		return out, &queueCut{err}
	}
	return out, nil
}
