//go:build linux

// Who is at the other end of a UNIX socket.
package main

import (
	"net"
	"syscall"
)

// peerUID is the user whose process opened a UNIX socket, as the kernel says; false for other connections.
func peerUID(nc net.Conn) (uid int, known bool) {
	u, ok := nc.(*net.UnixConn)
	if !ok {
		return 0, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *syscall.Ucred
	var fault error
	err = raw.Control(func(fd uintptr) {
		cred, fault = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if err != nil || fault != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
