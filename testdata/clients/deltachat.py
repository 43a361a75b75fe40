"""Delta Chat's core, driven over JSON-RPC: two accounts configure themselves, wait in IDLE, and talk with each other and with
somebody who has an ordinary mail program. Arguments: the program, host, ports (imaps, submissions, submission, pop3), the appliance's log."""
import email, email.message, email.policy, json, os, poplib, shutil, smtplib, struct, subprocess, sys, tempfile, threading, time, zlib

program, host = sys.argv[1:3]
imaps, submissions, submission, pop = map(int, sys.argv[3:7])
log = sys.argv[7]
LONG = 240  # seconds for anything that is waited for, on a machine that has much else to do
SEEN, DELIVERED, READ = 16, 26, 28  # states of messages: read here, taken by the server, read there


class Core:
    """The program, its answers by number, and its events in the order of their coming."""

    def __init__(self, home):
        self.errors = open(home + "/errors", "w+")
        self.p = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors,
                                  env={**os.environ, "DC_ACCOUNTS_PATH": home + "/accounts", "RUST_LOG": "warn"})
        self.answers, self.events, self.n, self.asked = {}, [], 0, 0
        self.changed = threading.Condition()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        self.ask()
        for line in self.p.stdout:
            m = json.loads(line)
            with self.changed:
                if m["id"] == self.asked:
                    self.events.append((m["result"]["contextId"], m["result"]["event"]))
                else:
                    self.answers[m["id"]] = m
                self.changed.notify_all()
            if m["id"] == self.asked and self.p.returncode is None:
                self.ask()

    def ask(self):
        """asks for the next event; its answer is an event and no answer"""
        with self.changed:
            self.asked = self.write("get_next_event")

    def write(self, method, *params):
        self.n += 1
        self.p.stdin.write((json.dumps({"jsonrpc": "2.0", "id": self.n, "method": method, "params": params}) + "\n").encode())
        self.p.stdin.flush()
        return self.n

    def call(self, method, *params):
        with self.changed:
            n = self.write(method, *params)
            if not self.changed.wait_for(lambda: n in self.answers, LONG):
                raise SystemExit(f"no answer to {method}")
            m = self.answers.pop(n)
        if "error" in m:
            raise SystemExit(f"{method}: {m['error']}")
        return m.get("result")

    def event(self, account, kind, after=0):
        """waits for an event, from the one with that number on"""
        with self.changed:
            found = lambda: [e for a, e in self.events[after:] if (a, e["kind"]) == (account, kind)]
            if not self.changed.wait_for(found, LONG):
                raise SystemExit(f"no {kind} came")
            return found()[0]


class Person:
    def __init__(self, name):
        self.name, self.address, self.id = name, name + "@home.arpa", core.call("add_account")
        self.call("add_or_update_transport", {
            "addr": self.address, "password": "secret", "imapServer": host, "imapPort": imaps, "imapSecurity": "ssl", "smtpServer": host,
            "smtpPort": submissions, "smtpSecurity": "ssl", "certificateChecks": "acceptInvalidCertificates", "imapFolder": None, "imapUser": None,
            "smtpUser": None, "smtpPassword": None})
        self.call("set_config", "displayname", name.title())
        self.call("set_config", "force_encryption", "0")  # mail of other programs is shown, and can be answered
        self.call("start_io")
        core.event(self.id, "ImapInboxIdle")

    def call(self, method, *params):
        return core.call(method, self.id, *params)

    def chats(self):
        return [self.call("get_basic_chat_info", c) for c in self.call("get_chatlist_entries", 0, None, None)]

    def messages(self, chat):
        return [self.call("get_message", m) for m in self.call("get_message_ids", chat, False, False)]

    def wait(self, what, look):
        """looks until there is something; what is waited for comes by IDLE, nobody asks for it"""
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.1)
        raise SystemExit(f"{self.name} waited in vain for {what}; there is {[(c['name'], [m['text'] for m in self.messages(c['id'])]) for c in self.chats()]}")

    def has(self, chat, text):
        return self.wait(repr(text), lambda: next((m for m in self.messages(chat) if m["text"] == text and m["downloadState"] == "Done"), None))

    def send(self, chat, text, **more):
        data = dict.fromkeys(["html", "viewtype", "file", "filename", "location", "overrideSenderName", "quotedMessageId", "quotedText"])
        return self.call("send_msg", chat, {**data, "text": text, **more})

    def state(self, message, want):
        self.wait(f"state {want}", lambda: self.call("get_message", message)["state"] >= want)
        m = self.call("get_message", message)
        if m["error"] or m["state"] != want:
            raise SystemExit(f"{m['text']}: state {m['state']}, {m['error']}")


def mail(number, to, text, html=None):
    msg = email.message.EmailMessage()
    msg["From"], msg["To"], msg["Subject"], msg["Message-ID"] = "Mia <mia@home.arpa>", to, f"mail {number}", f"<{number}@mia.home.arpa>"
    msg.set_content(text)
    if html:
        msg.add_alternative(html, subtype="html")
    return msg


def post(*all):
    with smtplib.SMTP(host, submission) as s:
        s.login("mia@home.arpa", "secret")
        for m in all:
            s.send_message(m)


def maildrop(user):
    box = poplib.POP3(host, pop)
    box.user(user + "@home.arpa")
    box.pass_("secret")
    got = [email.message_from_bytes(b"\r\n".join(box.retr(i + 1)[1]) + b"\r\n", policy=email.policy.default) for i in range(box.stat()[0])]
    box.quit()
    return got


def picture(size):
    """a grey PNG that doesn't get smaller"""
    piece = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + os.urandom(size) for _ in range(size))
    return b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)) + piece(b"IDAT", zlib.compress(rows)) + piece(b"IEND", b"")


home = tempfile.mkdtemp()
core = Core(home)
try:
    kim, lea = Person("kim"), Person("lea")
    print("configured, and waiting in IDLE:", kim.address, lea.address)

    # Somebody with an ordinary mail program: a contact request, accepted and answered.
    post(mail(1, kim.address, "Lunch on Sunday? 星期天", "<p>Lunch on <b>Sunday</b>? 星期天</p>"))
    request = kim.wait("Mia's chat", lambda: next((c for c in kim.chats() if c["name"] == "Mia"), None))
    if not request["isContactRequest"]:
        raise SystemExit("what a stranger wrote is no contact request")
    chat = request["id"]
    first = kim.wait("Mia's mail", lambda: next((m for m in kim.messages(chat) if "Lunch on Sunday? 星期天" in m["text"]), None))
    kim.call("accept_chat", chat)
    answer = kim.send(chat, "Gladly. 好的", quotedMessageId=first["id"])
    kim.state(answer, DELIVERED)
    got = maildrop("mia")
    if len(got) != 1 or "<1@mia.home.arpa>" not in got[0]["References"] + got[0]["In-Reply-To"] or "Gladly. 好的" not in got[0].get_body(("plain",)).get_content():
        raise SystemExit(f"the answer arrived as {[str(m) for m in got]}")
    print("a contact request, accepted and answered")

    # Forty mails while it fetches: news must come as EXISTS only. A FETCH that it has not asked for makes this core end the connection.
    post(*[mail(n, kim.address, f"number {n}") for n in range(100, 140)])
    kim.wait("forty mails", lambda: len([m for m in kim.messages(chat) if "number " in m["text"]]) == 40)
    print("forty mails in a row")

    # Two who have this program: a code is scanned (four messages to and fro), and what follows is encrypted.
    both = lea.call("secure_join", kim.call("get_chat_securejoin_qr_code", None))
    core.event(kim.id, "SecurejoinInviterProgress")
    kims = kim.wait("Lea's chat", lambda: next((c for c in kim.chats() if c["name"] == "Lea"), None))["id"]
    lea.wait("an encrypted chat", lambda: lea.call("get_basic_chat_info", both)["isEncrypted"])
    hello = lea.send(both, "Hallo Kim 你好")
    there = kim.has(kims, "Hallo Kim 你好")
    if not there["showPadlock"]:
        raise SystemExit("it is not encrypted")
    lea.state(hello, DELIVERED)
    kim.call("markseen_msgs", [there["id"]])
    lea.state(hello, READ)
    print("a code scanned; an encrypted message, and its read receipt")
    kim.send(kims, "Hallo Lea", quotedMessageId=there["id"])
    back = lea.has(both, "Hallo Lea")
    if back["quote"]["kind"] != "WithMessage" or back["quote"]["messageId"] != hello:
        raise SystemExit(f"the quote is {back['quote']}")
    kim.call("send_reaction", there["id"], ["👍"])
    lea.wait("a reaction", lambda: [r["emoji"] for r in (lea.call("get_message_reactions", hello) or {"reactions": []})["reactions"]] == ["👍"])
    print("a quote and a reaction")

    # Files: a picture, and one so big that it is announced by a message of its own.
    for name, content, kind in [("照片.png", picture(300), "Image"), ("数据.bin", os.urandom(2 << 20), "File")]:
        with open(os.path.join(home, name), "wb") as f:
            f.write(content)
        sent = lea.call("get_message", lea.send(both, name, file=f.name, filename=name, viewtype=kind))  # pictures get another name
        m = kim.wait(name, lambda: next((m for m in kim.messages(kims) if m["text"] == name and m["file"] and m["downloadState"] == "Done"), None))
        with open(sent["file"], "rb") as f, open(m["file"], "rb") as g:
            same = f.read() == g.read()
        if not same or m["fileBytes"] < 80000 or any(m[k] != sent[k] for k in ("viewType", "fileName", "fileBytes")):
            raise SystemExit(f"{name} arrived as {m['viewType']} {m['fileName']} of {m['fileBytes']} octets")
    print("a picture, and a file of two megabytes")

    # A group: made by one, seen by the other, answered, renamed, left.
    group = kim.call("create_group_chat", "家 & friends", False)
    kim.call("add_contact_to_chat", group, kim.call("get_chat_contacts", kims)[0])
    kim.send(group, "Who cooks?")
    leas = lea.wait("the group", lambda: next((c for c in lea.chats() if c["name"] == "家 & friends"), None))["id"]
    lea.has(leas, "Who cooks?")
    lea.call("accept_chat", leas)
    lea.send(leas, "I do.")
    kim.has(group, "I do.")
    lea.call("set_chat_name", leas, "Sunday")
    kim.wait("its new name", lambda: kim.call("get_basic_chat_info", group)["name"] == "Sunday")
    lea.call("leave_group", leas)
    kim.wait("her to leave", lambda: len(kim.call("get_chat_contacts", group)) == 1)
    print("a group: made, answered, renamed, left")

    # What is deleted here is deleted there.
    kim.call("delete_messages", [m["id"] for m in kim.messages(chat) if not m["isInfo"]])
    kim.wait("deletion on the server", lambda: not [m for m in maildrop("kim") if "mia@" in m["From"]])
    print("deleted, there too")

    # Through all this each had one connection to set up and one to wait on.
    for p in kim, lea:
        with open(log) as f:
            logins = [line for line in f if f'msg="imap login"' in line and p.address in line]
        if len(logins) != 2:
            raise SystemExit(f"{p.name} logged in {len(logins)} times; two are enough if no connection is dropped:\n" + "".join(logins))
    bad = [e["msg"] for _, e in core.events if e["kind"] in ("Warning", "Error")]
    if bad:
        print("its warnings:", *bad, sep="\n  ")
    if [m for m in bad if "imap" in m.lower()]:
        raise SystemExit("it complains about IMAP")
    print("Delta Chat: fine")
except BaseException:
    print(*[f"{a} {e}" for a, e in core.events[-40:]], sep="\n", file=sys.stderr)
    raise
finally:
    core.p.kill()
    core.p.wait()
    shutil.rmtree(home, ignore_errors=True)
