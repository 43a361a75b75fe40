// What a real browser sees of Postino, from the first start on. Run by TestBrowser with the site's address, the set-up
// link, a folder for pictures and the folder of hostile mails. Every check throws; the last line is "ok".
import { chromium } from "playwright-core";
import { readFileSync, readdirSync, mkdirSync } from "node:fs";
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { join } from "node:path";

const [base, setup, out, corpus, family] = process.argv.slice(2);
mkdirSync(out, { recursive: true });
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] });
const host = new URL(base).host;
const faults = [];

function check(ok, what) { if (!ok) throw new Error(what); }

// A browser of its own, whose every page is watched: errors, policy violations, dialogs, requests to anywhere else.
async function person(options = {}) {
  const context = await browser.newContext({ baseURL: base, viewport: { width: 1360, height: 860 }, locale: "en-US", ...options });
  context.setDefaultTimeout(120000);
  context.on("page", page => {
    page.on("pageerror", e => faults.push("script: " + e.message));
    page.on("console", m => { if (m.type() === "error" && !/status of (40[134]|422)/.test(m.text())) faults.push(page.url() + ": " + m.text()); });
    page.on("dialog", d => { if (d.type() !== "beforeunload") faults.push("dialog: " + d.message()); d.accept().catch(() => {}); });
    page.on("request", r => { const u = new URL(r.url()); if (u.protocol.startsWith("http") && u.host !== host) faults.push("fetched: " + r.url()); });
  });
  return { context, page: await context.newPage() };
}
const quiet = () => { if (faults.length) throw new Error(faults.join("\n")); };
// A picture for people to look at. Chromium on a busy machine sometimes can't take one.
async function shot(page, name) {
  for (let left = 3; left > 0; left--) {
    try { return await page.screenshot({ path: join(out, name + ".png") }); } catch (e) { console.log("no picture of " + name + ": " + e.message.split("\n")[0]); }
  }
}

// The accessibility rules of WCAG A and AA, nothing serious of which may be found, and that all content is in a landmark.
async function scan(page, name) {
  const result = await page.evaluate(async src => {
    if (!window.axe) (0, eval)(src);
    const run = await window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], rules: { region: { enabled: true } }, iframes: false });
    if (run.passes.length < 5) return ["only " + run.passes.length + " rules were looked at"];
    return run.violations.filter(v => v.impact === "serious" || v.impact === "critical" || v.id === "region").map(v => v.id + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(" | "));
  }, axe).catch(e => ["could not scan: " + e.message]);
  if (result.length) faults.push("accessibility of " + name + ": " + result.join("\n  "));
}
// The code that an authenticator app shows (RFC 6238).
function totp(secret) {
  let bits = "";
  for (const c of secret) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0");
  const step = Buffer.alloc(8);
  step.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000)));
  const mac = createHmac("sha1", Buffer.from(bits.match(/.{8}/g).map(b => parseInt(b, 2)))).update(step).digest();
  return String((mac.readUInt32BE(mac[19] & 15) & 0x7fffffff) % 1e6).padStart(6, "0");
}
async function imported(page, name, buffer) {
  await page.goto("/settings/data");
  await page.setInputFiles("[name=file]", { name, mimeType: "application/mbox", buffer });
  await page.click("button.main:has-text('Import')");
  await page.waitForURL(/\/box\//);
}
async function login(p, name, password) {
  await p.page.goto("/login");
  await p.page.fill("[name=name]", name);
  await p.page.fill("[name=password]", password);
  await p.page.click("button.main");
  await p.page.waitForURL(/\/box\//);
}
async function step(name, fn) {
  const start = Date.now();
  try { await fn(); quiet(); } catch (e) { console.log("FAILED: " + name + "\n" + (e.stack || e)); await browser.close(); process.exit(1); }
  console.log(name + " (" + (Date.now() - start) + " ms)");
}
// axe needs eval, which the pages forbid; so scans run in contexts that ignore the policy, and everything else in strict ones.
const strict = {}, lax = { bypassCSP: true };

let ann, bob;
await step("first start", async () => {
  ann = await person(strict);
  await ann.page.goto(setup);
  check(await ann.page.inputValue("[name=code]") === decodeURIComponent(setup.split("#")[1]), "the code was not taken from the link");
  await shot(ann.page, "setup");
  await ann.page.fill("[name=name]", "ann");
  await ann.page.fill("[name=shown]", "Ann Miller");
  await ann.page.fill("[name=password]", "correct horse");
  await ann.page.fill("[name=again]", "correct horse");
  await ann.page.click("button.main");
  await ann.page.waitForURL(/\/welcome/);
  await shot(ann.page, "welcome");
  const again = await person();
  const r = await again.page.goto(setup);
  check(r.status() === 404, "the set-up page is still there after use: " + r.status());
  await again.context.close();
  await ann.page.goto("/admin/users");
  await ann.page.fill("[name=name]", "bob");
  await ann.page.fill("[name=shown]", "Bob Miller");
  await ann.page.fill("[name=quota]", "50");
  await ann.page.fill("[name=password]", "battery staple");
  await ann.page.click("button.main");
  await ann.page.waitForSelector("text=bob@home.arpa can log in now.");
});

await step("write with an attachment, call back, send", async () => {
  await ann.page.goto("/compose");
  await ann.page.fill("#to", "bo");
  await ann.page.waitForSelector(".suggest li");
  await ann.page.press("#to", "ArrowDown");
  await ann.page.press("#to", "Enter");
  check((await ann.page.inputValue("#to")).startsWith("Bob Miller <bob@home.arpa>"), "no completion");
  await ann.page.fill("#subject-in", "Boat trip 划船");
  await ann.page.fill("#text", "Shall we go on Saturday?\n\nAnn");
  await ann.page.setInputFiles("#files", { name: "map 地图.txt", mimeType: "text/plain", buffer: Buffer.from("the map") });
  await ann.page.waitForSelector("#attached li[data-file]");
  await shot(ann.page, "compose");
  await ann.page.click("#send");
  await ann.page.waitForSelector("text=Sending");
  await ann.page.click("#note button");
  await ann.page.waitForSelector("#letter");
  check(await ann.page.inputValue("#subject-in") === "Boat trip 划船", "the letter that was called back is not whole");
  check(await ann.page.locator("#attached li[data-file]").count() === 1, "the attachment is gone");
  await ann.page.press("#text", "Control+Enter");
  await ann.page.waitForSelector("text=Sending");
});

await step("live arrival, read, save", async () => {
  bob = await person(strict);
  await login(bob, "bob", "battery staple");
  await bob.page.waitForSelector(".mail.unread >> text=Boat trip 划船"); // by itself, when the ten seconds are over
  check((await bob.page.title()).startsWith("(1)"), "the title does not count");
  await shot(bob.page, "arrival");
  await bob.page.click(".mail a");
  await bob.page.waitForSelector("text=Shall we go on Saturday?");
  const [file] = await Promise.all([bob.page.waitForEvent("download"), bob.page.click("a.file")]);
  check(file.suggestedFilename() === "map 地图.txt", "saved as " + file.suggestedFilename());
  check(readFileSync(await file.path(), "utf8") === "the map", "the file has changed");
});

await step("reply with formatting", async () => {
  await bob.page.press("body", "r");
  await bob.page.waitForSelector("#letter");
  check((await bob.page.inputValue("#text")).includes("> Shall we go on Saturday?"), "no quote");
  await bob.page.click("text=Formatting");
  await bob.page.locator(".rich").press("Control+Home");
  await bob.page.click("text=Bold");
  await bob.page.keyboard.type("Yes!");
  await bob.page.click("#send");
  await bob.page.waitForSelector("text=Sending");
  await ann.page.goto("/mail");
  await ann.page.waitForSelector(".mail >> text=Re: Boat trip 划船");
  await ann.page.click(".mail a");
  const frame = ann.page.frameLocator("iframe.mail-html").first();
  await frame.locator("b", { hasText: "Yes!" }).waitFor();
  await frame.locator("blockquote", { hasText: "Shall we go on Saturday?" }).waitFor();
  check(await ann.page.locator(".person b", { hasText: "Bob Miller" }).count() > 0, "the sender has no name");
  check(await ann.page.locator(".earlier, .message").count() >= 2, "no conversation");
  await shot(ann.page, "read");
  await ann.page.goto("/mail");
  await ann.page.click("#folders a:has(.i-sent)");
  await ann.page.click(".mail a");
  await ann.page.waitForSelector("text=delivered");
  await shot(ann.page, "delivered");
});

await step("draft that saves itself", async () => {
  await ann.page.goto("/compose");
  await ann.page.fill("#subject-in", "Half a letter");
  await ann.page.fill("#text", "I wanted to");
  await ann.page.waitForFunction(() => document.querySelector("#saved").textContent !== "");
  await ann.page.goto("/mail");
  await ann.page.click("#folders a:has(.i-draft)");
  await ann.page.click(".mail a >> text=Half a letter");
  await ann.page.waitForSelector("#letter");
  check((await ann.page.inputValue("#text")).includes("I wanted to"), "the draft is not whole");
  await ann.page.click("#discard");
  await ann.page.waitForSelector("text=discarded");
});

await step("search, archive, undo, keys", async () => {
  await ann.page.goto("/mail");
  await ann.page.press("body", "/");
  await ann.page.keyboard.type("划船");
  await ann.page.keyboard.press("Enter");
  await ann.page.waitForSelector(".mail >> text=Re: Boat trip");
  await ann.page.goto("/mail");
  await ann.page.press("body", "j");
  await ann.page.keyboard.press("e");
  await ann.page.waitForSelector("text=1 message archived.");
  await ann.page.keyboard.press("z");
  await ann.page.waitForSelector("text=1 message brought back.");
  await ann.page.keyboard.press("?");
  await ann.page.waitForSelector("dialog[open] >> text=next, previous message");
  await ann.page.keyboard.press("Escape");
});

// What a family's mail looks like, for the pictures.
await step("a family's mail", async () => {
  await imported(ann.page, "family.mbox", readFileSync(join(family, "family.mbox")));
  await ann.page.goto("/mail");
  await ann.page.waitForSelector(".mail >> text=Sunday lunch");
  await shot(ann.page, "mail");
  await ann.page.click('.mail a:has(.subj:text-is("Sunday lunch"))');
  await ann.page.waitForSelector(".files");
  await ann.page.waitForLoadState("networkidle");
  await shot(ann.page, "read");
  const [zip] = await Promise.all([ann.page.waitForEvent("download"), ann.page.click("text=Save all")]);
  check(readFileSync(await zip.path()).subarray(0, 2).toString() === "PK", "no archive");
  const tablet = await person({ viewport: { width: 820, height: 1100 } });
  await login(tablet, "ann", "correct horse");
  await shot(tablet.page, "tablet");
  await tablet.page.click('.mail a:has(.subj:text-is("Sunday lunch"))');
  await tablet.page.waitForLoadState("networkidle");
  await shot(tablet.page, "tablet-read");
  check(await tablet.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the tablet page is too wide");
  await tablet.context.close();
  const phone = await person({ locale: "zh-CN", colorScheme: "dark", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 });
  await login(phone, "ann", "correct horse");
  await shot(phone.page, "phone-zh-dark");
  await phone.page.click(".mail a >> text=Your parcel");
  await phone.page.frameLocator("iframe.mail-html").locator("body").waitFor();
  await shot(phone.page, "phone-read");
  const inner = await phone.page.evaluate(() => { const f = document.querySelector("iframe.mail-html"); return [f.height, f.clientWidth]; });
  const src = await phone.page.getAttribute("iframe.mail-html", "src");
  await phone.page.setViewportSize({ width: inner[1], height: 400 });
  await phone.page.goto(src);
  const needs = await phone.page.evaluate(() => document.body.scrollHeight);
  check(inner[0] >= needs, "the frame has " + inner[0] + " pixels and needs " + needs);
  await phone.context.close();
});

await step("all that match, and back", async () => {
  const p = ann.page;
  await p.goto("/search?q=from:miller.family");
  const found = await p.locator(".mail").count();
  check(found > 3, "only " + found + " found");
  await p.click(".tools .more summary");
  await p.check("#pick-everything");
  await shot(p, "all-matching");
  await p.click(".tools button[value=archive]");
  await p.waitForSelector("text=" + found + " messages archived.");
  await p.click("#note button");
  await p.waitForSelector("text=" + found + " messages brought back.");
});

await step("filters, the answer while away, the second factor", async () => {
  const p = bob.page;
  await p.goto("/settings/rules");
  await p.fill("[name=text]", "I am on the lake until Monday.");
  await p.check("[name=on]");
  await p.locator("form[action='/settings/vacation'] button").click();
  await p.waitForSelector("text=Saved.");
  await p.goto("/settings/rules");
  const f = p.locator("form#filter");
  await f.locator("[name=field]").first().selectOption("subject");
  await f.locator("[name=value]").first().fill("invoice");
  await f.locator("[name=folder]").selectOption({ label: "Archive" });
  await f.locator("[name=star]").check();
  await f.locator("button[value=add]").click();
  await p.waitForSelector("text=Saved.");
  await p.goto("/settings/rules");
  await shot(p, "rules");
  await p.goto("/settings/security");
  await p.click("text=Set it up");
  await shot(p, "second-factor");
  const secret = await p.inputValue("[name=secret]");
  await p.fill("[name=code]", totp(secret));
  await p.fill("[name=old]", "battery staple");
  await p.click("text=Turn it on");
  await p.waitForSelector(".spare li");
  await shot(p, "second-factor-codes");
  const [spare, spare2] = await p.locator(".spare li").allTextContents();
  const other = await person(strict);
  await other.page.goto("/login");
  await other.page.fill("[name=name]", "bob");
  await other.page.fill("[name=password]", "battery staple");
  await other.page.click("button.main");
  await other.page.fill("[name=code]", spare);
  await shot(other.page, "login-code");
  await other.page.click("button.main");
  await other.page.waitForURL(/\/box\//);
  await other.context.close();
  await p.goto("/settings/security");
  await p.locator("form[action='/settings/totp'] [name=old]").fill("battery staple");
  await p.locator("form[action='/settings/totp'] [name=now]").fill(spare2);
  await p.click("text=Turn it off");
  await p.waitForSelector("text=Saved.");
  await ann.page.goto("/compose?to=bob&subject=invoice+12&body=please+pay");
  await ann.page.click("#send");
  await ann.page.waitForSelector("text=Sending");
  await ann.page.goto("/mail");
  await ann.page.waitForSelector(".mail >> text=I am on the lake");
  await p.goto("/mail");
  await p.click("#folders a:has(.i-archive)");
  await p.waitForSelector(".mail:has(.starred) >> text=invoice 12");
});

await step("send later, address book, devices, shared folders, backup", async () => {
  const p = ann.page;
  await p.goto("/compose?to=bob&subject=Happy+birthday");
  await p.fill("#text", "Many happy returns!");
  await p.click("summary:has-text('Send later')");
  await p.fill("[name=when]", await p.getAttribute("[name=when]", "max").then(m => m.slice(0, 4) + "-06-01T08:00"));
  await shot(p, "send-later");
  await p.click("text=Send at that time");
  await p.waitForSelector("text=It will be sent");
  await p.goto("/outbox");
  await shot(p, "outbox");
  await p.click("text=Call back and change");
  check(await p.inputValue("#text").then(t => t.trim()) === "Many happy returns!", "the letter for later is not whole");
  await p.click("#discard");
  await p.goto("/contacts");
  await p.setInputFiles("[name=file]", { name: "c.vcf", mimeType: "text/vcard", buffer: Buffer.from("BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Grandma Rose\r\nEMAIL:rose@lab.arpa\r\nTEL:+41 44 123\r\nEND:VCARD\r\n") });
  await p.locator("form[action='/contacts/import'] button").click();
  await p.waitForSelector("text=1 address imported.");
  await shot(p, "contacts");
  const [cards] = await Promise.all([p.waitForEvent("download"), p.click("text=Export (.vcf)")]);
  check(readFileSync(await cards.path(), "utf8").includes("FN:Grandma Rose"), "the vCards lack somebody");
  await p.goto("/devices");
  await p.locator("form[action='/devices'] [name=name]").last().fill("Ann's phone");
  await p.fill("form[action='/devices'] [name=old]", "correct horse");
  await p.click("text=Make a password");
  await p.waitForSelector(".secret");
  await shot(p, "devices");
  await p.goto("/admin/shared");
  await p.fill("[name=name]", "Household");
  await p.click("text=Make folder");
  await p.waitForSelector("h2:has-text('Household')");
  await shot(p, "shared");
  await bob.page.goto("/mail");
  await bob.page.click("#folders >> text=Household");
  await bob.page.waitForSelector(".room .meter");
  await shot(bob.page, "shared-empty");
  await p.goto("/admin");
  const [backup] = await Promise.all([p.waitForEvent("download"), (await p.fill("form[action='/admin/backup'] [name=old]", "correct horse"), p.click("text=Download a backup"))]);
  check(readFileSync(await backup.path()).subarray(0, 15).toString() === "SQLite format 3", "no backup");
  await p.goto("/admin/users");
  await shot(p, "users");
  const [mails] = await Promise.all([p.waitForEvent("download"), p.goto("/settings/data").then(() => p.click("text=All folders (.zip)"))]);
  check(readFileSync(await mails.path()).subarray(0, 2).toString() === "PK", "no archive of mail");
});

await step("HTML mail whole: frame, phone, dark, paper", async () => {
  const mail = (subject, html) => `From x@y Tue Nov 24 10:00:00 2026\nFrom: Shop <news@shop.example>\nTo: ann@home.arpa\nSubject: ${subject}\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n${html}\n\n`;
  const long = Array.from({ length: 300 }, (_, i) => "<p>paragraph " + i + " " + "word ".repeat(40) + "</p>").join("\n");
  const wide = "<style>.x{background:#203a70;color:#fff}</style><table border=1><tr>" + Array.from({ length: 25 }, (_, i) => "<td class=x>Column" + i + "</td>").join("") + "</tr></table>";
  await imported(ann.page, "html.mbox", Buffer.from(mail("a long one", long) + mail("a wide one", wide) + mail("no colours", "<p>plain words</p>") + mail("two sheets", "<p>line</p>\n".repeat(48))));
  await ann.page.goto("/mail");
  const href = {};
  for (const s of ["a long one", "a wide one", "no colours", "two sheets"]) href[s] = (await ann.page.locator(`.mail a:has(.subj:text-is("${s}"))`).first().getAttribute("href")).split("?")[0];
  const fits = async (p, name) => {
    await p.locator("iframe.mail-html").scrollIntoViewIfNeeded();
    await p.waitForFunction(() => { const f = document.querySelector("iframe.mail-html"), d = f.contentDocument; return d && d.body && d.readyState === "complete" && d.documentElement.scrollHeight <= f.clientHeight && f.clientHeight - d.documentElement.offsetHeight < 40; }).catch(() => { throw new Error("the frame of " + name + " does not fit"); });
  };
  for (const options of [{}, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, colorScheme: "dark" }]) {
    const c = await person(options), p = c.page;
    await login(c, "ann", "correct horse");
    for (const [name, at] of Object.entries(href)) { await p.goto(at); await fits(p, name); }
    const paper = await p.frameLocator("iframe.mail-html").locator("html").evaluate(e => getComputedStyle(e).backgroundColor);
    check((paper === "rgb(255, 255, 255)") === !options.colorScheme, "a mail without colours is on " + paper);
    await p.goto(href["a wide one"]);
    const cell = await p.frameLocator("iframe.mail-html").locator("td").first().evaluate(e => [getComputedStyle(e).backgroundColor, e.getClientRects()[0].height]);
    check(cell[0] === "rgb(32, 58, 112)" && cell[1] < 40, "the style sheet or the table is lost: " + cell);
    await shot(p, "html-" + (options.isMobile ? "phone" : "desk"));
    await c.context.close();
  }
  // On paper: whole, however wide the window is; and it begins on the sheet with the header.
  const sheets = async p => ((await p.pdf({ format: "A4" })).toString("latin1").match(/\/Type \/Page\b/g) || []).length;
  await ann.page.goto(href["a long one"] + "/print");
  const whole = await sheets(ann.page);
  check(whole > 15, "the print page has " + whole + " sheets");
  for (const width of [500, 1360, 2000]) {
    const c = await person({ viewport: { width, height: 900 } });
    await login(c, "ann", "correct horse");
    await c.page.goto(href["a long one"]);
    await fits(c.page, "the long one before it is printed");
    const n = await sheets(c.page);
    check(Math.abs(n - whole) <= whole / 5, "printed from a window of " + width + " it has " + n + " sheets, and not some " + whole);
    await fits(c.page, "the long one after it was printed");
    await c.page.goto(href["two sheets"]);
    await fits(c.page, "two sheets");
    check(await sheets(c.page) === 2, "the text begins on a new sheet");
    await c.context.close();
  }
});

await step("a shared computer", async () => {
  const c = await person({ serviceWorkers: "block" }), p = c.page;
  await login(c, "ann", "correct horse");
  await p.goto("/compose");
  await p.fill("#to", "bob");
  await p.fill("#subject-in", "My diagnosis");
  await p.fill("#text", "secret of Ann");
  await c.context.clearCookies();
  await p.click("#send");
  await p.waitForURL(/\/login/);
  await login(c, "ann", "correct horse");
  await p.goto("/compose");
  await p.waitForFunction(() => document.querySelector("#text").value.includes("secret of Ann"));
  check(await p.inputValue("#to") === "bob" && await p.inputValue("#subject-in") === "My diagnosis", "the letter did not come back whole");
  await c.context.clearCookies();
  await p.click("#send");
  await p.waitForURL(/\/login/);
  await login(c, "bob", "battery staple");
  await p.goto("/compose");
  check(!(await p.inputValue("#text")).includes("secret"), "Bob sees Ann's letter");
  check(await p.evaluate(() => Object.keys(localStorage).filter(k => /^(letter|maybe):/.test(k)).length) === 0, "Ann's letter is still in the browser");
  await c.context.close();
});

await step("rich text: lists, and pasting", async () => {
  const p = ann.page;
  await p.goto("/compose?to=bob&subject=Rich");
  await p.click(".rich-tools .toggle");
  await p.locator(".rich").evaluate(e => {
    const d = new DataTransfer();
    d.setData("text/html", "<style>p{}</style><ul><li onclick='x()'>one</li><li><a href='https://x.example/' onmouseover='x()'>two</a></li></ul><script>x()</script>");
    d.setData("text/plain", "one two");
    e.focus();
    e.dispatchEvent(new ClipboardEvent("paste", { clipboardData: d, bubbles: true, cancelable: true }));
  });
  const got = await p.locator(".rich").innerHTML();
  check(got.includes("<li>one</li>") && got.includes('href="https://x.example/"') && !/onclick|style|script/.test(got), "pasted: " + got);
  check(await p.locator(".rich ul").evaluate(e => getComputedStyle(e).listStyleType) === "disc", "a list has no bullets");
  const pressed = () => p.locator(".rich-tools [aria-pressed=true]").allTextContents().then(all => all.join());
  await p.locator(".rich li").first().click();
  await p.waitForFunction(() => document.querySelector(".rich-tools [aria-pressed=true]"));
  check(await pressed() === "List", "in a list the buttons say " + await pressed());
  await p.locator(".rich").press("Control+End");
  await p.click("text=Bold");
  await p.keyboard.type("heavy");
  await p.waitForFunction(() => [...document.querySelectorAll(".rich-tools [aria-pressed=true]")].some(b => b.textContent === "Bold"));
  // A picture from the clipboard stands in the text, and arrives there.
  await p.locator(".rich").evaluate(async e => {
    const dot = Uint8Array.from(atob("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="), c => c.charCodeAt(0));
    const d = new DataTransfer();
    d.items.add(new File([dot], "image.png", { type: "image/png" }));
    e.focus();
    e.dispatchEvent(new ClipboardEvent("paste", { clipboardData: d, bubbles: true, cancelable: true }));
  });
  await p.waitForFunction(() => { const i = document.querySelector(".rich img"); return i && i.complete && i.naturalWidth === 1; });
  await p.click("#send");
  await p.waitForSelector("text=Sending");
  await bob.page.goto("/mail");
  await bob.page.waitForSelector(".mail >> text=Rich", { timeout: 60000 });
  await bob.page.click(".mail a:has(.subj:text-is('Rich'))");
  const came = bob.page.frameLocator("iframe.mail-html");
  await came.locator("b", { hasText: "heavy" }).waitFor();
  await bob.page.waitForFunction(() => { const i = document.querySelector("iframe.mail-html").contentDocument.querySelector("img"); return i && i.complete && i.naturalWidth === 1; });
  check(await bob.page.locator(".files").count() === 0, "the picture is listed as a file, too");
  await p.goto("/compose");
  await p.click("#discard");
  await p.waitForURL(/mail|box/);
});

await step("hostile mail", async () => {
  const names = readdirSync(corpus).filter(f => f.endsWith(".html"));
  const mbox = names.map(n => `From x@y Tue Nov 24 10:00:00 2026\nFrom: "<img src=x onerror=alert(1)>" <x@evil.example>\nTo: ann@home.arpa\nSubject: ${n} <script>alert(1)</script>\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n` +
    readFileSync(join(corpus, n)).toString("base64").replace(/.{76}/g, "$&\n") + "\n\n").join("");
  await imported(ann.page, "hostile.mbox", Buffer.from(mbox));
  await ann.page.waitForSelector(`text=${names.length} messages imported.`);
  await ann.page.goto("/mail");
  const hrefs = await ann.page.locator(".mail a", { hasText: ".html <script>" }).evaluateAll(all => all.map(a => a.getAttribute("href")));
  check(hrefs.length === names.length, hrefs.length + " of " + names.length + " in the list");
  for (const href of hrefs) {
    await ann.page.goto(href);
    await ann.page.waitForSelector("iframe.mail-html").catch(e => { throw new Error("no frame at " + href + ": " + e.message); });
    const src = await ann.page.getAttribute("iframe.mail-html", "src");
    await ann.page.locator("iframe.mail-html").scrollIntoViewIfNeeded();
    await ann.page.frameLocator("iframe.mail-html").locator("body").waitFor({ state: "attached" });
    await ann.page.goto(src); // and outside its frame
    await ann.page.goto(src.replace(/\/html.*/, "/print"));
    quiet();
  }
});

await step("Chinese, dark, phone", async () => {
  const zh = await person({ locale: "zh-CN", colorScheme: "dark", viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true });
  await zh.page.goto("/login");
  await zh.page.waitForSelector("text=登录邮箱");
  await login(zh, "bob", "battery staple");
  await zh.page.waitForSelector("h1:has-text('收件箱')");
  check(await zh.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the phone page is wider than the phone");
  await shot(zh.page, "phone-inbox");
  await zh.page.click("label[for=nav]");
  await zh.page.click("#folders >> text=已发送");
  await zh.page.waitForSelector("h1:has-text('已发送')");
  await zh.page.goto("/compose");
  check(await zh.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), "the form is wider than the phone");
  await shot(zh.page, "phone-compose");
  await zh.context.close();
});

await step("without JavaScript", async () => {
  const plain = await person({ javaScriptEnabled: false });
  const p = plain.page;
  await login(plain, "bob", "battery staple");
  await p.click(".mail a");
  await p.waitForSelector("text=Shall we go on Saturday?");
  await p.click("#reply");
  await p.fill("#text", "No script here.");
  await p.setInputFiles("#files", { name: "a.bin", mimeType: "application/octet-stream", buffer: Buffer.alloc(300000, 7) });
  await p.click("#attach");
  await p.waitForSelector("text=a.bin");
  await p.click("#save");
  await p.waitForSelector("text=Saved in Drafts.");
  await p.click("#send");
  await p.waitForSelector("text=Sending");
  await p.fill("#q", "subject:boat");
  await p.press("#q", "Enter");
  await p.waitForSelector(".mail >> text=Boat trip");
  await p.goto("/mail");
  await p.locator(".pick input").first().check({ force: true });
  await p.click(".tools button[value=archive]");
  await p.waitForSelector("text=1 message archived.");
  await p.click("#note button");
  await p.waitForSelector("text=1 message brought back.");
  await shot(p, "no-script");
  await plain.context.close();
  // Back leads to the row and to where the list was scrolled, wide and narrow.
  for (const width of [1360, 390]) {
    const c = await person({ javaScriptEnabled: false, viewport: { width, height: 700 } });
    await login(c, "ann", "correct horse");
    const row = c.page.locator(".mail a").nth(30);
    await row.scrollIntoViewIfNeeded();
    const y = (await row.boundingBox()).y;
    check(y > 60 && y < 700, "the row is at " + y);
    await row.click();
    await c.page.waitForSelector(".reading");
    await c.page.goBack();
    await c.page.waitForSelector("section.list");
    let at = 0;
    for (let left = 100; left > 0 && Math.abs((at = (await row.boundingBox()).y) - y) > 2; left--) await c.page.waitForTimeout(50);
    check(Math.abs(at - y) <= 2, "Back leads to " + at + ", and it was at " + y);
    await c.context.close();
  }
});

await step("accessibility", async () => {
  for (const scheme of ["light", "dark"]) {
    const eye = await person({ ...lax, colorScheme: scheme });
    await eye.page.goto("/login");
    await scan(eye.page, "login " + scheme);
    await eye.page.goto("/help");
    await scan(eye.page, "help before login " + scheme);
    await login(eye, "ann", "correct horse");
    await eye.page.goto("/search?q=lunch");
    const lunch = (await eye.page.locator('.mail a:has(.subj:text-is("Sunday lunch"))').first().getAttribute("href")).split("?")[0];
    await eye.page.goto("/mail");
    const first = await eye.page.getAttribute(".mail a", "href");
    for (const path of ["/mail", first, "/welcome", lunch, lunch + "/print", "/nothing/here", "/compose", "/folders", "/outbox", "/search?q=boat", "/settings", "/settings/rules", "/settings/security", "/settings/data",
      "/devices", "/contacts", "/help", "/admin", "/admin/users", "/admin/users/4", "/admin/aliases", "/admin/shared", "/admin/queue", "/admin/log", "/admin/devices", "/admin/dns"]) {
      await eye.page.goto(path);
      await scan(eye.page, path + " " + scheme);
      if (["/settings", "/admin", "/welcome"].includes(path)) await shot(eye.page, path.slice(1) + "-" + scheme);
    }
    const asks = [["/folders", "button[value=empty]"], ["/admin/users/5", "button[value=remove]"], ["/settings/security", "button[value=start]"]];
    for (const [path, button] of asks) {
      await eye.page.goto(path);
      await eye.page.locator(button).first().click();
      await eye.page.waitForSelector(".panel.narrow h1");
      await scan(eye.page, path + " asks " + scheme);
      if (path === "/folders" && scheme === "dark") await shot(eye.page, "confirm");
    }
    await eye.context.close();
  }
});

await step("log out", async () => {
  await ann.page.goto("/mail");
  await ann.page.click(".account summary");
  await ann.page.click("text=Log out");
  await ann.page.waitForURL(/\/login/);
  await ann.page.goto("/mail");
  check(ann.page.url().includes("/login"), "still in after logging out");
});

await browser.close();
console.log("ok");
