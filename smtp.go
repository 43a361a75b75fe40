// SMTP.
package main

func (s *Server) serveSMTP(c *conn) {}
