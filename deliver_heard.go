// Reports of other servers on our domains, in mail that comes in.
package main

import (
	"fmt"
	"io"
	"slices"
)

// heardForm is a form in which such a report comes as a part of a message.
type heardForm struct {
	kind HeardKind
	is   func(p *Part) bool
	read func(r io.Reader, own func(domain string) bool) ([]HeardReport, error)
}

var heardForms = []heardForm{
	{HeardTLS, func(p *Part) bool { return p.Is("application", "tlsrpt+gzip") || p.Is("application", "tlsrpt+json") }, readTLSReport},
	{HeardDMARC, isDMARCReport, readDMARCReport},
}

// hear reads the reports that a message brings which by stands for; accept stores them with it. What can't be read is mail as any other.
func (s *Server) hear(m *Mail, by string) {
	own := func(domain string) bool { return slices.Contains(s.cfg.DomainsNow(), domain) }
	m.Body.Tree().Walk(func(_ []int, p *Part) bool {
		for _, form := range heardForms {
			if len(m.heard) > 0 || p.IsMultipart() || !form.is(p) {
				continue
			}
			err := s.crew.Guard("heard report", func() error {
				all, err := form.read(p.Decoded(m.Body), own)
				for _, r := range all {
					r.Org = by
					m.heard = append(m.heard, r)
				}
				return err
			})
			if err != nil {
				s.log.Info("a report is not read", "from", by, "kind", string(form.kind), "err", fmt.Sprint(err))
			}
		}
		return true
	})
}
