#!/usr/bin/env python3
"""The attacks of withstand.sh, on an appliance that runs already. One line for each: how long, what was told, memory at its peak, and what a good
client saw meanwhile. It fails if the appliance ends, if the kernel kills for memory, if a good client is told something permanent or isn't served a minute
after an attack, or if a message that was acknowledged is not there at the end, once.

From the environment: POSTINO, CONFIG and PID of the appliance, PORTS and PEER to which 2525 and so on are added, GROUP, CARD, SILENT (a port)."""
import base64, collections, http.client, io, os, random, re, socket, ssl, struct, subprocess, sys, threading, time, urllib.parse, zipfile

POSTINO, CONFIG, PID, GROUP, CARD = (os.environ[k] for k in ("POSTINO", "CONFIG", "PID", "GROUP", "CARD"))
BASE, PEER, SILENT = int(os.environ["PORTS"]), int(os.environ["PEER"]), int(os.environ["SILENT"])
PORT = {"http": 2080, "pop3": 2110, "imap": 2143, "submissions": 2465, "smtp": 2525, "submission": 2587, "imaps": 2993, "pop3s": 2995}
PATIENCE = 60  # seconds within which a good client is served, or an attacker is answered
sys.stdout.reconfigure(line_buffering=True)
faults = []


def fault(text):
    faults.append(text)
    print("  FAULT: " + text)


def verb(*args, config=CONFIG, say=None):
    r = subprocess.run([POSTINO, "-config", config] + list(args), input=say, capture_output=True, text=True, timeout=120)
    return r.stdout + r.stderr


# Clients.

class Line:
    """a connection to a protocol of lines, from a loopback address of its own"""

    def __init__(self, port, src=None, base=BASE, timeout=PATIENCE):
        self.s = socket.create_connection(("127.0.0.1", base + PORT[port]), timeout, source_address=(src, 0) if src else None)
        self.s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.f = self.s.makefile("rb", 1 << 16)

    def line(self):
        l = self.f.readline()
        if not l.endswith(b"\n"):
            raise EOFError("closed")
        return l

    def send(self, b):
        self.s.sendall(b if isinstance(b, bytes) else b.encode())

    def close(self):
        try:
            self.f.close()
            self.s.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SMTP(Line):
    def __init__(self, src=None, port="smtp", user=None, **k):
        super().__init__(port, src, **k)
        self.hello = self.reply()
        if self.hello.startswith("220"):
            self.cmd("EHLO attacker.test")
            if user:
                r = self.cmd("AUTH PLAIN " + base64.b64encode(("\0%s\0%s" % (user, secret(user))).encode()).decode())
                if not r.startswith("235"):
                    raise Refused(r)

    def reply(self):
        while True:
            l = self.line()
            if l[3:4] != b"-":
                return l.decode("utf8", "replace").strip()

    def cmd(self, text):
        self.send(text + "\r\n")
        return self.reply()

    def mail(self, frm, to, data, more="", rcpt=""):
        """the answer to DATA, or the first one that refuses"""
        to = [to] if isinstance(to, str) else to
        r = self.cmd("MAIL FROM:<%s>%s" % (frm, more))
        took = 0
        if r.startswith("250"):
            self.send("".join("RCPT TO:<%s>%s\r\n" % (t, rcpt) for t in to))
            answers = [self.reply() for _ in to]
            took = sum(1 for x in answers if x.startswith("250"))
            r = answers[-1]
        if took:
            r = self.cmd("DATA")
        if r.startswith("354"):
            self.send((data if isinstance(data, bytes) else data.encode("utf8")) + b"\r\n.\r\n")
            return self.reply()
        self.cmd("RSET")
        return r


class IMAP(Line):
    def __init__(self, user=None, src=None, **k):
        super().__init__("imap", src or ("127.0.1.%d" % random.randint(1, 200) if user else None), **k)
        self.n = 0
        hello = self.line().decode("latin1").strip()
        if not hello.startswith("* OK"):
            raise Refused(hello)
        if user:
            r = self.cmd("LOGIN %s %s" % (user, secret(user)))
            if not r.startswith("OK"):
                raise Refused(r)

    def cmd(self, text, keep=None):
        """the tagged answer without its tag; untagged lines go to keep"""
        self.n += 1
        tag = b"t%d " % self.n
        self.send(tag + (text if isinstance(text, bytes) else text.encode("utf8")) + b"\r\n")
        return self.answer(tag, keep)

    def answer(self, tag, keep=None):
        while True:
            l = self.line()
            if l.startswith(tag):
                return l[len(tag):].decode("latin1").strip()
            if l.startswith(b"* BYE"):
                raise Refused(l.decode("latin1").strip())
            if keep is not None:
                keep.append(l)
            m = re.search(rb"\{(\d+)\}\r\n$", l)
            if m:
                left = int(m.group(1))
                while left:
                    b = self.f.read(min(left, 1 << 16))
                    if not b:
                        raise EOFError("closed")
                    if keep is not None:
                        keep.append(b)
                    left -= len(b)

    def append(self, box, data):
        data = data if isinstance(data, bytes) else data.encode("utf8")
        return self.cmd(b"APPEND %s {%d+}\r\n" % (box.encode(), len(data)) + data)


class POP3(Line):
    def __init__(self, user, src=None, **k):
        super().__init__("pop3", src, **k)
        for l in (None, "USER " + user, "PASS " + secret(user)):
            r = self.cmd(l)
            if not r.startswith("+OK"):
                raise Refused(r)

    def cmd(self, text):
        if text:
            self.send(text + "\r\n")
        return self.line().decode("latin1").strip()


class Web:
    def __init__(self, user=None, src=None):
        self.c = http.client.HTTPConnection("127.0.0.1", BASE + PORT["http"], timeout=PATIENCE, source_address=(src, 0) if src else None)
        self.cookies = {}
        if user:
            status, _ = self.post("/login", {"name": user, "password": secret(user)}, self.token("/login"))
            if status not in (302, 303):
                raise Refused("HTTP %d" % status)

    def req(self, method, path, body=None, **h):
        h = {k.replace("_", "-"): v for k, v in h.items()}
        h.setdefault("Cookie", "; ".join("%s=%s" % x for x in self.cookies.items()))
        self.c.request(method, path, body, h)
        r = self.c.getresponse()
        text = r.read()
        for k, v in r.getheaders():
            if k.lower() == "set-cookie":
                name, _, rest = v.partition("=")
                self.cookies[name] = rest.split(";")[0]
        self.location = r.getheader("Location")
        return r.status, text.decode("utf8", "replace")

    def get(self, path, **h):
        return self.req("GET", path, **h)

    def token(self, path):
        m = re.search(r'name="?csrf"? value="?([^"> ]+)', self.get(path)[1])
        return m.group(1) if m else ""

    def post(self, path, fields, token, files=()):
        fields = dict({"csrf": token}, **fields)
        if not files:
            return self.req("POST", path, urllib.parse.urlencode(fields), Content_Type="application/x-www-form-urlencoded")
        b = "x%d" % random.getrandbits(60)
        out = "".join('--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (b, k, v) for k, v in fields.items()).encode()
        for k, name, data in files:
            out += ('--%s\r\nContent-Disposition: form-data; name="%s"; filename="%s"\r\nContent-Type: application/octet-stream\r\n\r\n' % (b, k, name)).encode() + data + b"\r\n"
        return self.req("POST", path, out + ("--%s--\r\n" % b).encode(), Content_Type="multipart/form-data; boundary=" + b)

    def close(self):
        self.c.close()


class Refused(Exception):
    pass


def secret(user):
    return "secret" + user.split("@")[0]


def message(mid, size, head=""):
    return "From: b@out.test\r\nTo: keep@lab1.arpa\r\nSubject: %s\r\nMessage-ID: <%s>\r\n%s\r\n" % (mid, mid, head) + noise_of(size)


NOISE = base64.encodebytes(os.urandom(57 * 4000)).decode().replace("\n", "\r\n")  # what no compression makes smaller


def noise_of(size):
    at = random.randrange(2000) * 78
    return NOISE[at:at + size // 78 * 78]


def short(x):
    """an answer without what is different each time"""
    return re.sub(r"\d{4,}|as [a-z2-7]{10}|\S+@\S+", "…", str(x))[:70]


def attempt(fn, *a):
    try:
        return fn(*a)
    except Refused as e:
        return str(e)
    except (OSError, EOFError, http.client.HTTPException, ValueError) as e:
        return "(%s)" % (type(e).__name__,)


def at_once(n, fn):
    """fn(0) … fn(n-1) in threads of their own; counts the answers"""
    out = [None] * n
    def one(i):
        out[i] = attempt(fn, i)
    all = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(n)]
    for t in all: t.start()
    for t in all: t.join(300)
    return collections.Counter(short(x) for x in out)


def stranger(i):
    return "127.0.%d.%d" % (2 + i // 200, 1 + i % 200)


# A good client, who works all the time.

def for_now(answer):
    """whether an answer says that it is so only for now, or nothing was said at all"""
    return re.match(r"4\d\d|\* BYE \[UNAVAILABLE\]|NO \[(UNAVAILABLE|LIMIT|INUSE)\]|-ERR \[(SYS/TEMP|IN-USE|LOGIN-DELAY)\]|HTTP (429|503|507)|\(", answer)


class Good(threading.Thread):
    def __init__(self):
        super().__init__(daemon=True)
        self.acked, self.lock, self.n = {}, threading.Lock(), 0
        self.told = collections.defaultdict(collections.Counter)
        self.served = {}
        self.worst = 0.0
        self.end = False

    def smtp(self, mid):
        with SMTP("127.0.0.9") as c:
            r = c.mail("b@out.test", "keep@lab1.arpa", message(mid, 500))
        if r.startswith("250"): self.acked[mid] = "smtp"
        return r

    def queue(self, mid):
        with SMTP("127.0.0.9", port="submission", user="ann@lab1.arpa") as c:
            r = c.mail("ann@lab1.arpa", "keep@lab2.arpa", message(mid, 500).replace("b@out.test", "ann@lab1.arpa"))
        if r.startswith("250"): self.acked[mid] = "queue"
        return r

    def append(self, mid):
        with IMAP("keep@lab1.arpa", "127.0.0.9") as c:
            r = c.append("Kept", message(mid, 500))
        if r.startswith("OK"): self.acked[mid] = "append"
        return r

    def pop3(self, mid):
        with POP3("ann@lab1.arpa", "127.0.0.9") as c:
            return c.cmd("RETR 1")

    def web(self, mid):
        w = Web(src="127.0.0.9")
        status, text = w.get("/login")
        w.close()
        return "HTTP %d" % status if status >= 400 else "OK"

    def run(self):
        while not self.end:
            for kind in (self.smtp, self.queue, self.append, self.pop3, self.web):
                self.n += 1
                began = time.time()
                r = attempt(kind, "good%d.%s@good.test" % (self.n, PID))
                took = time.time() - began
                with self.lock:
                    self.worst = max(self.worst, took)
                    name = kind.__name__
                    if re.match(r"2\d\d|OK|\+OK", r):
                        self.served[name] = time.time()
                        self.told[name]["served"] += 1
                    else:
                        self.told[name][short(r)] += 1
                        if not for_now(r):
                            fault("a good client by %s was told: %s" % (name, r))
            time.sleep(1)  # a person may send 500 messages a day

    def take(self):
        """what was told since it was asked last"""
        with self.lock:
            told, worst, self.told, self.worst = self.told, self.worst, collections.defaultdict(collections.Counter), 0.0
        all = collections.Counter()
        for c in told.values(): all += c
        served = all.pop("served", 0)
        return "served %d, longest %.1f s%s" % (served, worst, ", told " + ", ".join("%s ×%d" % x for x in all.most_common(3)) if all else "")

    def wait(self):
        """until every kind is served again"""
        began = time.time()
        while time.time() - began < PATIENCE:
            with self.lock:
                if len(self.served) == 5 and min(self.served.values()) > began: return True
            time.sleep(0.2)
        with self.lock:
            return "not served for %d s: %s" % (PATIENCE, [k for k in ("smtp", "queue", "append", "pop3", "web") if self.served.get(k, 0) <= began])


class Memory(threading.Thread):
    """what the group holds that is not a copy of a file"""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak = 0
        self.start()

    def run(self):
        while True:
            try:
                s = dict(l.split() for l in open(GROUP + "/memory.stat"))
                self.peak = max(self.peak, int(s.get("anon", s.get("total_rss", 0))))
            except (OSError, ValueError): pass
            time.sleep(0.02)

    def kills(self):
        for name in ("memory.events", "memory.oom_control"):
            try:
                for l in open(GROUP + "/" + name):
                    if l.startswith("oom_kill "): return int(l.split()[1])
            except OSError: pass
        return 0


ATTACKS = []


def attack(text):
    def note(fn):
        ATTACKS.append((text, fn))
        return fn
    return note


# Strangers.

def half_sent(body):
    cs, told = [], collections.Counter()
    for i in range(200):
        def one():
            c = SMTP(stranger(i % 40), timeout=10)
            cs.append(c)
            if not c.hello.startswith("220"): return c.hello
            c.send("MAIL FROM:<b@out.test>\r\nRCPT TO:<w1@lab1.arpa>\r\nDATA\r\n")
            answers = [c.reply() for _ in range(3)]
            if answers[2].startswith("354"): c.s.sendall(body)
            return answers[2]
        told[short(attempt(one))] += 1
    time.sleep(5)
    for c in cs: c.close()
    return told


PARTS = b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
attack("200 half-sent messages of 10,000 parts")(lambda: half_sent(PARTS + b"--b\r\n\r\n" * 10100))
attack("200 of 3,000 parts with 60 parameters each")(lambda: half_sent(PARTS + (b"--b\r\nContent-Type: text/plain" + b"".join(b";a%d=b" % i for i in range(60)) + b"\r\n\r\n") * 3000))
attack("200 of 25,000 header lines")(lambda: half_sent(b"".join(b"X%d: y\r\n" % k for k in range(25000))))


def silent(port, first=b""):
    cs, told = [], collections.Counter()
    for i in range(300):
        def one():
            s = socket.create_connection(("127.0.0.1", BASE + PORT[port]), 5, source_address=(stranger(i % 30), 0))
            cs.append(s)
            if first: s.sendall(first)
            return "open"
        told[short(attempt(one))] += 1
    time.sleep(6)
    for s in cs: s.close()
    return told


for port, first in (("smtp", b""), ("submission", b"E"), ("imap", b"a LOGIN x"), ("pop3", b""), ("http", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "), ("imaps", b"\x16\x03\x01"), ("submissions", b"")):
    attack("300 silent connections to %s" % port)(lambda port=port, first=first: silent(port, first))


@attack("600 unknown languages, themes and forms")
def cookies():
    def one(i):
        w = Web(src=stranger(i))
        out = [w.get("/login", Cookie="postino-lang=x%d; postino-theme=y%d" % (i * 100 + k, k), Accept_Language="q%d-%d" % (i, k))[0] for k in range(30)]
        w.post("/look", {"lang": "zz%d" % i, "theme": "t" * 5000}, "none")
        w.post("/login", {"f%d" % k: "v" for k in range(5000)}, "none")
        w.close()
        return "HTTP %d" % out[-1]
    return at_once(20, one)


@attack("forged headers: proxies, senders, results, lengths")
def forged():
    def one(i):
        told = []
        w = Web(src=stranger(i))
        for k in range(20):
            told.append("HTTP %d" % w.get("/login", X_Forwarded_For="10.%d.%d.1" % (i, k), Forwarded="for=127.0.0.1", X_Forwarded_Proto="https", Host="evil%d.test" % k)[0])
        w.close()
        with Line("smtp", stranger(i)) as c:
            c.send("PROXY TCP4 127.0.0.1 127.0.0.1 1 25\r\nEHLO x\r\n")
            told += [attempt(c.line) and "proxy line read"]
        with SMTP(stranger(i)) as c:
            for frm, head in (("ann@lab1.arpa", "From: Ann <ann@lab1.arpa>\r\n"), ("b@out.test", "Authentication-Results: mx.lab1.arpa; dkim=pass\r\n" * 50), ("b@out.test", "From: a@b\r\nFrom: \"x <ann@lab1.arpa>\":;\r\nReceived: x\r\n" * 40),
                              ("b@out.test", "Content-Length: 99999999999\r\nSubject: \x1b]0;x\x07\r\nX: %s\r\n" % ("z" * 60000))):
                told.append(c.mail(frm, "w1@lab1.arpa", head + "\r\nx\r\n"))
        return " ".join(sorted(set(x[:3] for x in told)))
    return at_once(10, one)


@attack("success reports for 300 recipients, from strangers")
def reports():
    def one(i):
        with SMTP(stranger(i)) as c:
            return c.mail("victim@dead.arpa", ["w1+%d@lab1.arpa" % k for k in range(300)], message("dsn%d" % i, 500, "X: %s\r\n" % ("h" * 60000)), " RET=HDRS", " NOTIFY=SUCCESS")
    return at_once(8, one)


@attack("600 ETRN and wrong commands from strangers")
def etrn():
    def one(i):
        with SMTP(stranger(i)) as c:
            r = ""
            for k in range(30): r = c.cmd(("ETRN lab2.arpa", "ETRN dead.arpa", "VRFY ann", "TURN")[k % 4])
            return r
    return at_once(20, one)


@attack("500 wrong passwords from 50 addresses, over all protocols")
def logins():
    def one(i):
        def imap(k):
            with IMAP(src=stranger(i)) as c: return c.cmd("LOGIN ann@lab1.arpa wrong%d.%d" % (i, k))
        def pop(k):
            with Line("pop3", stranger(i)) as c:
                c.line(); c.send("USER nobody%d\r\n" % k); c.line(); c.send("PASS x%d\r\n" % k); return c.line().decode()
        def smtp(k):
            with SMTP(stranger(i), port="submission") as c: return c.cmd("AUTH PLAIN " + base64.b64encode(b"\0ann@lab1.arpa\0no%d" % k).decode())
        r = ""
        for k in range(10): r = attempt((imap, pop, smtp)[k % 3], k)
        return r
    told = at_once(50, one)
    with IMAP("ann@lab1.arpa", "127.0.0.9") as c: told["ann with her own: " + c.cmd("NOOP")[:2]] += 1
    return told


@attack("2,000 short connections")
def brief():
    def one(i):
        for k in range(100):
            with Line(("smtp", "imap", "pop3", "http")[k % 4], stranger(i * 100 + k)) as c:
                c.send(("QUIT\r\n", "a LOGOUT\r\n", "QUIT\r\n", "GET /help HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")[k % 4])
                c.line()
        return "done"
    return at_once(20, one)


@attack("lines without end, pages asked of mail ports, noise in TLS")
def noise():
    def one(i):
        port, data = (("imap", b"a " + b"x" * 3000000), ("smtp", b"y" * 3000000), ("pop3", b"z" * 3000000), ("imap", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ("smtp", b"POST / HTTP/1.1\r\n\r\n"), ("imaps", os.urandom(100000)),
                      ("http", b"GET /" + b"a" * 3000000), ("http", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200000), ("imap", b"a APPEND INBOX {99999999999999999999}\r\n"), ("smtp", b"\0\xff\r\n" * 100000))[i % 10]
        with Line(port, stranger(i), timeout=20) as c:
            try: c.send(data)
            except OSError: return "hung up"
            c.f.read(200)
            return "answered"
    return at_once(30, one)


@attack("a stranger fills the queue through an alias")
def alias():
    told = collections.Counter()
    for i in range(4):
        with SMTP(stranger(i)) as c:
            for k in range(300): told[short(c.mail("b@out.test", "away@lab1.arpa", message("al%d.%d" % (i, k), 100)))] += 1
    return told


# People who may log in.

def heavy(n, commands, box="Shared/big", who=(1, 2, 3, 4, 5)):
    def one(i):
        with IMAP("w%d@lab1.arpa" % who[i % len(who)], timeout=240) as c:
            r = c.cmd("EXAMINE " + box)
            return c.cmd(commands[i % len(commands)]) if r.startswith("OK") else r
    return at_once(n, one)


attack("8 SEARCH TEXT at once on 50,000 messages")(lambda: heavy(8, ['SEARCH TEXT "nowhere%d"' % i for i in range(8)]))
attack("8 SORT at once")(lambda: heavy(8, ["SORT (SUBJECT FROM DATE) UTF-8 ALL"]))
attack("8 THREAD at once")(lambda: heavy(8, ["THREAD REFERENCES UTF-8 ALL"]))
attack("30 SORT and THREAD at once")(lambda: heavy(30, ["THREAD REFS UTF-8 ALL", "SORT (SUBJECT) UTF-8 ALL"]))
attack("8 FETCH of everything at once")(lambda: heavy(8, ["FETCH 1:* (FLAGS ENVELOPE BODYSTRUCTURE)"]))


@attack("195 sessions on 50,000 messages, of five people")
def sessions():
    cs, told = [], collections.Counter()
    for i in range(195):
        def one():
            c = IMAP("w%d@lab1.arpa" % (1 + i % 5))
            cs.append(c)
            return c.cmd("EXAMINE Shared/big")
        told[short(attempt(one))] += 1
    for c in cs: attempt(c.send, "z IDLE\r\n")
    time.sleep(3)
    for c in cs: c.close()
    return told


@attack("one person opens 120 sessions")
def greedy():
    cs, told = [], collections.Counter()
    for i in range(120):
        def one():
            cs.append(IMAP("w1@lab1.arpa"))
            return "logged in"
        told[short(attempt(one))] += 1
    for c in cs: c.close()
    return told


@attack("40 readers that do not read")
def unread():
    cs = []
    for i in range(40):
        def one():
            c = IMAP("w%d@lab1.arpa" % (1 + i % 5))
            cs.append(c)
            c.cmd("EXAMINE Shared/big")
            c.send("z FETCH 1:* BODY.PEEK[]\r\n")
        attempt(one)
    time.sleep(8)
    for c in cs: c.close()
    return {"asked": len(cs)}


@attack("150 APPENDs of 100 KB at once")
def appends():
    def one(i):
        with IMAP("w%d@lab1.arpa" % (2 + i % 4)) as c: return c.append("INBOX", message("ap%d" % i, 100000))
    told = at_once(150, one)
    empty(2, 3, 4, 5)
    return told


@attack("commands that are hard to answer")
def hard():
    def one(i):
        return attempt(heavy_one, i)
    def heavy_one(i):
        with IMAP("w%d@lab1.arpa" % (1 + i % 5), timeout=240) as c:
            c.cmd("EXAMINE Shared/big")
            return c.cmd((b"FETCH " + b",".join([b"1:*"] * 2000) + b" (FLAGS)", b"SEARCH " + b" ".join(b"NOT TEXT zz%d" % k for k in range(100)), b"LIST \"\" \"" + b"%*" * 500 + b"x\"", b"SEARCH " + b"(" * 20000 + b"ALL" + b")" * 20000,
                          b"FETCH 1:200 (" + b" ".join(b"BODY.PEEK[]" for k in range(100)) + b")", b"SEARCH " + b" ".join(b"OR SUBJECT q%d" % k for k in range(1000)) + b" ALL", b"ID (" + b" ".join(b"\"k%d\" \"v\"" % k for k in range(2000)) + b")",
                          b"SORT (" + b" ".join([b"REVERSE SUBJECT"] * 90) + b") UTF-8 ALL", b"SEARCH " + b"NOT " * 15000 + b"SEEN", b"STORE 1 +FLAGS (" + b" ".join(b"kw%d" % k for k in range(2000)) + b")")[i % 10])[:30]
    return at_once(20, one)


@attack("messages that are hard to read, and reading them")
def bombs():
    H = "From: b@out.test\r\nTo: w1@lab1.arpa\r\nSubject: bomb %s\r\nMIME-Version: 1.0\r\n"
    html = "Content-Type: text/html\r\n\r\n"
    tnef = struct.pack("<IH", 0x223E9F78, 1) + (b"\x02" + struct.pack("<II", 0x00069002, 14) + b"\0" * 14 + b"\0\0") * 20000
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as z: z.writestr("zeros", bytes(30_000_000))
    def file(name, data): return "Content-Type: application/octet-stream; name=%s\r\nContent-Disposition: attachment; filename=%s\r\nContent-Transfer-Encoding: base64\r\n\r\n" % (name, name) + base64.encodebytes(data).decode().replace("\n", "\r\n")
    all = [
        "Content-Type: multipart/mixed; boundary=b0\r\n\r\n" + "".join("--b%d\r\nContent-Type: multipart/mixed; boundary=b%d\r\n\r\n" % (i, i + 1) for i in range(5000)),
        "Content-Type: message/rfc822\r\n\r\n" * 5000 + "x\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n" + "--b\r\n\r\nx\r\n" * 10100,
        "Cc: " + ",\r\n ".join('"N %d" <n%d@x.test>' % (i, i) for i in range(8000)) + "\r\n\r\nx\r\n",
        "Cc: " + "(" * 50000 + ")" * 50000 + " a@b\r\n\r\nx\r\n",
        "References: " + "\r\n ".join("<r%d@x>" % i for i in range(20000)) + "\r\n\r\nx\r\n",
        "".join("X-%d: y\r\n" % i for i in range(20000)) + "\r\nx\r\n",
        "Content-Type: text/plain; " + ";\r\n ".join('name*%d="x"' % i for i in range(10000)) + "\r\n\r\nx\r\n",
        "X-E: " + "\r\n ".join("=?utf-8?b?w6TDtsO8?=" for i in range(8000)) + "\r\n\r\nx\r\n",
        html + "<div>\r\n" * 60000, html + "<table><a>\r\n" * 30000, html + '<p style="' + "color:red;\r\n" * 20000 + '">x</p>', html + '<b style="color:red">x</b>\r\n' * 30000, html + "<select><template><svg><math>\r\n" * 10000,
        "\r\n" + "y" * 900 + "\r\n" * 100000, "Content-Type: text/plain; charset=utf-8\r\n\r\na" + "\u0301" * 400 + ("\r\n" + "\u0301" * 400) * 300 + "\r\n",
        file("winmail.dat", tnef).replace("application/octet-stream", "application/ms-tnef"), file("bomb.zip", packed.getvalue()),
    ]
    told = collections.Counter()
    with SMTP("127.0.0.77") as c:
        for i, m in enumerate(all): told["taken: " + short(c.mail("b@out.test", "w1@lab1.arpa", H % i + m, " BODY=8BITMIME"))] += 1
    def read(i):
        if i % 2 == 0:
            with IMAP("w1@lab1.arpa", timeout=240) as c:
                c.cmd("SELECT INBOX")
                return "imap: " + c.cmd(("FETCH 1:* (ENVELOPE BODYSTRUCTURE PREVIEW)", 'SEARCH TEXT "nowhere"', "SORT (SUBJECT CC) UTF-8 ALL", "FETCH 1:* (BINARY.PEEK[1])")[i // 2 % 4])[:12]
        w = Web("w1@lab1.arpa")
        status, page = w.get("/mail")
        while status in (302, 303): status, page = w.get(w.location)
        codes = collections.Counter()
        for ref in re.findall(r'href="(/box/\w+/\d+)"', page)[:20]:
            for more in ("", "/html", "/print"): codes[w.get(ref + more)[0]] += 1
        w.close()
        return "web: %s" % dict(codes)
    told += at_once(8, read)
    empty(1)
    return told


@attack("60 streams of events of one person")
def streams():
    w = Web("w2@lab1.arpa", "127.0.0.66")
    cookie = "; ".join("%s=%s" % x for x in w.cookies.items())
    cs, told = [], collections.Counter()
    for i in range(60):
        def one():
            c = Line("http", stranger(i))
            cs.append(c)
            c.send("GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: %s\r\n\r\n" % cookie)
            return c.line().decode().strip()
        told[short(attempt(one))] += 1
    other = Web("w3@lab1.arpa", "127.0.0.67")
    told["another one's page: %d" % other.get("/contacts")[0]] += 1
    for c in cs: c.close()
    return told


@attack("four uploads of 8 MB at once, archives that swell")
def uploads():
    def one(i):
        w = Web("w%d@lab1.arpa" % (2 + i % 4))
        if i < 4:
            f = {k: "" for k in ("id", "draft", "source", "kind", "inreplyto", "cc", "bcc", "html", "rich", "when")}
            f.update({"from": "w%d@lab1.arpa" % (2 + i), "to": "w1@lab1.arpa", "subject": "up", "text": "t", "do": "attach"})
            return "upload %d" % w.post("/compose", f, w.token("/compose"), [("files", "a.bin", os.urandom(8 << 20))])[0]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as z:
            if i % 2: z.writestr("INBOX.mbox", b"From a@b Sun Nov 29 10:00:00 2026\nSubject: z\n\n" + bytes(200_000_000))
            else:
                for k in range(20000): z.writestr("d%d/m.txt" % k, b"x")
        page = w.get("/settings/data")[1]
        box = re.search(r'<option value="?(\d+)', page)
        return "archive %d" % w.post("/settings/import", {"box": box.group(1) if box else ""}, re.search(r'name="?csrf"? value="?([^"> ]+)', page).group(1), [("file", "a.zip", packed.getvalue())])[0]
    told = at_once(8, one)
    empty(2, 3, 4, 5)
    return told


@attack("forty hosts that accept and say nothing")
def tarpit():
    held, hosts = [], [socket.create_server(("127.0.9.%d" % (i + 1), SILENT)) for i in range(40)]
    def accept(l):
        while True:
            try: held.append(l.accept()[0])
            except OSError: return
    for l in hosts: threading.Thread(target=accept, args=(l,), daemon=True).start()
    told = collections.Counter()
    with SMTP(port="submission", user="w2@lab1.arpa") as c:
        for i in range(40): told[short(c.mail("w2@lab1.arpa", "x@silent%d.arpa" % (i + 1), message("s%d" % i, 200).replace("b@out.test", "w2@lab1.arpa")))] += 1
    time.sleep(3)
    before, began = count_peer(), time.time()
    while count_peer() <= before and time.time() - began < 2 * PATIENCE: time.sleep(0.5)
    told["held %d, a good host had mail after %.0f s" % (len(held), time.time() - began)] += 1
    if count_peer() <= before: fault("silent hosts kept a good one waiting")
    for s in hosts + held: s.close()
    return told


def count_peer():
    with IMAP("keep@lab2.arpa", base=PEER) as c:
        lines = []
        c.cmd("STATUS INBOX (MESSAGES)", lines)
        return int(re.search(rb"MESSAGES (\d+)", lines[0]).group(1))


@attack("the card is filled until it is refused, then freed")
def card():
    told = collections.Counter()
    verb("queue", "rm", "dead.arpa")
    refused = 0
    with SMTP("127.0.0.77") as c:
        for i in range(2000):
            r = c.mail("b@out.test", "w5@lab1.arpa", message("fill%d" % i, 90000))
            if not r.startswith("250"):
                told["smtp " + short(r)] += 1
                if not for_now(r): fault("a full card: " + r)
                refused += 1
                if refused == 20: break
        told["%d taken by SMTP" % (i + 1 - refused)] += 1
    with IMAP("w4@lab1.arpa") as c:
        for i in range(1000):
            r = c.append("INBOX", message("fa%d" % i, 90000))
            if not r.startswith("OK"):
                told["append " + short(r)] += 1
                if not for_now(r): fault("a full card: " + r)
                break
    told["free %.0f MB" % (free() / 1e6)] += 1
    # Somebody else takes what is left.
    with open(CARD + "/other", "wb") as f:
        try:
            while True: f.write(bytes(65536)); f.flush()
        except OSError: pass
    for who, fn in (("imap", lambda: IMAP("w5@lab1.arpa").cmd("SELECT INBOX")), ("web", lambda: "OK" if Web("w5@lab1.arpa").get("/contacts")[0] == 200 else "no page")):
        r = attempt(fn)
        told["on a card without a block %s %s" % (who, r[:2])] += 1
        if not r.startswith("OK"): fault("a full card, log in by %s: %s" % (who, r))
    def pop():
        with POP3("w5@lab1.arpa") as c: return [c.cmd("DELE %d" % (i + 1)) for i in range(20)] and c.cmd("QUIT")
    r = attempt(pop)
    told["POP3 DELE, QUIT " + r[:3]] += 1
    if not r.startswith("+OK"): fault("a full card, POP3: " + r)
    r = attempt(empty, 4, 5)
    if r != "OK": fault("a full card, deleting: %s" % r)
    os.unlink(CARD + "/other")
    began = time.time()
    while time.time() - began < 2 * PATIENCE:
        with SMTP("127.0.0.77") as c: r = c.mail("b@out.test", "w5@lab1.arpa", message("after%d" % time.time(), 90000))
        if r.startswith("250"): break
        time.sleep(1)
    told["taken again after %.0f s" % (time.time() - began)] += 1
    if not r.startswith("250"): fault("the card was freed, and still: " + r)
    empty(5)
    return told


def empty(*who):
    """deletes all mail of these"""
    for n in who:
        with IMAP("w%d@lab1.arpa" % n, timeout=240) as c:
            for box in ("INBOX", "Drafts", "Sent", "Trash"):
                if not c.cmd("SELECT " + box).startswith("OK"): continue
                for command in ("STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"):
                    r = c.cmd(command)
                    if not r.startswith(("OK", "BAD")): return r
    return "OK"


def free():
    s = os.statvfs(CARD)
    return s.f_bavail * s.f_frsize


# It begins.

FREE = free()

for n in range(1, 6): verb("user", "add", "w%d@lab1.arpa" % n, say="secretw%d\n" % n)
verb("user", "add", "keep@lab1.arpa", say="secretkeep\n")
verb("user", "add", "keep@lab2.arpa", say="secretkeep\n", config=CONFIG.replace("/lab1/", "/lab2/"))
verb("alias", "add", "away@lab1.arpa", "x@dead.arpa")
verb("shared", "add", "big")
verb("shared", "quota", "100GB")  # a copy counts as if it were another message
with IMAP("keep@lab1.arpa") as c: print("a mailbox for what is kept:", c.cmd("CREATE Kept"))
with IMAP("w1@lab1.arpa", timeout=300) as c:
    words = [a + b for a in ("ka", "lo", "mi", "ne", "su") for b in ("ra", "mon", "tel", "dis")]
    for i in range(100):
        r = c.append("Shared/big", message("big%d" % i, 0, "References: <big%d>\r\n" % (i - i % 7)) + "\r\n".join(" ".join(random.choice(words) for _ in range(9)) for _ in range(12)))
        if not r.startswith("OK"): sys.exit("Shared/big: " + r)
    c.cmd("SELECT Shared/big")
    n = 100
    while n < 50000:
        r = c.cmd("COPY 1:%d Shared/big" % min(n, 50000 - n))
        if not r.startswith("OK"): sys.exit("COPY: " + r)
        n += min(n, 50000 - n)
    lines = []
    c.cmd("STATUS Shared/big (MESSAGES)", lines)
    print(lines[0].decode().strip())

memory, good = Memory(), Good()
good.start()
good.wait(); good.take()
only = sys.argv[1:]
for text, fn in ATTACKS:
    if only and not any(x.replace(".", " ") in text for x in only): continue
    began, memory.peak = time.time(), 0
    try:
        told = fn()
    except Exception as e:  # of the attacker: the appliance may be gone
        told = {"%s %s" % (type(e).__name__, e): 1}
    took = time.time() - began
    served = good.wait()
    print("%-58s %5.1f s  %4.1f MiB  %s\n      good client: %s" % (text, took, memory.peak / 2**20, ", ".join("%s ×%d" % (short(k), n) for k, n in collections.Counter(told).most_common(5)), good.take()))
    if served is not True: fault("after that: " + served)
    if not os.path.exists("/proc/" + PID):
        fault("the appliance has ended")
        break
    if memory.kills(): fault("%d kills for memory" % memory.kills())
good.end = True
good.join()

# What is still on its way, and what was kept.
for domain in ["dead.arpa"] + ["silent%d.arpa" % (i + 1) for i in range(40)]: verb("queue", "rm", domain)
began = time.time()
while "Nothing is waiting" not in verb("queue", "list") and time.time() - began < 2 * PATIENCE: time.sleep(1)
if "Nothing is waiting" not in verb("queue", "list"): fault("the queue is not empty: " + verb("queue", "list")[:500])
found = collections.Counter()
for base, boxes in ((BASE, ("INBOX", "Kept")), (PEER, ("INBOX",))):
    with IMAP("keep@lab%d.arpa" % (1 if base == BASE else 2), base=base) as c:
        for box in boxes:
            c.cmd("EXAMINE " + box)
            lines = []
            c.cmd("FETCH 1:* BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]", lines)
            for l in lines: found.update(x.decode() for x in re.findall(rb"<(good\S+@good.test)>", l))
lost = [x for x in good.acked if not found[x]]
twice = [x for x in good.acked if found[x] > 1]
print("acknowledged %s, lost %d, twice %d" % (dict(collections.Counter(good.acked.values())), len(lost), len(twice)))
if lost: fault("lost: %s" % lost[:5])
if twice: fault("twice: %s" % twice[:5])
with IMAP("w1@lab1.arpa", timeout=240) as c:
    for command in ("SELECT Shared/big", "STORE 1:* +FLAGS.SILENT (\\Deleted)", "EXPUNGE"):
        r = c.cmd(command)
        if not r.startswith("OK"): fault("Shared/big, %s: %s" % (command, r))
verb("shared", "rm", "big")
for n in range(1, 6): verb("user", "rm", "w%d@lab1.arpa" % n)  # and the letters that they have begun
began = time.time()
while free() < FREE - 5e6 and time.time() - began < 4 * PATIENCE: time.sleep(1)
print("%.0f MB of the card were free before, %.0f MB are %.0f s after all was deleted" % (FREE / 1e6, free() / 1e6, time.time() - began))
if free() < FREE - 5e6: fault("the card does not get its room back")
print("%d faults" % len(faults))
sys.exit(1 if faults else 0)
