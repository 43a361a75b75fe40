"""Thunderbird, headless and driven over Marionette: it configures itself, and reads, tags, moves, searches and sends mail."""
import base64, email, email.message, email.policy, json, os, poplib, shutil, smtplib, socket, subprocess, sys, tempfile, time, urllib.request

host, (submission, pop, http) = sys.argv[1], map(int, sys.argv[2:])

# Automatic configuration, as the wizard finds it, with the private CA's root taken from the web server first.
SETUP = r"""
const [web, root] = arguments, done = arguments[arguments.length - 1];
(async () => {
  const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
  const { FetchConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/FetchConfig.sys.mjs");
  const { AccountConfig } = ChromeUtils.importESModule("resource:///modules/accountcreation/AccountConfig.sys.mjs");
  const { CreateInBackend } = ChromeUtils.importESModule("resource:///modules/accountcreation/CreateInBackend.sys.mjs");
  Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).addCertFromBase64(root, "C,,");
  Services.prefs.setCharPref("mailnews.auto_config_url", web + "/mail/config-v1.1.xml?emailaddress=hal@{{domain}}");
  const config = await FetchConfig.fromDB("home.arpa", new AbortController().signal);
  AccountConfig.replaceVariables(config, "Hal \u8d39", "hal@home.arpa", "secret");
  const account = await CreateInBackend.createAccountInBackend(config);
  MailServices.accounts.defaultAccount = account;
  const out = MailServices.outgoingServer.defaultServer.QueryInterface(Ci.nsISmtpServer);
  account.incomingServer.password = out.password = "secret";
  const words = s => ["plain", "", "STARTTLS", "TLS"][s];
  return `configured: ${account.incomingServer.type} ${account.incomingServer.hostname ?? account.incomingServer.hostName}:${account.incomingServer.port} ` +
    `${words(account.incomingServer.socketType)}, smtp ${out.hostname}:${out.port} ${words(out.socketType)}`;
})().then(done, e => done("ERROR " + e + "\n" + e.stack));
"""

RUN = r"""
const done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.defaultAccount.incomingServer;
const id = MailServices.accounts.defaultAccount.defaultIdentity;
const root = server.rootFolder;
const sleep = ms => new Promise(r => setTimeout(r, ms));
const until = async (what, f) => {
  for (let i = 0; i < 200; i++) { let v = f(); if (v) return v; await sleep(100); }
  throw new Error("waited in vain for " + what + " " + f);
};
const url = f => new Promise((ok, bad) => f({ OnStartRunningUrl() {}, OnStopRunningUrl(u, s) { s ? bad(new Error("status " + s.toString(16))) : ok(); },
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]) }));
const copied = f => new Promise((ok, bad) => f({ onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return ""; },
  onStopCopy(s) { s ? bad(new Error("status " + s.toString(16))) : ok(); }, QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]) }));
const said = [];
const tell = s => said.push(s);
setTimeout(() => done(["ERROR it takes too long, after:", ...said]), 100000);
const update = folder => url(l => folder.QueryInterface(Ci.nsIMsgImapMailFolder) && folder.updateFolderWithListener(null, l));
const flag = f => root.getFolderWithFlags(Ci.nsMsgFolderFlags[f]);
const all = f => [...f.messages];
const text = async (folder, hdr) => {
  const svc = MailServices.messageServiceFromURI(folder.getUriForMsg(hdr));
  const input = Cc["@mozilla.org/network/sync-stream-listener;1"].createInstance(Ci.nsISyncStreamListener);
  return await new Promise((ok, bad) => {
    let all = "";
    svc.streamMessage(folder.getUriForMsg(hdr), { QueryInterface: ChromeUtils.generateQI(["nsIStreamListener"]), onStartRequest() {},
      onDataAvailable(r, s, o, n) { const b = Cc["@mozilla.org/scriptableinputstream;1"].createInstance(Ci.nsIScriptableInputStream); b.init(s); all += b.read(n); },
      onStopRequest(r, s) { s ? bad(new Error("stream " + s.toString(16))) : ok(all); } }, null, null, false, "");
  });
};
(async () => {
  server.performExpand(null);
  await until("the inbox", () => flag("Inbox"));
  const inbox = flag("Inbox");
  await until("the special folders", () => flag("Trash") && flag("SentMail") && flag("Drafts") && flag("Junk") && flag("Archive"));
  tell("special folders: " + ["SentMail", "Drafts", "Trash", "Junk", "Archive"].map(f => flag(f).prettyName || flag(f).name).join(", "));
  await update(inbox);
  let list = await until("three messages", () => all(inbox).length >= 3 && all(inbox));
  tell("inbox: " + list.map(m => m.mime2DecodedSubject).join(" | "));
  const chinese = list.find(m => m.mime2DecodedSubject.includes("\u7a0b\u5e8f"));
  if (!chinese) throw new Error("no Chinese subject");
  if (!(await text(inbox, chinese)).includes("GB2312")) throw new Error("the message's text is not there");
  // Flags and tags.
  inbox.markMessagesRead([chinese], true);
  inbox.markMessagesFlagged([chinese], true);
  inbox.addKeywordsToMessages([chinese], "$label1");
  // A folder with a name of the world's letters, and a message moved there.
  root.createSubfolder("\u65c5\u884c & more", null);
  const travel = await until("the new folder", () => root.subFolders.find(f => f.name == "\u65c5\u884c & more"));
  await update(travel);
  await copied(l => MailServices.copy.copyMessages(inbox, [chinese], travel, true, l, null, false));
  const moved = (await until("the moved message", () => all(travel).length == 1 && all(travel)))[0];
  tell("moved: " + moved.mime2DecodedSubject + " read " + moved.isRead + " star " + moved.isFlagged + " tags " + moved.getStringProperty("keywords"));
  await until("it to leave the inbox", () => all(inbox).length == list.length - 1);
  // Deleting moves to Trash.
  await copied(l => inbox.deleteMessages([all(inbox)[0]], null, false, false, l, false));
  flag("Trash").updateFolder(null);
  await until("the deleted message", () => all(flag("Trash")).length == 1);
  tell("deleted one");
  // Search on the server.
  const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
  session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, inbox);
  const term = session.createTerm(), value = term.value;
  value.attrib = term.attrib = Ci.nsMsgSearchAttrib.Body; value.str = "needle"; term.value = value;
  term.op = Ci.nsMsgSearchOp.Contains; term.booleanAnd = true; session.appendTerm(term);
  const hits = [];
  await new Promise(ok => { session.registerListener({ onSearchHit(h) { hits.push(h); }, onSearchDone() { ok(); }, onNewSearch() {},
    QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]) }); session.search(null); });
  tell("found: " + hits.map(h => h.mime2DecodedSubject).join(" | "));
  if (hits.length != 1) throw new Error(hits.length + " hits");
  // Sending, with a copy in Sent.
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.from = id.fullAddress; fields.to = "Ida <ida@home.arpa>"; fields.subject = "Gr\u00fc\u00dfe \u4f60\u597d"; fields.body = "Hallo \u4f60\u597d\r\n.\r\nend\r\n";
  fields.forcePlainText = true; fields.useMultipartAlternative = false; fields.fcc = flag("SentMail").URI;
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.composeFields = fields; params.identity = id; params.type = Ci.nsIMsgCompType.New; params.format = Ci.nsIMsgCompFormat.PlainText;
  const compose = Cc["@mozilla.org/messengercompose/compose;1"].createInstance(Ci.nsIMsgCompose);
  compose.initialize(params);
  await compose.sendMsg(Ci.nsIMsgCompDeliverMode.Now, id, "", null, null);
  flag("SentMail").updateFolder(null);
  const sent = (await until("the copy in Sent", () => all(flag("SentMail")).length == 1 && all(flag("SentMail"))))[0];
  tell("sent: " + sent.mime2DecodedSubject);
  return said;
})().then(done, e => done(["ERROR " + e, e.stack, ...said]));
"""

# Mail that comes while nobody asks, which IDLE tells.
ARRIVAL = r"""
const [subject] = arguments, done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const inbox = MailServices.accounts.defaultAccount.incomingServer.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
let left = 300;
const look = () => {
  const m = [...inbox.messages].find(m => m.mime2DecodedSubject == subject);
  if (m) done("arrived by itself: " + m.mime2DecodedSubject);
  else if (left-- > 0) setTimeout(look, 100);
  else done("ERROR it did not arrive");
};
look();
"""

POP = r"""
const [host, port] = arguments, done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.createIncomingServer("jo@home.arpa", host, "pop3").QueryInterface(Ci.nsIPop3IncomingServer);
server.port = port; server.socketType = Ci.nsMsgSocketType.plain; server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
server.password = "secret"; server.valid = true; server.leaveMessagesOnServer = false;
const account = MailServices.accounts.createAccount();
account.incomingServer = server;
const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
MailServices.pop3.GetNewMail(null, { OnStartRunningUrl() {}, QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
  OnStopRunningUrl(u, s) { done(s ? "ERROR POP3 " + s.toString(16) : "POP3: " + [...inbox.messages].map(m => m.mime2DecodedSubject).sort().join(" | ")); } }, inbox, server);
"""


class Marionette:
    def __init__(self, port):
        for _ in range(300):
            try:
                self.s = socket.create_connection(("127.0.0.1", port), timeout=180)
                break
            except OSError:
                time.sleep(0.2)
        self.f = self.s.makefile("rb")
        self.read()
        self.n = 0

    def read(self):
        n = b""
        while not n.endswith(b":"):
            c = self.f.read(1)
            if not c:
                raise SystemExit("Thunderbird closed the connection")
            n += c
        return json.loads(self.f.read(int(n[:-1])))

    def call(self, name, **params):
        self.n += 1
        m = json.dumps([0, self.n, name, params]).encode()
        self.s.sendall(b"%d:%s" % (len(m), m))
        _, _, err, value = self.read()
        if err:
            raise SystemExit(f"{name}: {err}")
        return value

    def js(self, script, *args):
        v = self.call("WebDriver:ExecuteAsyncScript", script=script, args=list(args), newSandbox=False)["value"]
        if str(v[0] if isinstance(v, list) else v).startswith("ERROR"):
            raise SystemExit(v if isinstance(v, str) else "\n".join(map(str, v)))
        return v


def send(to, subject, text):
    msg = email.message.EmailMessage()
    msg["From"], msg["To"], msg["Subject"] = "ida@home.arpa", to + "@home.arpa", subject
    msg.set_content(text, charset="gb2312")
    with smtplib.SMTP(host, submission) as s:
        s.login("ida@home.arpa", "secret")
        s.send_message(msg)


def maildrop(user):
    box = poplib.POP3(host, pop)
    box.user(user + "@home.arpa")
    box.pass_("secret")
    got = [email.message_from_bytes(b"\r\n".join(box.retr(i + 1)[1]) + b"\r\n", policy=email.policy.default) for i in range(box.stat()[0])]
    box.quit()
    return got


for to, subject, text in [("hal", "first", "hello"), ("hal", "second", "there is a needle here"), ("hal", "程序", "这是 GB2312"),
                          ("jo", "one", "1"), ("jo", "二", "2")]:
    send(to, subject, text)
home = tempfile.mkdtemp()
with open(home + "/user.js", "w") as f:
    for k, v in {"marionette.port": 24828, "mail.provider.suppress_dialog_on_startup": True, "mail.spotlight.firstRunDone": True,
                 "app.donation.eoy.version.viewed": 999, "mail.rights.version": 1, "mailnews.start_page.enabled": False,
                 "datareporting.policy.dataSubmissionEnabled": False, "toolkit.telemetry.enabled": False, "app.update.enabled": False,
                 "extensions.update.enabled": False, "network.captive-portal-service.enabled": False, "network.connectivity-service.enabled": False,
                 "mail.shell.checkDefaultClient": False, "services.settings.server": "http://127.0.0.1:1", "mail.inappnotifications.enabled": False,
                 "mail.server.default.autosync_offline_stores": False, "mail.compose.warn_public_recipients.threshold": 0}.items():
        f.write(f"user_pref({json.dumps(k)}, {json.dumps(v)});\n")
log = open(home + "/log", "w")
tb = subprocess.Popen(["thunderbird", "--headless", "--marionette", "--remote-allow-system-access", "--profile", home, "--no-remote"],
                      stdout=log, stderr=log, env={**os.environ, "HOME": home})
try:
    m = Marionette(24828)
    m.call("WebDriver:NewSession", capabilities={"alwaysMatch": {}})
    m.call("Marionette:SetContext", value="chrome")
    m.call("WebDriver:SetTimeouts", script=120000)
    web = f"http://{host}:{http}"
    root = urllib.request.urlopen(web + "/root.crt").read()
    print(m.js(SETUP, web, base64.b64encode(root).decode()))
    print("\n".join(m.js(RUN)))
    send("hal", "by itself", "hello")
    print(m.js(ARRIVAL, "by itself"))
    print(m.js(POP, host, pop))
    if maildrop("jo"):
        raise SystemExit("POP3: the messages are still there after they were fetched to keep none")
    got = maildrop("ida")
    if len(got) != 1 or got[0]["Subject"] != "Grüße 你好" or got[0].get_content().split() != ["Hallo", "你好", ".", "end"]:
        raise SystemExit(f"what was sent arrived as {[str(m) for m in got]}")
except BaseException:
    print(open(home + "/log").read()[-2000:], file=sys.stderr)
    raise
finally:
    tb.kill()
    tb.wait()
    shutil.rmtree(home, ignore_errors=True)
