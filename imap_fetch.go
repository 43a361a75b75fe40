// FETCH.
package main

// cmdFetch is FETCH and UID FETCH (RFC 9051 §6.4.5).
func (c *imapConn) cmdFetch(p *imapParser) error { return imapBad("Unknown command") }
