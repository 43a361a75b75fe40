// Postino's one script. Every page works without it; with it, mail arrives by itself, drafts save themselves, addresses
// complete themselves, files can be dropped, and the keyboard is enough.
"use strict";
(() => {
const $ = (sel, at = document) => at.querySelector(sel);
const $$ = (sel, at = document) => [...at.querySelectorAll(sel)];
const body = document.body;
const csrf = body.dataset.csrf;

// A menu closes when something else is clicked, or with Escape.
document.addEventListener("click", e => {
  $$("details.menu[open]").forEach(d => { if (!d.contains(e.target)) d.open = false; });
});
document.addEventListener("keydown", e => {
  if (e.key !== "Escape") return;
  $$("details.menu[open]").forEach(d => { d.open = false; $("summary", d).focus(); });
  const nav = $("#nav");
  if (nav) nav.checked = false;
});

// First start: the code is in the fragment, which no server ever sees.
const setup = $("#setup");
if (setup && location.hash.length > 1) setup.elements.code.value = decodeURIComponent(location.hash.slice(1));
$$("[data-keep-hash]").forEach(a => a.addEventListener("click", () => { a.href = a.href.split("#")[0] + location.hash; }));

// A record is copied by its button; without scripts it is marked whole by one click.
$$("[data-copy]").forEach(b => {
  b.hidden = false;
  b.addEventListener("click", async () => {
    const c = b.previousElementSibling;
    getSelection().selectAllChildren(c);
    try {
      if (navigator.clipboard) await navigator.clipboard.writeText(c.textContent);
      else document.execCommand("copy");
      b.lastChild.textContent = b.dataset.copy;
    } catch (e) { /* it is marked, for the keyboard */ }
  });
});

// The server writes times in the reader's zone, which a cookie tells it; whoever points at one sees it in full.
try {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone) document.cookie = "postino-zone=" + zone + ";path=/;max-age=31536000;samesite=strict" + (location.protocol === "https:" ? ";secure" : "");
} catch (e) { /* then times are the server's, and say so */ }
function localTimes(at) {
  $$("time[datetime]", at).forEach(t => {
    const d = new Date(t.dateTime);
    if (!isNaN(d)) t.title = d.toLocaleString(document.documentElement.lang);
  });
}
localTimes(document);

// The frame of a mail becomes as high as the mail, now and when its pictures come or the window changes. Nothing runs in it.
const frameMost = 200000;
function fitFrame(f) {
  const fit = () => {
    const d = f.contentDocument, b = d && d.body;
    if (!b) return;
    const root = d.documentElement, side = root.scrollWidth > root.clientWidth + 1 ? 18 : 0;
    const h = Math.min(Math.max(root.offsetHeight, b.offsetTop + b.scrollHeight) + side + f.offsetHeight - f.clientHeight, frameMost);
    if (Math.abs(h - f.offsetHeight) > 1) f.style.height = h + "px";
    if (f.style.width) f.parentElement.style.height = h + "px";
  };
  // On paper it has the paper's width, or twice of it at most, for browsers make a page smaller that is too wide; and it lies over a
  // box of its height, for alone it would begin on a new sheet.
  window.addEventListener("beforeprint", () => {
    f.loading = "eager";
    f.style.width = "680px";
    const d = f.contentDocument, wide = d && d.body ? d.documentElement.scrollWidth : 0;
    f.style.width = Math.min(Math.max(wide, 680), 1360) + "px";
    fit();
  });
  window.addEventListener("afterprint", () => { f.style.width = f.parentElement.style.height = ""; fit(); });
  const ready = () => {
    const d = f.contentDocument;
    if (!d || !d.body || d.URL === "about:blank") return;
    fit();
    if (window.ResizeObserver) new ResizeObserver(fit).observe(d.body);
    $$("img", d).forEach(i => { i.addEventListener("load", fit); i.addEventListener("error", fit); });
    $$("details", d).forEach(x => x.addEventListener("toggle", fit));
  };
  f.addEventListener("load", ready);
  ready();
  new ResizeObserver(fit).observe(f);
}
$$("iframe.mail-html").forEach(f => { if (f.clientWidth < 520) f.height = f.dataset.narrow; if (window.ResizeObserver) fitFrame(f); });

// A note goes by itself, a fault stays until it is closed. What can be undone stays longer.
function watchNote() {
  const note = $("#note .note");
  if (!note) return;
  const b = Object.assign(document.createElement("button"), { type: "button", className: "btn icon", textContent: "×", title: $("#note").dataset.close });
  b.setAttribute("aria-label", b.title);
  b.addEventListener("click", () => note.remove());
  note.append(b);
  if (!note.classList.contains("bad")) setTimeout(() => note.remove(), 1000 * (Number(note.dataset.until) || ($("form", note) ? 60 : 8)));
}
watchNote();
function say(text, bad, href) {
  const box = $("#note");
  if (!box) return;
  const n = document.createElement("div");
  n.className = "note" + (bad ? " bad" : "");
  n.append(Object.assign(document.createElement(href ? "a" : "span"), { textContent: text }));
  if (href) n.firstChild.href = href;
  box.replaceChildren(n);
  watchNote();
}

// The list remembers the row that was opened, and where it was scrolled to, for the way back.
document.addEventListener("click", e => {
  const a = e.target.closest(".list .mail > a");
  if (!a || e.ctrlKey || e.metaKey || e.shiftKey) return;
  history.replaceState(null, "", location.pathname + location.search + "#" + a.parentElement.id);
  sessionStorage.setItem("top", location.href + " " + scrollY);
});
const opened = location.hash.startsWith("#m-") && document.getElementById(location.hash.slice(1));
if (opened) {
  const [url, y] = (sessionStorage.getItem("top") || "").split(" ");
  opened.classList.add("here");
  $("a", opened).focus({ preventScroll: true });
  if (url === location.href) scrollTo(0, y); else opened.scrollIntoView({ block: "center" });
}

// ---- lists ----
let last = null; // the box that was ticked last, for Shift
function wireList() {
  const form = $("#mails");
  if (!form) return;
  const all = $("#pick-all");
  const boxes = () => $$('.pick input', form);
  if (all) {
    all.hidden = false;
    all.addEventListener("change", () => { boxes().forEach(b => { b.checked = all.checked; }); picked(); });
  }
  const picked = () => {
    const n = boxes().filter(b => b.checked).length;
    form.classList.toggle("picking", n > 0);
    if (all) { all.checked = n > 0 && n === boxes().length; all.indeterminate = n > 0 && n < boxes().length; }
  };
  form.addEventListener("click", e => {
    const b = e.target;
    if (!b.matches(".pick input")) return;
    if (e.shiftKey && last) {
      const list = boxes(), i = list.indexOf(b), j = list.indexOf(last);
      if (j >= 0) list.slice(Math.min(i, j), Math.max(i, j) + 1).forEach(x => { x.checked = b.checked; });
    }
    last = b;
    picked();
  });
  picked();
}
wireList();

// ---- news ----
let source = null, base = document.title, waiting = false;
function counts(news) {
  for (const f of news.folders) {
    const a = $(`#folders a[data-id="${f.id}"]`);
    if (!a) continue;
    let n = $(".n", a);
    const drafts = $(".i-draft", a), num = drafts ? f.exists : f.unseen;
    if (!n && num) { n = document.createElement("span"); n.className = "n"; a.append(n); }
    if (n) { n.textContent = num ? num.toLocaleString("en") : ""; }
    if (a.hasAttribute("data-inbox")) document.title = (f.unseen ? `(${f.unseen}) ` : "") + base;
  }
}
async function refresh() {
  const list = $("section.list[data-modseq]"), beside = $(".beside");
  if ((!list && !beside) || waiting) return;
  waiting = true;
  try {
    const url = new URL(location.href);
    url.searchParams.set("part", "list");
    const r = await fetch(url, { headers: { Accept: "text/html" } });
    if (!r.ok) return;
    const html = new DOMParser().parseFromString(await r.text(), "text/html");
    if (!list) { // a message is open, and the list is beside it
      const b = $(".beside", html), top = beside.scrollTop;
      if (b) { beside.replaceWith(b); b.scrollTop = top; localTimes(b); }
      return;
    }
    const fresh = $("section.list", html);
    if (!fresh) return;
    const ticked = new Set($$(".pick input:checked").map(b => b.value)), here = $(".mail.here");
    const at = here && here.dataset.key, focus = document.activeElement.closest && document.activeElement.closest(".mail");
    list.replaceWith(fresh);
    $$(".pick input", fresh).forEach(b => { b.checked = ticked.has(b.value); });
    if (at) { const m = $(`.mail[data-key="${CSS.escape(at)}"]`); if (m) m.classList.add("here"); }
    if (focus) { const m = $(`.mail[data-key="${CSS.escape(focus.dataset.key)}"] > a`); if (m) m.focus(); }
    localTimes(fresh);
    wireList();
  } catch { } finally { waiting = false; }
}
function listen() {
  if (!$("#folders") || source || !window.EventSource) return;
  source = new EventSource("/events");
  source.addEventListener("mail", e => {
    const news = JSON.parse(e.data);
    counts(news);
    const list = $("section.list[data-modseq]");
    if (list) {
      const f = news.folders.find(f => String(f.id) === body.dataset.box);
      if (f && String(f.modseq) !== list.dataset.modseq) refresh();
    } else if (news.new) refresh();
    if (news.new) {
      if (!$("#note form")) say(news.new.said, false, news.new.href);
      if (window.Notification && Notification.permission === "granted" && document.hidden) {
        const n = new Notification(news.new.from, { body: news.new.subject, tag: news.new.href });
        n.onclick = () => { window.focus(); location.href = news.new.href; };
      }
    }
  });
}
// Browsers allow six connections to one server, so a page in the background gives its own up after a while.
let hide = 0;
document.addEventListener("visibilitychange", () => {
  clearTimeout(hide);
  if (!document.hidden) { if (!source) { listen(); refresh(); } return; }
  const keep = window.Notification && Notification.permission === "granted";
  hide = setTimeout(() => { if (source) source.close(); source = null; }, keep ? 3600e3 : 60e3);
});
window.addEventListener("pagehide", () => { if (source) source.close(); source = null; });
window.addEventListener("pageshow", e => { if (e.persisted) { listen(); refresh(); } });
listen();
const ask = $("#ask-notify");
if (ask && window.Notification && Notification.permission === "default") {
  ask.hidden = false;
  ask.addEventListener("click", () => Notification.requestPermission().then(() => { ask.hidden = true; }));
}

// ---- keyboard ----
let prefix = "";
const typing = t => t.closest && t.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
function move(step) {
  const rows = $$(".list .mail");
  if (!rows.length) { const a = $(step > 0 ? "#older" : "#newer"); if (a) a.click(); return; }
  let i = rows.findIndex(r => r.classList.contains("here"));
  i = i < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.max(0, Math.min(rows.length - 1, i + step));
  rows.forEach(r => r.classList.remove("here"));
  rows[i].classList.add("here");
  $("a", rows[i]).focus({ preventScroll: true });
  rows[i].scrollIntoView({ block: "nearest" });
}
function act(what) {
  const form = $("#mails") || $("#mail-tools");
  if (!form) return;
  if (form.id === "mails" && !$$(".pick input:checked").length) {
    const here = $(".mail.here .pick input");
    if (!here) return;
    here.checked = true;
    const next = here.closest(".mail").nextElementSibling;
    if (next) form.elements.back.value = form.elements.back.value.split("#")[0] + "#" + next.id;
  }
  const b = $(`button[value="${what}"]`, form);
  if (b) b.click();
}
const follow = sel => { const a = $(sel); if (a) a.click(); return !!a; };
const keys = {
  j: () => move(1), k: () => move(-1), n: () => move(1), p: () => move(-1),
  o: () => follow(".mail.here > a"), u: () => $("#mail-tools") ? follow("#back") : act("unread"),
  x: () => { const b = $(".mail.here .pick input"); if (b) b.click(); },
  c: () => { location.href = "/compose"; },
  r: () => follow("#reply"), a: () => follow("#reply-all"), f: () => follow("#forward"),
  e: () => act("archive"), "#": () => act("delete"), Delete: () => act("delete"), "!": () => { act($('button[value="notjunk"]') ? "notjunk" : "junk"); },
  s: () => act($("#mail-tools .starred") || $(".mail.here .starred") || $('#mail-tools button[value="unstar"]') ? "unstar" : "star"),
  I: () => act("read"), U: () => act("unread"), z: () => follow("#note form button"),
  "/": () => { const s = $("#q"); if (s) { s.focus(); s.select(); } }, "?": help,
  gi: () => follow("a[data-inbox]"), gd: () => follow("#folders a:has(.i-draft)"), gs: () => follow("#folders a:has(.i-sent)"), ga: () => follow("#folders a:has(.i-archive)"),
};
async function help() {
  let d = $("#keys-help");
  if (!d) {
    const r = await fetch("/help/keys");
    if (!r.ok) return;
    d = document.createElement("dialog");
    d.id = "keys-help";
    const html = new DOMParser().parseFromString(await r.text(), "text/html");
    d.append(...$("#keys", html).childNodes);
    d.addEventListener("click", () => d.close());
    body.append(d);
  }
  d.showModal();
}
if (body.hasAttribute("data-keys")) document.addEventListener("keydown", e => {
  if (e.ctrlKey || e.metaKey || e.altKey || typing(e.target) || $("dialog[open]")) return;
  const k = prefix + e.key;
  prefix = "";
  if (k === "g") { prefix = "g"; setTimeout(() => { prefix = ""; }, 1200); return; }
  if (keys[k]) { e.preventDefault(); keys[k](); }
});

// ---- writing ----
// Letters that wait in the browser belong to one person: a page of somebody else forgets them, and logging out does too.
// Whoever has to log in first was logged out meanwhile, so what may have been saved was not.
try {
  const user = body.dataset.user;
  for (const k of Object.keys(localStorage)) {
    if (!/^(letter|maybe):/.test(k)) continue;
    const maybe = k.startsWith("maybe:");
    if (!user) { if (maybe && $("form[action='/login']")) { localStorage.setItem("letter:" + k.slice(6), localStorage.getItem(k)); localStorage.removeItem(k); } } else if (maybe || k.split(":")[1] !== user) localStorage.removeItem(k);
  }
  $$("form[action='/logout']").forEach(f => f.addEventListener("submit", () => { for (const k of Object.keys(localStorage)) if (/^(letter|maybe):/.test(k)) localStorage.removeItem(k); }));
} catch { }
const letter = $("#letter");
if (letter) {
  const el = letter.elements, text = $("#text"), html = $("#html"), rich = $("#rich"), status = $("#saved"), list = $("#attached"), files = $("#files");
  let dirty = false, busy = false, timer = 0, gone = false;
  const editor = document.createElement("div");
  const W = $("#editor").dataset.words.split("|");
  // The editor for formatted text.
  editor.className = "rich"; editor.contentEditable = "true"; editor.hidden = true;
  editor.setAttribute("role", "textbox"); editor.setAttribute("aria-multiline", "true"); editor.setAttribute("aria-label", W[8]);
  const bar = document.createElement("div");
  bar.className = "rich-tools"; bar.setAttribute("role", "toolbar"); bar.setAttribute("aria-label", W[6]);
  const button = (label, run, cls) => {
    const b = document.createElement("button");
    b.type = "button"; b.className = "btn small " + (cls || ""); b.textContent = label;
    b.addEventListener("mousedown", e => e.preventDefault());
    b.addEventListener("click", run);
    bar.append(b);
    return b;
  };
  const cmd = (name, value) => () => { editor.focus(); document.execCommand(name, false, value); touched(); };
  const tools = [button(W[0], cmd("bold")), button(W[1], cmd("italic")), button(W[2], cmd("insertUnorderedList")), button(W[3], cmd("formatBlock", "blockquote")),
    button(W[4], () => { const u = prompt(W[5], "https://"); if (u && /^(https?:|mailto:)/i.test(u)) cmd("createLink", u)(); })];
  // The buttons show what holds where the caret is.
  document.addEventListener("selectionchange", () => {
    const at = getSelection().anchorNode;
    if (editor.hidden || !editor.contains(at)) return;
    const quoted = (at.nodeType === 1 ? at : at.parentElement).closest("blockquote");
    [...["bold", "italic", "insertUnorderedList"].map(c => document.queryCommandState(c)), editor.contains(quoted)].forEach((on, i) => tools[i].setAttribute("aria-pressed", String(on)));
  });
  const toggle = button(W[6], () => setRich(editor.hidden), "toggle");
  function setRich(on) {
    if (on) {
      if (!html.value.trim()) {
        editor.replaceChildren();
        let at = editor, depth = 0;
        for (const line of text.value.replace(/^\n/, "").split("\n")) {
          const [, marks, words] = /^((?:> ?)*)(.*)$/.exec(line), want = marks.replace(/ /g, "").length;
          for (; depth < want; depth++) { const q = document.createElement("blockquote"); at.append(q); at = q; }
          for (; depth > want; depth--) at = at.parentNode;
          const p = document.createElement("div");
          if (words) p.textContent = words; else p.append(document.createElement("br"));
          at.append(p);
        }
      } else {
        const doc = new DOMParser().parseFromString(html.value, "text/html"); // the server has sanitised it
        editor.replaceChildren(...doc.body.childNodes);
      }
    } else if (!editor.hidden) {
      for (let q; (q = $("blockquote:not(:has(blockquote))", editor));) {
        const p = document.createElement("pre");
        p.textContent = q.innerText.replace(/\n+$/, "").split("\n").map(l => (l.startsWith(">") || !l ? ">" : "> ") + l).join("\n");
        q.replaceWith(p);
      }
      text.value = editor.innerText;
      html.value = "";
    }
    editor.hidden = !on; text.hidden = on; rich.value = on ? "1" : "";
    tools.forEach(b => { b.hidden = !on; });
    toggle.textContent = on ? W[7] : W[6];
    (on ? editor : text).focus();
  }
  $("#editor").prepend(bar);
  $("#editor").append(editor);
  tools.forEach(b => { b.hidden = true; });
  if ($("#editor").hasAttribute("data-rich")) setRich(true);
  editor.addEventListener("input", touched);
  editor.addEventListener("paste", e => {
    const h = e.clipboardData.getData("text/html"), t = e.clipboardData.getData("text/plain");
    if (!t.trim() && e.clipboardData.files.length) { e.preventDefault(); upload(e.clipboardData.files, true); return; }
    if (!h && !t) return;
    e.preventDefault();
    const clean = document.createElement("div");
    if (h) pasted(new DOMParser().parseFromString(h.replace(/\son\w+\s*=/gi, " data-x="), "text/html").body, clean);
    if (clean.textContent.trim()) document.execCommand("insertHTML", false, clean.innerHTML); else document.execCommand("insertText", false, t);
  });
  text.addEventListener("paste", e => { if (e.clipboardData.files.length) { e.preventDefault(); upload(e.clipboardData.files); } });

  // What is pasted keeps its words, lists, tables and links, and loses all else. The server looks at it once more.
  function pasted(from, to) {
    for (const n of from.childNodes) {
      if (n.nodeType === 3) { to.append(n.data); continue; }
      if (n.nodeType !== 1 || /^(script|style|title|meta|link|template|head)$/i.test(n.tagName)) continue;
      let at = to;
      if (/^(a|b|strong|i|em|u|s|sub|sup|p|div|br|hr|ul|ol|li|blockquote|pre|code|h[1-6]|table|thead|tbody|tr|td|th)$/i.test(n.tagName)) {
        at = document.createElement(n.tagName);
        if (/^(https?:|mailto:)/i.test(n.getAttribute("href") || "")) at.setAttribute("href", n.getAttribute("href"));
        to.append(at);
      }
      pasted(n, at);
    }
  }
  function form(what) {
    if (!editor.hidden) html.value = editor.innerHTML;
    const f = new FormData(letter);
    f.delete("files");
    f.set("do", what);
    return f;
  }
  function show(answer) {
    el.id.value = answer.id;
    if ($("[name=keep]", list)) $$("li", list).filter(li => $("[name=keep]", li)).forEach(li => li.remove());
    $$("li[data-file]", list).forEach(li => li.remove());
    for (const f of answer.files) {
      const li = document.createElement("li");
      li.dataset.file = f.id;
      const name = Object.assign(document.createElement("span"), { className: "name", textContent: f.name });
      const size = Object.assign(document.createElement("span"), { className: "size", textContent: f.size });
      const b = Object.assign(document.createElement("button"), { className: "btn icon small", name: "do", value: "drop:" + f.id, textContent: "×", title: f.name });
      b.setAttribute("aria-label", "× " + f.name);
      li.append(name, " ", size, b);
      list.append(li);
    }
    status.textContent = answer.saved;
    history.replaceState(null, "", "/compose?id=" + answer.id);
  }
  async function save(force) {
    clearTimeout(timer);
    if (!force && (busy || gone || !dirty)) return true;
    busy = true; dirty = false;
    let ok = false;
    try {
      const r = await fetch("/compose", { method: "POST", body: form("auto"), headers: { Accept: "application/json" }, keepalive: false });
      ok = r.ok;
      if (ok) show(await r.json());
      else { const e = await r.json().catch(() => ({})); status.textContent = e.error || r.status; keep(); }
      if (r.status === 410) el.id.value = ""; // it was sent or discarded elsewhere: the next press makes a new one
      if (force && (r.status === 401 || r.status === 403)) { gone = true; location.href = "/login?to=" + encodeURIComponent(location.pathname + location.search); }
    } catch { status.textContent = W[9]; keep(); }
    busy = false;
    if (!ok) { dirty = true; if (!gone) timer = setTimeout(save, 15000); }
    return ok;
  }
  // What could not be saved on the server waits in the browser for its writer's next login: under "letter:" if it is known
  // that it was not saved, under "maybe:" while nobody knows.
  const key = () => body.dataset.user + ":" + (el.id.value || el.source.value || "new");
  function keep(as) { try { localStorage.setItem((as || "letter:") + key(), JSON.stringify({ to: el.to.value, cc: el.cc.value, bcc: el.bcc.value, subject: el.subject.value, text: editor.hidden ? text.value : editor.innerText, html: editor.hidden ? "" : editor.innerHTML })); } catch { } }
  try {
    const kept = JSON.parse(localStorage.getItem("letter:" + key()) || "null");
    if (kept) {
      for (const k of ["to", "cc", "bcc", "subject"]) el[k].value = kept[k];
      if (kept.html) { html.value = kept.html; editor.hidden = true; setRich(true); } else if (!editor.hidden) setRich(false);
      el.text.value = kept.text;
      localStorage.removeItem("letter:" + key()); touched();
    }
  } catch { }
  function touched() { dirty = true; clearTimeout(timer); timer = setTimeout(save, 4000); }
  letter.addEventListener("input", e => { if (e.target !== files) touched(); });
  window.addEventListener("blur", () => { if (dirty) save(); });
  letter.addEventListener("submit", async e => {
    const b = e.submitter;
    if (!editor.hidden) html.value = editor.innerHTML;
    if (b && b.value && b.value.startsWith("drop:") && el.id.value) { // without leaving the page
      e.preventDefault();
      fetch("/compose", { method: "POST", body: form(b.value), headers: { Accept: "text/html" } }).then(() => b.closest("li").remove());
    } else if (!gone && b && /^(send|later|save)$/.test(b.value)) { // only when it is safe on the server
      e.preventDefault();
      await queue; // files that are on their way
      while (busy) await new Promise(r => setTimeout(r, 50));
      if (await save(true)) { gone = true; letter.requestSubmit(b); }
    } else { gone = true; clearTimeout(timer); }
  });
  letter.addEventListener("keydown", e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); $("#send").click(); } });
  window.addEventListener("pagehide", () => { if (dirty && !gone) keep("maybe:"); });
  window.addEventListener("beforeunload", e => { if (dirty && !gone && !navigator.sendBeacon("/compose", form("auto"))) { save(); e.preventDefault(); } });

  // Files: chosen, dropped or pasted, one after the other, with a bar.
  $("#attach").hidden = true;
  files.classList.add("sr"); files.parentElement.classList.add("btn");
  files.addEventListener("change", () => { upload(files.files); });
  let queue = Promise.resolve();
  function upload(chosen, inline) {
    for (const f of [...chosen]) queue = queue.then(() => one(f, inline && f.type.startsWith("image/")));
    queue = queue.then(() => { files.value = ""; });
  }
  function one(f, inline) {
    if (f.size > Number(letter.dataset.limit)) { say(letter.dataset.tooBig, true); return; }
    return new Promise(done => {
      const li = document.createElement("li"), p = document.createElement("progress");
      p.max = f.size || 1; p.value = 0; p.setAttribute("aria-label", f.name);
      li.append(Object.assign(document.createElement("span"), { className: "name", textContent: f.name }), p);
      list.append(li);
      const data = form("auto"), x = new XMLHttpRequest();
      if (inline) data.append("inline", "1"); // ahead of the file, whose place is where the caret is
      data.append("files", f, f.name);
      x.open("POST", "/compose");
      x.setRequestHeader("Accept", "application/json");
      x.upload.addEventListener("progress", e => { p.value = e.loaded; });
      x.addEventListener("loadend", () => {
        li.remove();
        let a = {};
        try { a = JSON.parse(x.responseText); } catch { }
        if (x.status === 200) {
          show(a);
          if (a.picture && !editor.hidden) { editor.focus(); document.execCommand("insertHTML", false, Object.assign(new Image(), { src: a.picture, alt: f.name }).outerHTML); }
        } else say(a.error || String(x.status), true);
        done();
      });
      x.send(data);
    });
  }
  for (const t of ["dragenter", "dragover"]) document.addEventListener(t, e => { if (e.dataTransfer.types.includes("Files")) { e.preventDefault(); letter.classList.add("dropping"); } });
  for (const t of ["dragleave", "drop"]) document.addEventListener(t, e => { if (t === "drop" || !e.relatedTarget) letter.classList.remove("dropping"); });
  document.addEventListener("drop", e => { if (e.dataTransfer.files.length) { e.preventDefault(); upload(e.dataTransfer.files); } });
}

// ---- addresses complete themselves ----
$$("[data-people]").forEach(input => {
  let box = null, at = -1, ask = 0, count = 0;
  const close = () => { if (box) box.remove(); box = null; at = -1; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
  const part = () => input.value.slice(0, input.selectionStart).split(/[,;，；、]/).pop().trim();
  const take = s => {
    const before = input.value.slice(0, input.selectionStart), after = input.value.slice(input.selectionStart).replace(/^[^,;，；、]*[,;，；、]?\s*/, "");
    const keep = before.replace(/[^,;，；、]*$/, "");
    input.value = keep + (keep && !/\s$/.test(keep) ? " " : "") + s + ", " + after;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    close();
  };
  input.setAttribute("role", "combobox"); input.setAttribute("aria-autocomplete", "list"); input.setAttribute("aria-expanded", "false");
  input.addEventListener("input", () => {
    clearTimeout(ask);
    const s = part();
    if (s.length < 1) { close(); return; }
    ask = setTimeout(async () => {
      const n = ++count, r = await fetch("/people?q=" + encodeURIComponent(s), { headers: { Accept: "application/json" } });
      if (!r.ok || n !== count) return;
      const found = await r.json();
      close();
      if (!found.length || part() !== s || document.activeElement !== input) return;
      box = document.createElement("ul");
      box.className = "suggest"; box.setAttribute("role", "listbox"); box.id = input.id + "-people";
      input.setAttribute("aria-controls", box.id); input.setAttribute("aria-expanded", "true");
      found.forEach((p, i) => {
        const li = Object.assign(document.createElement("li"), { textContent: p, id: input.id + "-p" + i });
        li.setAttribute("role", "option");
        li.addEventListener("mousedown", e => { e.preventDefault(); take(p); });
        box.append(li);
      });
      input.after(box);
    }, 120);
  });
  input.addEventListener("keydown", e => {
    if (!box) return;
    const all = [...box.children];
    if (e.key === "ArrowDown" || e.key === "ArrowUp") {
      at = (at + (e.key === "ArrowDown" ? 1 : all.length - 1 + (at < 0))) % all.length;
      all.forEach((li, i) => li.setAttribute("aria-selected", String(i === at)));
      input.setAttribute("aria-activedescendant", all[at].id);
      e.preventDefault();
    } else if (e.key === "Enter" || e.key === "Tab") {
      if (at >= 0 || e.key === "Enter") { e.preventDefault(); take(all[Math.max(at, 0)].textContent); }
    } else if (e.key === "Escape") { close(); e.stopPropagation(); }
  });
  input.addEventListener("blur", () => setTimeout(close, 150));
});
})();
