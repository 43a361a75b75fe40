// Signatures on mail that leaves for the internet.
package main

import (
	"io"
	"slices"
	"strings"
)

// smtpSign signs a message of ours for a transaction of which some recipient is of the internet: by the keys of the domain in its From
// field. What nobody here wrote (a forward, a relay's) is left as it is. A message that can't be signed goes without, and the log says
// why: its next hop may take it all the same.
func (s *Server) smtpSign(q *QueueItem, write func(io.Writer) error) string {
	if !slices.ContainsFunc(q.Rcpts, func(r QueueRcpt) bool { return s.isForeign(r.Addr.Domain) }) {
		return ""
	}
	if strings.HasPrefix(q.Account, strangerAccount) { // forwarded, and whoever wrote our name into its From did not log in
		return ""
	}
	var fault error
	fields, err := signMail(write, 2*maxHeaderBlock, func(header string) []dkimSigner {
		var keys []dkimSigner
		keys, fault = s.ring.signers(s.smtpSignsFor(header))
		return keys
	})
	if err == nil {
		err = fault
	}
	if err != nil {
		s.crew.Complain("DKIM: a message is not signed", err, "msg", q.Name)
		return ""
	}
	return fields
}

// smtpSignsFor is the domain of ours that a message's From field names first, in A-labels; "" if it names none.
func (s *Server) smtpSignsFor(header string) string {
	domain := ""
	eachField(header, func(_ int, name, value string) error {
		if domain != "" || !strings.EqualFold(name, "From") {
			return nil
		}
		for _, a := range ParseAddressList(value) {
			full, err := a.Addr()
			if err != nil || !slices.Contains(s.cfg.DomainsNow(), full.Domain) {
				continue
			}
			ascii, err := DomainToASCII(full.Domain)
			if err == nil {
				domain = ascii
				break
			}
		}
		return nil
	})
	return domain
}
