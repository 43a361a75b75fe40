// Sending by a program that can speak HTTP and JSON and no SMTP: sensors, scripts, home automation.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

const webMaxAPI = 1 << 20 // octets of a request

func webAPIRoutes() []webRoute {
	return []webRoute{{"POST /api/send", webForeign, (*webReq).postAPISend}}
}

// webAPILetter is what a program sends. Addresses are written as in a header field: one string or a list of them.
type webAPILetter struct {
	From    webAPIAddresses `json:"from"` // one of the user's own; theirs when it is not there
	ReplyTo webAPIAddresses `json:"reply_to"`
	To      webAPIAddresses `json:"to"`
	Cc      webAPIAddresses `json:"cc"`
	Bcc     webAPIAddresses `json:"bcc"`
	Subject string          `json:"subject"`
	Text    string          `json:"text"`
	HTML    string          `json:"html"`
}

// webAPIAddresses is a string or a list of strings in JSON, and a header field's value here.
type webAPIAddresses string

func (a *webAPIAddresses) UnmarshalJSON(b []byte) error {
	var list []string
	var one string
	err := json.Unmarshal(b, &one)
	if err != nil {
		err = json.Unmarshal(b, &list)
		one = strings.Join(list, ", ")
	}
	if err != nil {
		return errors.New("an address is a string, or a list of strings")
	}
	*a = webAPIAddresses(webClean(one))
	return nil
}

// postAPISend sends one message for whoever shows an app password, and answers when it is stored: with JSON, "id" names it in the log.
func (q *webReq) postAPISend() error {
	if err := q.programLogin(); err != nil {
		return err
	}
	l, err := q.readAPILetter()
	if err != nil {
		return err
	}
	m, d, err := q.apiMail(l)
	if err != nil {
		return err
	}
	m.Body, err = q.written(d)
	if err != nil {
		return err
	}
	defer m.Body.Close()
	err = q.s.accept(m)
	until := shareUntil(err)
	switch {
	case !until.IsZero():
		q.w.Header().Set("Retry-After", fmt.Sprint(int64(until.Sub(q.s.store.Now())/time.Second)+1))
		return webFault(http.StatusTooManyRequests, q.sentMuch(until))
	case errors.Is(err, errNotSender):
		return webFault(http.StatusForbidden, "The address in From is not yours.")
	case err != nil:
		return err
	}
	q.log.Info("letter sent", "user", q.user.Name, "msg", m.ID, "rcpts", len(m.To), "by", "api")
	q.sendJSON(http.StatusOK, map[string]any{"id": m.ID, "recipients": len(m.To)})
	return nil
}

// programLogin takes name and app password of HTTP's Basic scheme (RFC 7617), where a mail program might send its own.
func (q *webReq) programLogin() error {
	if !q.secure() && !contains(q.s.cfg.Auth.Plaintext, q.remote) && q.s.cfg.sendingDevice(q.remote) == nil {
		return webFault(http.StatusForbidden, "Passwords go over https only; the administrator can name networks where they need not ([auth] plaintext).")
	}
	name, password, ok := q.r.BasicAuth()
	var err error
	if ok {
		q.user, err = q.s.auth.Password(q.remote, name, password)
	}
	switch {
	case ok && err == nil && q.user.App != 0:
		return nil
	case errors.Is(err, ErrAuthRate):
		return webFault(http.StatusTooManyRequests, "Too many failed logins. Wait a while.")
	case err != nil && !errors.Is(err, ErrAuth):
		return err
	case err != nil:
		q.log.Warn("login failed", "err", err, "remote", q.remote, "by", "api")
	}
	q.user = User{}
	q.w.Header().Set("WWW-Authenticate", `Basic realm="Postino", charset="UTF-8"`)
	return webFault(http.StatusUnauthorized, "A name and an app password are needed.")
}

func (q *webReq) readAPILetter() (*webAPILetter, error) {
	body, err := io.ReadAll(q.counted(http.MaxBytesReader(q.w, q.r.Body, webMaxAPI)))
	http.NewResponseController(q.w).SetReadDeadline(time.Time{})
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return nil, ErrTooBig
	}
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(strings.NewReader(string(body)))
	d.DisallowUnknownFields()
	var l webAPILetter
	err = d.Decode(&l)
	if err == nil && d.More() {
		err = errors.New("something follows its end")
	}
	if err != nil {
		return nil, webFault(http.StatusBadRequest, q.lang.F("This is not the JSON of a letter: %s.", webCut(webClean(err.Error()), 200)))
	}
	return &l, nil
}

// apiMail makes message and envelope of a letter.
func (q *webReq) apiMail(l *webAPILetter) (*Mail, *Draft, error) {
	d := &Draft{Subject: strings.TrimSpace(webClean(l.Subject)), Date: q.s.store.Now(), Text: l.Text, HTML: l.HTML, Flowed: true}
	var from []Address
	for _, f := range []struct {
		to   *[]Address
		text webAPIAddresses
	}{{&from, l.From}, {&d.ReplyTo, l.ReplyTo}, {&d.To, l.To}, {&d.Cc, l.Cc}, {&d.Bcc, l.Bcc}} {
		list, bad := q.addresses(string(f.text))
		if bad != "" {
			return nil, nil, webFault(http.StatusUnprocessableEntity, q.lang.F("%s is no mail address.", bad))
		}
		*f.to = list
	}
	own, err := ParseAddr(q.user.Name)
	if err != nil {
		return nil, nil, err
	}
	d.From = &Address{Local: own.Local, Domain: own.Domain}
	if len(from) > 0 {
		d.From = &from[0]
	}
	to, fault := q.reachable(slices.Concat(d.To, d.Cc, d.Bcc))
	switch {
	case fault != "":
		return nil, nil, webFault(http.StatusUnprocessableEntity, fault)
	case len(to) == 0:
		return nil, nil, webFault(http.StatusUnprocessableEntity, "Whom is it for?")
	case len(from) > 1:
		return nil, nil, webFault(http.StatusUnprocessableEntity, "A letter is from one address.")
	}
	m := &Mail{Trace: "by " + q.s.cfg.Hostname + " with HTTP", Submitted: true, Login: &q.user, ID: newMailID()}
	m.From, err = d.From.Addr()
	seen := map[string]bool{}
	for _, a := range to {
		if !seen[a.Key()] {
			m.To = append(m.To, Rcpt{Recipient: Recipient{Addr: a}})
		}
		seen[a.Key()] = true
	}
	return m, d, err
}
