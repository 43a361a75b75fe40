// SEARCH, SORT and THREAD.
package main

// cmdSearch is SEARCH and UID SEARCH (RFC 9051 §6.4.4).
func (c *imapConn) cmdSearch(p *imapParser) error { return imapBad("Unknown command") }

// cmdSort is SORT and UID SORT (RFC 5256).
func (c *imapConn) cmdSort(p *imapParser) error { return imapBad("Unknown command") }

// cmdThread is THREAD and UID THREAD (RFC 5256).
func (c *imapConn) cmdThread(p *imapParser) error { return imapBad("Unknown command") }
