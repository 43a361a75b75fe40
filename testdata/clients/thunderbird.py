"""Thunderbird, headless and driven over Marionette: it configures itself, shows, tags, moves, searches and deletes mail, answers
and forwards in its own windows, keeps drafts, and hears what other programs do. Arguments: host, ports (imap, submission, pop3, http)."""
import base64, email, email.message, email.policy, imaplib, json, os, poplib, shutil, smtplib, socket, struct, subprocess, sys, tempfile, time, urllib.request, zlib

host, (imap, submission, pop, http) = sys.argv[1], map(int, sys.argv[2:])

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

# What the scripts below share.
SHARED = r"""
const done = arguments[arguments.length - 1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.defaultAccount.incomingServer;
const id = MailServices.accounts.defaultAccount.defaultIdentity;
const root = server.rootFolder;
const sleep = ms => new Promise(r => setTimeout(r, ms));
const until = async (what, f) => {
  for (let i = 0; i < 1200; i++) { let v = f(); if (v) return v; await sleep(100); }
  throw new Error("waited in vain for " + what + " " + f);
};
const url = f => new Promise((ok, bad) => f({ OnStartRunningUrl() {}, OnStopRunningUrl(u, s) { s ? bad(new Error("status " + s.toString(16))) : ok(); },
  QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]) }));
const copied = f => new Promise((ok, bad) => f({ onStartCopy() {}, onProgress() {}, setMessageKey() {}, getMessageId() { return ""; },
  onStopCopy(s) { s ? bad(new Error("status " + s.toString(16))) : ok(); }, QueryInterface: ChromeUtils.generateQI(["nsIMsgCopyServiceListener"]) }));
const said = [];
const tell = s => said.push(s);
setTimeout(() => done(["ERROR it takes too long, after:", ...said]), 240000);
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
"""

RUN = SHARED + r"""
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

# Reading in a tab of its own window: HTML with a picture of its own, files by name and content, a message inside.
READ = SHARED + r"""
(async () => {
  const { MsgHdrToMimeMessage } = ChromeUtils.importESModule("resource:///modules/gloda/MimeMessage.sys.mjs");
  const inbox = flag("Inbox");
  await update(inbox);
  const hdr = await until("the newsletter", () => all(inbox).find(m => m.mime2DecodedSubject == "newsletter"));
  const win = await until("the window", () => Services.wm.getMostRecentWindow("mail:3pane"));
  const tabmail = await until("its tabs", () => win.document.getElementById("tabmail"));
  const tab = tabmail.openTab("mailMessageTab", { messageURI: inbox.getUriForMsg(hdr) });
  const page = () => tab.chromeBrowser?.contentWindow?.getMessagePaneBrowser?.()?.contentDocument;
  const doc = await until("the text", () => page()?.body?.textContent.includes("\u5317\u4eac") && page());
  if (doc.querySelector("b")?.textContent != "fine") throw new Error("shown: " + doc.body.innerHTML);
  const img = await until("the picture", () => doc.querySelector("img")?.complete && doc.querySelector("img"));
  if (img.naturalWidth != 24) throw new Error("the picture has " + img.naturalWidth + " " + img.src);
  await until("it to be read", () => hdr.isRead);
  tell("shown: " + doc.querySelector("b").textContent + ", a picture of " + img.naturalWidth);
  tabmail.closeTab(tab);
  const mime = await new Promise(ok => MsgHdrToMimeMessage(hdr, null, (h, m) => ok(m), true, { examineEncryptedParts: true }));
  const files = mime.allUserAttachments;
  tell("files: " + files.map(a => a.name + " " + a.contentType).join(" | "));
  const { AttachmentInfo } = ChromeUtils.importESModule("resource:///modules/AttachmentInfo.sys.mjs");
  const file = files.find(a => a.contentType == "application/pdf");
  const at = PathUtils.join(PathUtils.profileDir, "saved");
  await new AttachmentInfo({ contentType: file.contentType, url: file.url, name: file.name, uri: inbox.getUriForMsg(hdr), isExternalAttachment: false }).saveToFile(at);
  const content = await IOUtils.read(at);
  tell("saved: " + file.name + " " + content.length + " " + content.reduce((n, b) => (n * 31 + b) % 65521, 0));
  return said;
})().then(done, e => done(["ERROR " + e, e.stack, ...said]));
"""

# Answering, in Thunderbird's own windows: reply, reply to all, forward, a draft that is gone on with, a template of nothing.
ANSWER = SHARED + r"""
(async () => {
  const inbox = flag("Inbox"), drafts = flag("Drafts"), sent = flag("SentMail");
  const hdr = all(inbox).find(m => m.mime2DecodedSubject == "newsletter");
  const open = async (type, folder, hdr) => {
    const had = new Set(Services.wm.getEnumerator("msgcompose"));
    MailServices.compose.OpenComposeWindow(null, hdr, hdr ? folder.getUriForMsg(hdr) : "", Ci.nsIMsgCompType[type], Ci.nsIMsgCompFormat.Default, id, null, null);
    const win = await until("a window to write in", () => [...Services.wm.getEnumerator("msgcompose")].find(w => !had.has(w)));
    await until("its editor", () => win.document.readyState == "complete" && win.gMsgCompose?.editor && win.composeEditorReady && win.gMsgCompose.editor);
    if (["Reply", "ReplyAll", "ForwardInline"].includes(type)) { // which come into it later, the picture last
      const doc = win.gMsgCompose.editor.document;
      await until("the quoted text", () => doc.body.textContent.includes("\u5317\u4eac"));
      await until("the quoted picture", () => [...doc.images].some(i => i.complete && i.naturalWidth == 24));
    }
    return win;
  };
  const write = (win, words) => {
    const e = win.GetCurrentEditor();
    e.beginningOfDocument();
    e.QueryInterface(Ci.nsIHTMLEditor).insertHTML(words);
    win.gContentChanged = true;
  };
  const send = async win => {
    win.SendMessage();
    await until("the window to close", () => win.closed);
  };
  const count = (folder, n, what) => until(what, () => { folder.updateFolder(null); return all(folder).length == n && all(folder); });
  const before = all(sent).length;
  for (const [type, words] of [["Reply", "<p>Danke! \u8c22\u8c22</p>"], ["ReplyAll", "<p>To all.</p>"], ["ForwardInline", "<p>Look.</p>"], ["ForwardAsAttachment", "<p>As a file.</p>"]]) {
    const win = await open(type, inbox, hdr);
    if (type.startsWith("Forward")) win.awAddRecipients(win.gMsgCompose.compFields, "addr_to", "ida@home.arpa");
    write(win, words);
    await send(win);
  }
  await count(sent, before + 4, "four more in Sent");
  tell("answered: " + all(sent).slice(before).map(m => m.mime2DecodedSubject).join(" | "));
  await until("the mark of an answer", () => { inbox.updateFolder(null); return hdr.flags & Ci.nsMsgMessageFlags.Replied && hdr.flags & Ci.nsMsgMessageFlags.Forwarded; });
  // A draft: saved, gone on with, saved again, sent.
  let win = await open("New", null, null);
  win.awAddRecipients(win.gMsgCompose.compFields, "addr_to", "ida@home.arpa");
  win.document.getElementById("msgSubject").value = "half a letter";
  write(win, "<p>I wanted to</p>");
  await win.SaveAsDraft();
  await count(drafts, 1, "the draft");
  await until("the window to be done", () => !win.gSaveOperationInProgress && !win.gSendOperationInProgress);
  win.close();
  const draft = (await count(drafts, 1, "the draft"))[0];
  win = await open("Draft", drafts, draft);
  write(win, "<p>tell you that \u6625\u5929 is here.</p>");
  await win.SaveAsDraft();
  await until("the newer draft", () => { drafts.updateFolder(null); return all(drafts).length == 1 && all(drafts)[0].messageKey != draft.messageKey; });
  tell("draft saved again: " + all(drafts).map(m => m.mime2DecodedSubject).join(" | "));
  await send(win);
  await count(drafts, 0, "the draft to go when it is sent");
  tell("draft sent");
  return said;
})().then(done, e => done(["ERROR " + e, e.stack, ...said]));
"""

# Lists: copies, what other programs do meanwhile, searches, folders renamed and removed, the trash emptied.
LISTS = SHARED + r"""
(async () => {
  const inbox = flag("Inbox"), archive = flag("Archive"), trash = flag("Trash");
  const search = async (folder, attrib, words) => {
    const session = Cc["@mozilla.org/messenger/searchSession;1"].createInstance(Ci.nsIMsgSearchSession);
    session.addScopeTerm(Ci.nsMsgSearchScope.onlineMail, folder);
    const term = session.createTerm(), value = term.value;
    value.attrib = term.attrib = Ci.nsMsgSearchAttrib[attrib]; value.str = words; term.value = value;
    term.op = Ci.nsMsgSearchOp.Contains; term.booleanAnd = true; session.appendTerm(term);
    const hits = [];
    await new Promise(ok => { session.registerListener({ onSearchHit(h) { hits.push(h.mime2DecodedSubject); }, onSearchDone() { ok(); }, onNewSearch() {},
      QueryInterface: ChromeUtils.generateQI(["nsIMsgSearchNotify"]) }); session.search(null); });
    return hits.sort().join(" | ");
  };
  const letter = all(inbox).find(m => m.mime2DecodedSubject == "newsletter");
  await copied(l => MailServices.copy.copyMessages(inbox, [letter], archive, false, l, null, false));
  await until("the copy", () => { archive.updateFolder(null); return all(archive).length == 1; });
  for (const [folder, attrib, words, want] of [[archive, "Body", "\u5317\u4eac", "newsletter"], [archive, "Subject", "LETTER", "newsletter"],
      [inbox, "Body", "no such words", ""], [inbox, "Subject", "by it", "by itself"]]) {
    const got = await search(folder, attrib, words);
    if (got != want) throw new Error(`a search for ${words} in ${attrib} found ${got}`);
  }
  tell("copied, and found by body and by subject");
  // Folders: one inside another, renamed with it, removed.
  root.createSubfolder("Jahr", null);
  const year = await until("a folder", () => root.subFolders.find(f => f.name == "Jahr"));
  year.createSubfolder("M\u00e4rz", null);
  const march = await until("a folder in it", () => year.subFolders.find(f => f.name == "M\u00e4rz"));
  await update(march);
  await copied(l => MailServices.copy.copyMessages(archive, all(archive), march, true, l, null, false));
  await until("the moved one", () => all(march).length == 1);
  year.rename("\u5e74", null);
  const renamed = await until("the new name", () => { server.performExpand(null); return root.subFolders.find(f => f.name == "\u5e74" && f.subFolders.length == 1); });
  const inside = renamed.subFolders[0];
  await update(inside);
  await until("what was in it", () => all(inside).length == 1);
  tell("renamed: " + renamed.name + "/" + inside.name);
  inside.markAllMessagesRead(null);
  await copied(l => inside.deleteMessages(all(inside), null, false, false, l, false));
  await until("the trash", () => { trash.updateFolder(null); return all(trash).length == 2; });
  await url(l => trash.emptyTrash(l));
  await until("an empty trash", () => { trash.updateFolder(null); return all(trash).length == 0; });
  tell("trash emptied");
  return said;
})().then(done, e => done(["ERROR " + e, e.stack, ...said]));
"""

# What another program does meanwhile: flags and expunges come by IDLE.
MEANWHILE = SHARED + r"""
(async () => {
  const [read, gone] = arguments, inbox = flag("Inbox"), find = s => all(inbox).find(m => m.mime2DecodedSubject == s);
  await until("a flag", () => find(read)?.isFlagged);
  await until("an expunge", () => !find(gone));
  tell("flags and expunges of others came by themselves");
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
                self.s = socket.create_connection(("127.0.0.1", port), timeout=300)
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


def newsletter():
    msg = email.message.EmailMessage()
    msg["From"], msg["To"], msg["Cc"], msg["Subject"] = "ida@home.arpa", "hal@home.arpa", "jo@home.arpa", "newsletter"
    msg.set_content("plain words from 北京")
    msg.add_alternative('<p>All is <b>fine</b> in 北京. <img src="cid:dot@home.arpa"></p>', subtype="html")
    msg.get_payload()[1].add_related(DOT, "image", "png", cid="<dot@home.arpa>")
    msg.add_attachment(PDF, "application", "pdf", filename="报告 März.pdf")
    inner = email.message.EmailMessage()
    inner["From"], inner["To"], inner["Subject"] = "x@home.arpa", "y@home.arpa", "inside"
    inner.set_content("a message in a message")
    msg.add_attachment(inner)
    with smtplib.SMTP(host, submission) as s:
        s.login("ida@home.arpa", "secret")
        s.send_message(msg)


def piece(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


DOT = b"\x89PNG\r\n\x1a\n" + piece(b"IHDR", struct.pack(">IIBBBBB", 24, 24, 8, 0, 0, 0, 0)) + piece(b"IDAT", zlib.compress(bytes(25 * 24))) + piece(b"IEND", b"")
PDF = b"%PDF-1.4\n" + os.urandom(300000)  # so big that Thunderbird asks for it by itself


def maildrop(user):
    box = poplib.POP3(host, pop)
    box.user(user + "@home.arpa")
    box.pass_("secret")
    got = [email.message_from_bytes(b"\r\n".join(box.retr(i + 1)[1]) + b"\r\n", policy=email.policy.default) for i in range(box.stat()[0])]
    box.quit()
    return got


def checksum(content):
    n = 0
    for b in content:
        n = (n * 31 + b) % 65521
    return n


def came(got):
    """what was written to Ida: a letter, two answers, two forwards and what was a draft"""
    if [m["Subject"] for m in got] != ["Grüße 你好", "Re: newsletter", "Re: newsletter", "Fwd: newsletter", "Fwd: newsletter", "half a letter"]:
        raise SystemExit(f"Ida has {[m['Subject'] for m in got]}")
    text = lambda m: " ".join(m.get_body(("plain",)).get_content().split())
    letter, reply, to_all, inline, whole, draft = got
    for m, words in [(letter, "Hallo 你好 . end"), (reply, "Danke! 谢谢"), (reply, "> All is *fine* in 北京."), (to_all, "To all."), (inline, "Look."),
                     (inline, "All is *fine* in 北京."), (whole, "As a file."), (draft, "tell you that 春天 is here."), (draft, "I wanted to")]:
        if words not in text(m):
            raise SystemExit(f"{m['Subject']!r} says {text(m)!r}, not {words!r}")
    if letter.get_content().split() != ["Hallo", "你好", ".", "end"] or reply["In-Reply-To"] is None or "jo@home.arpa" not in to_all["Cc"]:
        raise SystemExit("a letter or an answer is not whole")
    if PDF not in [p.get_payload(decode=True) for p in inline.walk()] or DOT not in [p.get_payload(decode=True) for p in inline.walk()]:
        raise SystemExit("the forward lost a file or a picture")
    inside = [p.get_content() for p in whole.walk() if p.get_content_type() == "message/rfc822"][0]
    if inside["Subject"] != "newsletter" or PDF not in [p.get_payload(decode=True) for p in inside.walk()]:
        raise SystemExit("the message that was forwarded as a file is not whole")
    print("what was written arrived whole")


for to, subject, text in [("hal", "first", "hello"), ("hal", "second", "there is a needle here"), ("hal", "程序", "这是 GB2312"),
                          ("jo", "one", "1"), ("jo", "二", "2")]:
    send(to, subject, text)
home = tempfile.mkdtemp()
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    marionette = free.getsockname()[1]
with open(home + "/user.js", "w") as f:
    for k, v in {"marionette.port": marionette, "mail.provider.suppress_dialog_on_startup": True, "mail.spotlight.firstRunDone": True,
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
    m = Marionette(marionette)
    m.call("WebDriver:NewSession", capabilities={"alwaysMatch": {}})
    m.call("Marionette:SetContext", value="chrome")
    m.call("WebDriver:SetTimeouts", script=260000)
    web = f"http://{host}:{http}"
    root = urllib.request.urlopen(web + "/root.crt").read()
    print(m.js(SETUP, web, base64.b64encode(root).decode()))
    print("\n".join(m.js(RUN)))
    send("hal", "by itself", "hello")
    print(m.js(ARRIVAL, "by itself"))
    newsletter()
    said = m.js(READ)
    print("\n".join(said))
    if "shown: fine, a picture of 24" not in said or "files: 报告 März.pdf application/pdf | inside.eml message/rfc822" not in said:
        raise SystemExit("the newsletter is not whole")
    if said[-1] != f"saved: 报告 März.pdf {len(PDF)} {checksum(PDF)}":
        raise SystemExit("the file is not the same")
    print("\n".join(m.js(ANSWER)))
    print("\n".join(m.js(LISTS)))
    send("hal", "for others", "hello")
    print(m.js(ARRIVAL, "for others"))
    box = imaplib.IMAP4(host, imap)
    box.login("hal@home.arpa", "secret")
    box.select("INBOX")
    answered = box.search(None, "SUBJECT", "newsletter", "ANSWERED", "SEEN", "KEYWORD", "$Forwarded")[1][0].split()
    if len(answered) != 1:
        raise SystemExit("the newsletter is not marked as answered and forwarded")
    box.store(answered[0], "+FLAGS", r"(\Flagged)")
    box.store(box.search(None, "SUBJECT", '"for others"')[1][0], "+FLAGS", r"(\Deleted)")
    box.expunge()
    print("\n".join(m.js(MEANWHILE, "newsletter", "for others")))
    box.logout()
    print(m.js(POP, host, pop))
    if maildrop("jo"):
        raise SystemExit("POP3: the messages are still there after they were fetched to keep none")
    came(maildrop("ida"))
except BaseException:
    with open(home + "/log") as f:
        print("".join(line for line in f if "Gtk" not in line and "gtk_" not in line)[-3000:], file=sys.stderr)
    raise
finally:
    tb.kill()
    tb.wait()
    shutil.rmtree(home, ignore_errors=True)
