// SORT and THREAD.
package main

// cmdSort is SORT and UID SORT (RFC 5256).
func (c *imapConn) cmdSort(p *imapParser) error { return imapBad("Unknown command") }

// cmdThread is THREAD and UID THREAD (RFC 5256).
func (c *imapConn) cmdThread(p *imapParser) error { return imapBad("Unknown command") }
