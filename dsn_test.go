package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

// parseReport takes a report apart the way a program would (RFC 3464): the fields of the message and of each recipient.
func parseReport(t *testing.T, text string) (top *Part, groups []Header, part func(i int) string) {
	t.Helper()
	r := NewMIMEReader()
	r.Write([]byte(text))
	top = r.Tree()
	if !top.Is("multipart", "report") || top.Param("report-type") != "delivery-status" || len(top.Parts) != 3 {
		t.Fatalf("no report: %q", text)
	}
	part = func(i int) string {
		b, err := io.ReadAll(top.Parts[i].Decoded(strings.NewReader(text)))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for _, g := range strings.Split(strings.TrimRight(part(1), "\r\n"), "\r\n\r\n") {
		groups = append(groups, ParseHeader([]byte(g+"\r\n")))
	}
	return top, groups, part
}

func TestReportText(t *testing.T) {
	long := "550 5.1.1 " + strings.Repeat("long words ", 40) + "\r\nX-Injected: yes\nüü"
	for _, action := range []ReportAction{ActionFailed, ActionDelayed, ActionDelivered, ActionRelayed, ActionExpanded} {
		for _, utf8 := range []bool{false, true} {
			r := &Report{Action: action, MTA: "mx.home.arpa", From: Addr{"postmaster", "home.arpa"}, To: Addr{"ann", "home.arpa"}, ID: "abc",
				Date: time.Unix(1e9, 0), Arrived: time.Unix(1e9, 0), EnvID: "e\r\nX: y", UTF8: utf8,
				Header:  []byte("Subject: =?utf-8?B?5L2g5aW9?=\r\nMessage-ID: <m@x>\r\nDate: Mon, 1 Jan 2001 00:00:00 +0000\r\n\r\n"),
				Message: io.NewSectionReader(strings.NewReader("Subject: whole\r\n\r\nbody\r\n"), 0, 24), Whole: action == ActionFailed,
				Rcpts: []ReportRcpt{{Final: Addr{"x", "far.example"}, Original: "rfc822;y@far.example\r\nZ: z", Status: "5.1.1", Remote: "far.example", Said: long, Last: time.Unix(1e9, 0)},
					{Final: Addr{"z", "bücher.example"}, Status: "5.1.2", Said: "no such domain", Until: time.Unix(2e9, 0)}}}
			var b bytes.Buffer
			n, err := r.WriteTo(&b)
			if err != nil || n != int64(b.Len()) {
				t.Fatalf("%d of %d octets, %v", n, b.Len(), err)
			}
			text := b.String()
			if strings.ContainsAny(strings.ReplaceAll(text, "\r\n", ""), "\r\n") {
				t.Errorf("%s: bare line ends", action)
			}
			top, groups, part := parseReport(t, text)
			if len(groups) != 3 {
				t.Fatalf("%s: %d groups: %v", action, len(groups), groups)
			}
			for _, g := range groups {
				if g.Get("X-Injected")+g.Get("X")+g.Get("Z") != "" {
					t.Errorf("%s: injected: %v", action, g)
				}
			}
			if groups[1].Get("Action") != string(action) || groups[1].Get("Status") != "5.1.1" || !strings.HasPrefix(groups[1].Get("Diagnostic-Code"), "smtp; 550 5.1.1 long words") {
				t.Errorf("%s: %v", action, groups[1])
			}
			want := "rfc822; z@xn--bcher-kva.example"
			if utf8 {
				want = "utf-8; z@bücher.example"
			}
			if got := groups[2].Get("Final-Recipient"); got != want {
				t.Errorf("final recipient %q", got)
			}
			if !utf8 && !isASCII(part(1)) {
				t.Errorf("%s: UTF-8 in a report without: %q", action, part(1))
			}
			h := ParseHeader([]byte(text))
			if got := h.Text("Subject"); !strings.HasSuffix(got, ": 你好") || h.Get("In-Reply-To") != "<m@x>" || h.Get("Auto-Submitted") != "auto-replied" {
				t.Errorf("header %q", got)
			}
			if body := part(0); !strings.Contains(body, "邮件") || !strings.Contains(body, "x@far.example") {
				t.Errorf("text %q", body)
			}
			if !(PeerCan{}).Takes(top) && !utf8 {
				t.Errorf("%s: not 7-bit: %q", action, text)
			}
		}
	}
}

// TestQueueDSN passes the sender's wishes on to a peer that knows DSN, and reports for one that does not.
func TestQueueDSN(t *testing.T) {
	for _, knows := range []bool{true, false} {
		p := newPeer(t, nil)
		if knows {
			p.ehlo = "PIPELINING\nDSN"
		}
		qt := newQueueTest(t, p)
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Ret: "HDRS", EnvID: "id+2B1"}, Body: qt.store.NewSpool(1000),
			To: []Rcpt{{Recipient: Recipient{Addr: mustAddr(t, "a@far.example"), Notify: NotifySuccess | NotifyFailure, ORcpt: "rfc822;A@far.example"}},
				{Recipient: Recipient{Addr: mustAddr(t, "b@far.example"), Notify: NotifyNever}}, {Recipient: Recipient{Addr: mustAddr(t, "c@far.example")}}}}
		io.WriteString(m.Body, "Subject: x\r\n\r\nx\r\n")
		if err := qt.accept(m); err != nil {
			t.Fatal(err)
		}
		qt.step()
		said := strings.Join(p.said(), "\n")
		box := qt.inbox(t, "ann@home.arpa")
		if knows {
			for _, want := range []string{" RET=HDRS ENVID=id+2B1\n", "RCPT TO:<a@far.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;A@far.example\n", "RCPT TO:<b@far.example> NOTIFY=NEVER\n", "RCPT TO:<c@far.example>\n"} {
				if !strings.Contains(said, want) {
					t.Errorf("no %q in %q", want, said)
				}
			}
			if len(box) != 0 {
				t.Errorf("reports %q", box)
			}
			continue
		}
		if strings.Contains(said, "NOTIFY") || len(box) != 1 {
			t.Fatalf("said %q, reports %q", said, box)
		}
		_, groups, _ := parseReport(t, box[0])
		if len(groups) != 2 || groups[0].Get("Original-Envelope-Id") != "id+1" || groups[1].Get("Action") != "relayed" || groups[1].Get("Original-Recipient") != "rfc822; A@far.example" {
			t.Errorf("report %v", groups)
		}
	}
}

// TestQueueNotifyNever gets no report about a failure.
func TestQueueNotify(t *testing.T) {
	for notify, want := range map[int]int{0: 1, NotifyNever: 0, NotifySuccess: 0, NotifyFailure: 1, NotifyDelay: 0} {
		p := newPeer(t, func(l string) string {
			if strings.HasPrefix(l, "RCPT") {
				return "550 no"
			}
			return ""
		})
		qt := newQueueTest(t, p)
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa")}, Body: qt.store.NewSpool(1000), To: []Rcpt{{Recipient: Recipient{Addr: mustAddr(t, "a@far.example"), Notify: notify}}}}
		io.WriteString(m.Body, "Subject: x\r\n\r\nx\r\n")
		if err := qt.accept(m); err != nil {
			t.Fatal(err)
		}
		qt.step()
		qt.wantQueue(0)
		if n := len(qt.inbox(t, "ann@home.arpa")); n != want {
			t.Errorf("NOTIFY=%s: %d reports", notifyText(notify), n)
		}
	}
}

// TestQueueHold keeps a message back that asked for it, for people here too, and counts its age from then.
func TestQueueHold(t *testing.T) {
	p := newPeer(t, nil)
	qt := newQueueTest(t, p)
	m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Hold: qt.store.Now().Add(100 * time.Hour)}, Body: qt.store.NewSpool(1000),
		To: rcptsTo(mustAddr(t, "a@far.example"), mustAddr(t, "bob@home.arpa"))}
	io.WriteString(m.Body, "Subject: x\r\n\r\nx\r\n")
	if err := qt.accept(m); err != nil {
		t.Fatal(err)
	}
	qt.step()
	qt.forward(99 * time.Hour)
	qt.step()
	if len(p.received()) != 0 || len(qt.inbox(t, "bob@home.arpa")) != 0 {
		t.Error("it came too early")
	}
	qt.forward(2 * time.Hour)
	qt.step()
	qt.wantQueue(0)
	if len(p.received()) != 1 || len(qt.inbox(t, "bob@home.arpa")) != 1 || len(qt.inbox(t, "ann@home.arpa")) != 0 {
		t.Errorf("%d sent, %d for bob", len(p.received()), len(qt.inbox(t, "bob@home.arpa")))
	}
}

// TestQueueForms sends messages of every kind to peers of every kind: nothing may reach a peer that it did not offer to take.
func TestQueueForms(t *testing.T) {
	eight := "Subject: 8\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGr\u00fc\u00dfe \u4f60\u597d\r\n"
	raw := "Subject: \u4f60\u597d\r\n\r\nASCII\r\n"
	long := "Subject: long\r\n\r\n" + strings.Repeat("x", 2000) + "\r\n"
	nested := "Subject: n\r\nMIME-Version: 1.0\r\nContent-Type: message/rfc822\r\n\r\nSubject: \u4f60\r\n\r\ninner\r\n"
	signed := "Subject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\u00fc\r\n--b\r\nContent-Type: application/pgp-signature\r\n\r\nx\r\n--b--\r\n"
	bin := "Subject: b\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\x00\r\x01\n\xff"
	for _, c := range []struct {
		name, content, ehlo string
		flags               int
		mail, failed        string // what MAIL must hold; the status of the report
		asIs                bool
	}{
		{"8bit", eight, "8BITMIME", 0, " BODY=8BITMIME", "", true},
		{"8bit to 7", eight, "PIPELINING", 0, "", "", false},
		{"8bit by BDAT", eight, "8BITMIME\nCHUNKING", 0, " BODY=8BITMIME", "", true},
		{"raw header", raw, "8BITMIME", 0, "", "", false},
		{"raw header, SMTPUTF8 offered and not meant", raw, "8BITMIME\nSMTPUTF8", 0, "", "", false},
		{"utf8 header", raw, "8BITMIME\nSMTPUTF8", MailUTF8, " SMTPUTF8 BODY=8BITMIME", "", true},
		{"utf8 header to ASCII", raw, "8BITMIME", MailUTF8, "", "", false},
		{"long line", long, "8BITMIME", 0, "", "", false},
		{"nested", nested, "SIZE", 0, "", "", false},
		{"signed", signed, "8BITMIME", 0, " BODY=8BITMIME", "", true},
		{"signed to 7", signed, "SIZE", 0, "", "5.6.2", false},
		{"binary", bin, "BINARYMIME\nCHUNKING\n8BITMIME", MailBinary, " BODY=BINARYMIME", "", true},
		{"binary to 8", bin, "8BITMIME\nCHUNKING", MailBinary, "", "", false},
		{"binary without CHUNKING", bin, "8BITMIME\nBINARYMIME", MailBinary, "", "", false},
		{"require TLS", "Subject: x\r\n\r\nx\r\n", "REQUIRETLS", MailRequireTLS, "", "5.7.30", false},
	} {
		p := newPeer(t, nil)
		p.ehlo = c.ehlo
		qt := newQueueTest(t, p)
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Flags: c.flags}, Body: qt.store.NewSpool(1 << 20), To: rcptsTo(mustAddr(t, "a@far.example"))}
		io.WriteString(m.Body, c.content)
		if err := qt.accept(m); err != nil {
			t.Fatal(err)
		}
		qt.step()
		qt.wantQueue(0)
		if c.failed != "" {
			if box := qt.inbox(t, "ann@home.arpa"); len(box) != 1 || !strings.Contains(box[0], "\r\nStatus: "+c.failed) || len(p.received()) > 0 {
				t.Errorf("%s: reports %q", c.name, box)
			}
			continue
		}
		mails := p.received()
		if len(mails) != 1 {
			t.Errorf("%s: %d mails, said %q, reports %q", c.name, len(mails), p.said(), qt.inbox(t, "ann@home.arpa"))
			continue
		}
		said := strings.Join(p.said(), "\n")
		if !strings.Contains(said, "MAIL FROM:<ann@home.arpa>"+c.mail) || c.mail == "" && strings.Contains(said, " BODY=8") && !strings.Contains(c.ehlo, "8BIT") {
			t.Errorf("%s: said %q", c.name, said)
		}
		if asIs := strings.HasSuffix(mails[0], c.content); asIs != c.asIs {
			t.Errorf("%s: sent %q", c.name, mails[0])
		}
		if !strings.Contains(c.ehlo, "8BIT") && !isASCII(mails[0]) {
			t.Errorf("%s: octets above 127 for a peer without 8BITMIME: %q", c.name, mails[0])
		}
		r := NewMIMEReader()
		io.WriteString(r, mails[0])
		if h := ParseHeader([]byte(mails[0])); c.content == raw && h.Text("Subject") != "你好" {
			t.Errorf("%s: subject %q", c.name, h.Text("Subject"))
		}
	}
}

// TestQueueUTF8Addresses: a domain goes in A-labels, a local part beyond ASCII only where SMTPUTF8 is offered.
func TestQueueUTF8Addresses(t *testing.T) {
	for _, knows := range []bool{true, false} {
		p := newPeer(t, nil)
		if knows {
			p.ehlo = "SMTPUTF8\n8BITMIME"
		}
		qt := newQueueTest(t, p)
		qt.submit("ann@home.arpa", "用户@far.example", "x@bücher.example")
		qt.step()
		qt.wantQueue(0)
		said, box := strings.Join(p.said(), "\n"), qt.inbox(t, "ann@home.arpa")
		if !strings.Contains(said, "RCPT TO:<x@xn--bcher-kva.example>") || strings.Contains(said, "用户@far.example") != knows || strings.Contains(said, " SMTPUTF8") != knows {
			t.Errorf("said %q", said)
		}
		if knows != (len(box) == 0) {
			t.Fatalf("reports %q", box)
		}
		if !knows {
			_, groups, _ := parseReport(t, box[0])
			if len(groups) != 2 || groups[1].Get("Status") != "5.6.7" || groups[1].Get("Final-Recipient") != "utf-8; 用户@far.example" {
				t.Errorf("report %v", groups)
			}
		}
	}
}

// TestQueueDeliverBy: a message whose time has passed is returned or its sender told, once; the time that is left is passed
// on, and a host that does not know DELIVERBY gets nothing that must be returned.
func TestQueueDeliverBy(t *testing.T) {
	up, offer := false, "DELIVERBY"
	p := newPeer(t, func(l string) string {
		if l == "<connect>" && !up {
			return "cut"
		}
		return ""
	})
	p.ehlo = "SIZE\n" + offer
	qt := newQueueTest(t, p)
	by := func(mode string, d time.Duration) {
		t.Helper()
		m := &Mail{SMTPEnvelope: SMTPEnvelope{From: mustAddr(t, "ann@home.arpa"), Due: qt.store.Now().Add(d), ByMode: mode}, Body: qt.store.NewSpool(1000), To: rcptsTo(mustAddr(t, mode+"@far.example"))}
		io.WriteString(m.Body, "Subject: x\r\n\r\nx\r\n")
		if err := qt.accept(m); err != nil {
			t.Fatal(err)
		}
	}
	by("R", 10*time.Minute)
	by("N", 10*time.Minute)
	for range 20 {
		qt.step()
		qt.forward(time.Minute)
	}
	box := strings.Join(qt.inbox(t, "ann@home.arpa"), "\n")
	if strings.Count(box, "Action: failed") != 1 || strings.Count(box, "Action: delayed") != 1 || !strings.Contains(box, "Status: 5.4.7") {
		t.Errorf("reports %q", box)
	}
	qt.wantQueue(1)
	p.mu.Lock()
	up = true
	p.mu.Unlock()
	by("R", time.Hour)
	qt.write(t, func(tx *Tx) error { _, err := tx.QueueAsk("far.example"); return err })
	qt.step()
	qt.wantQueue(0)
	if said := strings.Join(p.said(), "\n"); !strings.Contains(said, " BY=-") || !strings.Contains(said, " BY=3600;R") {
		t.Errorf("said %q", said)
	}
	p.ehlo = "SIZE"
	by("R", time.Hour)
	by("N", time.Hour)
	qt.step()
	qt.wantQueue(0)
	if box := qt.inbox(t, "ann@home.arpa"); len(box) != 3 || !strings.Contains(box[2], "Status: 5.3.3") {
		t.Errorf("reports %q", box)
	}
}
