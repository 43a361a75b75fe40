// Command postino is a mail appliance: SMTP, POP3, IMAP and web mail in one binary and one file.
package main

func main() {}
