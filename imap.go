// IMAP.
package main

func (s *Server) serveIMAP(c *conn) {}
