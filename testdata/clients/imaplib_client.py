"""Python's imaplib and smtplib, poplib beside them: login, append, search, store, copy, expunge, partial fetch, IDLE by hand."""
import imaplib, poplib, smtplib, ssl, sys
from email.message import EmailMessage

host, imap_port, smtp_port, pop_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
user, password = "dora@home.arpa", "secret"

msg = EmailMessage()
msg["From"] = msg["To"] = user
msg["Subject"] = "Grüße aus 北京"
msg.set_content("Ein Text mit Umlauten: äöü\n.\n..\nFrom here\n")  # smtplib itself writes ">From"
with smtplib.SMTP(host, smtp_port) as s:
    s.starttls(context=tls)
    s.login(user, password)
    s.send_message(msg)
    s.send_message(msg)

m = imaplib.IMAP4(host, imap_port)
m.starttls(tls)
assert "IMAP4REV1" in m.capabilities, m.capabilities
m.login(user, password)
typ, data = m.select("INBOX")
assert (typ, data) == ("OK", [b"2"]), (typ, data)
typ, data = m.uid("SEARCH", "CHARSET", "UTF-8", "SUBJECT", '"Grüße"'.encode())
assert len(data[0].split()) == 2, data
typ, data = m.fetch("1", "(RFC822.SIZE BODY.PEEK[TEXT]<0.10> FLAGS)")
assert typ == "OK" and len(data[0][1]) == 10, data
typ, data = m.fetch("1:*", "(UID FLAGS)")
assert len(data) == 2 and b"\\Seen" not in data[0], data
assert m.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
assert m.copy("2", "Archive")[0] == "OK"
typ, data = m.expunge()
assert data == [b"1"], data
assert m.append("Drafts", "(\\Draft)", imaplib.Time2Internaldate(1e9), b"Subject: draft\r\n\r\nx\r\n")[0] == "OK"
assert m.select("Archive")[1] == [b"1"]
typ, data = m.sort("(SUBJECT)", "UTF-8", "ALL")
assert data == [b"1"], data
typ, data = m.thread("REFERENCES", "UTF-8", "ALL")
assert typ == "OK", data
assert m.close()[0] == "OK"
m.logout()

p = poplib.POP3(host, pop_port)
p.stls(tls)
p.user(user)
p.pass_(password)
assert p.stat()[0] == 1
number, lines, size = p.retr(1)
assert b">From here" in lines and b"." in lines and b".." in lines, lines
uid = p.uidl(1)
p.quit()
print("imaplib, smtplib and poplib: fine")
