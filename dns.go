// The DNS, as far as mail needs it.
package main

import (
	"context"
	"net"
)

// Resolver stands for the DNS, so that tests need none.
type Resolver interface {
	LookupMX(ctx context.Context, name string) ([]*net.MX, error)
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// NewResolver asks the DNS servers of the machine.
func NewResolver() Resolver { return net.DefaultResolver }
