// Our own policy for those who send here (MTA-STS), which they fetch from mta-sts.DOMAIN.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net"
	"strings"
	"time"
)

func webSTSRoutes() []webRoute {
	return []webRoute{{"GET /.well-known/mta-sts.txt", webPublic, (*webReq).getSTS}}
}

const (
	webSTSAge   = 14 * 24 * time.Hour // how long the policy holds where it was fetched
	webSTSTrial = 24 * time.Hour      // … while it is tried out or taken back
)

// webSTSPolicy is the policy of all our domains: this machine takes their mail.
func webSTSPolicy(cfg *Config) *STSPolicy {
	host, err := DomainToASCII(cfg.Hostname)
	if err != nil {
		host = cfg.Hostname
	}
	p := &STSPolicy{Mode: cfg.SMTP.MTASTS, Hosts: []string{strings.ToLower(host)}, MaxAge: webSTSTrial}
	if p.Mode == stsEnforce {
		p.MaxAge = webSTSAge
	}
	return p
}

// webSTSID is the id of the record in the DNS: another one for each policy.
func webSTSID(cfg *Config) string {
	sum := sha256.Sum256([]byte(webSTSPolicy(cfg).String()))
	return hex.EncodeToString(sum[:10])
}

func (q *webReq) getSTS() error {
	host, _, err := net.SplitHostPort(q.r.Host)
	if err != nil {
		host = q.r.Host
	}
	domain, ok := strings.CutPrefix(strings.ToLower(strings.TrimSuffix(host, ".")), "mta-sts.")
	if !ok {
		return ErrNotFound
	}
	for _, d := range q.s.cfg.DomainsNow() {
		ascii, err := DomainToASCII(d)
		if err != nil || ascii != domain || !q.s.cfg.servesSTS(d) {
			continue
		}
		q.w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		webSoon(q.w)
		_, err = q.w.Write([]byte(webSTSPolicy(q.s.cfg).String()))
		return err
	}
	return ErrNotFound
}
