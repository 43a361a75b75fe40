// POP3.
package main

func (s *Server) servePOP3(c *conn) {}
