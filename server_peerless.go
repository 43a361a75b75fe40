//go:build !linux

// Systems where nobody says who is at the other end of a UNIX socket.
package main

import "net"

func peerUID(net.Conn) (uid int, known bool) { return 0, false }
