package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// benchMail is a message of about 4 KB.
var benchMail = "From: Bob <bob@lab2.arpa>\r\nTo: Ann <ann@home.arpa>\r\nSubject: the weekly report\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n" +
	"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("All work and no play makes Jack a dull boy, says the report.\r\n", 60)

// BenchmarkAccept measures durable accepts over real sockets: MAIL, RCPT and DATA of a 4 KB message, answered after the
// commit. "flush4ms" adds four milliseconds to each commit, as a disk with slow flushes does.
func BenchmarkAccept(b *testing.B) {
	for _, delay := range []time.Duration{0, 4 * time.Millisecond} {
		for _, clients := range []int{1, 4, 16, 64} {
			name := fmt.Sprintf("clients=%d", clients)
			if delay > 0 {
				name = "flush4ms/" + name
			}
			b.Run(name, func(b *testing.B) { benchAccept(b, clients, delay) })
		}
	}
}

func benchAccept(b *testing.B, clients int, delay time.Duration) {
	s := startServerOn(b, b.TempDir()+"/mail.db", StoreOptions{CommitDelay: delay}, "[limits]", "per_address = 1000")
	var left atomic.Int64
	left.Store(int64(b.N))
	b.SetBytes(int64(len(benchMail)))
	b.ResetTimer()
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			nc, err := net.Dial("tcp", s.addr["smtp"])
			if err != nil {
				b.Error(err)
				return
			}
			defer nc.Close()
			r := bufio.NewReader(nc)
			err = dialogue(nc, r, "", "220", "EHLO bench.home.arpa", "250")
			for err == nil && left.Add(-1) >= 0 {
				err = dialogue(nc, r, "MAIL FROM:<bob@lab2.arpa>\r\nRCPT TO:<ann@home.arpa>\r\nDATA", "250", "", "250", "", "354", benchMail+".", "250")
			}
			if err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
}

// BenchmarkBare is what Accept is compared with: the same rows inserted by one goroutine that does nothing else, as many
// for each commit as there are clients.
func BenchmarkBare(b *testing.B) {
	for _, batch := range []int{1, 4, 16, 64} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) {
			st := openTestStore(b, StoreOptions{})
			_, inbox := addTestUser(b, st, "ann")
			head, body, _ := strings.Cut(benchMail, "\r\n\r\n")
			head += "\r\n\r\n"
			tree := spoolOf(b, st, benchMail).Tree().Marshal()
			b.SetBytes(int64(len(benchMail)))
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				mustWrite(b, st, func(tx *Tx) error {
					for range batch {
						if err := bareInsert(tx, inbox, head, body, tree); err != nil {
							return err
						}
					}
					return nil
				})
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}

func bareInsert(tx *Tx, inbox Mailbox, head, body string, tree []byte) error {
	var blob, uid, mod int64
	err := tx.one(`INSERT INTO blobs(size,headlen,head,tree) VALUES(?,?,?,?) RETURNING id`, []any{len(head) + len(body), len(head), []byte(head), tree}, &blob)
	if err != nil {
		return err
	}
	if _, err := tx.exec(`INSERT INTO chunks(id,data) VALUES(?,?)`, blob<<chunkBits, []byte(body)); err != nil {
		return err
	}
	if err := tx.one(`UPDATE users SET modseq=modseq+1 WHERE id=? RETURNING modseq`, []any{inbox.Owner}, &mod); err != nil {
		return err
	}
	if err := tx.one(`UPDATE mailboxes SET uidnext=uidnext+1, highestmodseq=?, n_exists=n_exists+1 WHERE id=? RETURNING uidnext-1`, []any{mod, inbox.ID}, &uid); err != nil {
		return err
	}
	_, err = tx.exec(`INSERT INTO messages(mailbox,uid,modseq,flags,blob,size,internal,saved,thread,form) VALUES(?,?,?,0,?,?,0,0,0,0)`, inbox.ID, uid, mod, blob, len(head)+len(body))
	return err
}
