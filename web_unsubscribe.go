// Leaving a list with one click: the one request that this server makes to a place that a mail names, when a reader asks.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	webUnsubscribeTime = 15 * time.Second // for the list's server to answer
	webUnsubscribeRead = 4 << 10          // octets of its answer that are read
)

// postUnsubscribe sends what RFC 8058 (§3.2) asks for to the address in the message's List-Unsubscribe. The request is
// made by this server, so that the reader's browser tells the sender nothing more; it goes by https to public addresses
// only, follows no redirect, and has neither cookies nor a name of the reader's beyond what is in the address.
func (q *webReq) postUnsubscribe() error {
	m, err := q.keyed(q.r.PostForm.Get("m"))
	if err != nil {
		return err
	}
	n := &webNote{Text: q.lang.T("The list has been told that you leave it.")}
	if m.Lists.OneClick == "" {
		return ErrNotFound
	}
	if err := q.unsubscribe(m.Lists.OneClick); err != nil {
		q.log.Info("list not left", "user", q.user.Name, "err", err)
		n.Bad, n.Text = true, q.lang.T("The list's server did not take it. Try the page of the list instead.")
	}
	q.note(n)
	return q.redirect(m.Href)
}

func (q *webReq) unsubscribe(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return err
	}
	if u.Scheme != "https" || u.User != nil || (u.Port() != "" && u.Port() != "443") {
		return fmt.Errorf("%s: %w", u.Host, errNotPublic)
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), webUnsubscribeTime)
	defer cancel()
	dialer := net.Dialer{Control: onlyPublic}
	client := http.Client{
		Transport:     &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true, MaxResponseHeaderBytes: webMaxHeader},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	io.CopyN(io.Discard, res.Body, webUnsubscribeRead)
	if res.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s: %s", u.Host, res.Status)
	}
	return nil
}
