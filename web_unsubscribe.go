// Leaving a list with one click: the one request that this server makes to a place that a mail names, when a reader asks.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

const (
	webUnsubscribeTime = 15 * time.Second // for the list's server to answer
	webUnsubscribeRead = 4 << 10          // octets of its answer that are read
)

// webErrNotPublic is why a list's server is not asked: its address is in a network that strangers have no business in.
var webErrNotPublic = errors.New("not a public address")

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
		return fmt.Errorf("%s: %w", u.Host, webErrNotPublic)
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), webUnsubscribeTime)
	defer cancel()
	dialer := net.Dialer{Control: func(_, to string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(to)
		if err != nil || !webIsPublic(at.Addr()) {
			return fmt.Errorf("%s: %w", to, webErrNotPublic)
		}
		return nil
	}}
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

// webNotPublic are networks that netip does not know as private: shared, of documentation, of benchmarks, translated.
var webNotPublic = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"), netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("2001::/32"), netip.MustParsePrefix("fec0::/10"),
	netip.MustParsePrefix("::/96"), netip.MustParsePrefix("::ffff:0:0:0/96")}

// webIsPublic says whether an address is one of the internet's.
func webIsPublic(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range webNotPublic {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsGlobalUnicast() && !a.IsPrivate()
}
