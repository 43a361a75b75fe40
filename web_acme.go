// What a public CA looks at to know that a name is ours (http-01, RFC 8555 §8.3).
package main

import (
	"io"
	"strings"
)

func webACMERoutes() []webRoute {
	return []webRoute{{"GET /.well-known/acme-challenge/{token}", webForeign, (*webReq).getACME}}
}

// webIsACME says whether an address is one that a CA looks at. It does so under each name that it is asked to sign for.
func webIsACME(path string) bool { return strings.HasPrefix(path, "/.well-known/acme-challenge/") }

func (q *webReq) getACME() error {
	text := q.s.tls.ACMEAnswer(q.r.PathValue("token"))
	if text == "" {
		return ErrNotFound
	}
	q.w.Header().Set("Content-Type", "application/octet-stream")
	_, err := io.WriteString(q.w, text)
	return err
}
