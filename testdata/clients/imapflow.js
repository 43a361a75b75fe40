// Sends with nodemailer, reads with imapflow: folders, flags, search, IDLE, moving, a part of a message.
const { ImapFlow } = require('imapflow');
const nodemailer = require('nodemailer');
const assert = require('assert');
const [host, imapPort, smtpPort] = process.argv.slice(2);
const auth = { user: 'cora@home.arpa', pass: 'secret' };

(async () => {
  const smtp = nodemailer.createTransport({ host, port: +smtpPort, secure: false, requireTLS: true, tls: { rejectUnauthorized: false }, auth });
  const send = subject => smtp.sendMail({
    from: auth.user, to: auth.user, subject, text: '正文：好消息。\nAnd a line in English.', html: '<p>正文</p>',
    attachments: [{ filename: '报告.bin', content: Buffer.alloc(200000, 'postino') }]
  });
  await send('第一封 first');

  const c = new ImapFlow({ host, port: +imapPort, secure: true, tls: { rejectUnauthorized: false }, auth, logger: false, clientInfo: { name: 'test' } });
  await c.connect();
  const lock = await c.getMailboxLock('INBOX');
  assert.strictEqual(c.mailbox.exists, 1);
  const m = await c.fetchOne('1', { uid: true, flags: true, envelope: true, bodyStructure: true, internalDate: true, size: true, threadId: true });
  assert.strictEqual(m.envelope.subject, '第一封 first');
  assert.strictEqual(m.bodyStructure.childNodes.length, 2);
  const { content, meta } = await c.download('1', '2');
  assert.strictEqual(meta.filename, '报告.bin');
  let n = 0;
  for await (const chunk of content) n += chunk.length;
  assert.strictEqual(n, 200000);
  assert.deepStrictEqual(await c.search({ subject: '第一' }), [1]);
  assert.deepStrictEqual(await c.search({ body: '好消息' }), [1]);
  assert.deepStrictEqual(await c.search({ body: 'no such words' }), []);
  assert(await c.messageFlagsAdd('1', ['\\Flagged', '$Label1']));
  const told = new Promise(resolve => c.once('exists', resolve));
  const idle = c.idle();
  await send('第二封 second');
  assert.strictEqual((await told).count, 2);
  await c.noop();
  await idle;
  await c.mailboxCreate('工作/Änderungen');
  const moved = await c.messageMove('1', '工作/Änderungen');
  assert.strictEqual(moved.uidMap.size, 1);
  lock.release();
  const names = (await c.list()).map(f => f.path);
  assert(names.includes('工作/Änderungen') && names.includes('Sent'), names.join());
  const sent = (await c.list()).find(f => f.specialUse === '\\Sent');
  assert.strictEqual(sent.path, 'Sent');
  const st = await c.status('工作/Änderungen', { messages: true, unseen: true, highestModseq: true });
  assert.strictEqual(st.messages, 1);
  await c.mailboxOpen('工作/Änderungen');
  const f = await c.fetchOne('1', { flags: true });
  assert(f.flags.has('\\Flagged') && f.flags.has('$Label1'));
  const up = await c.append('Sent', 'From: cora@home.arpa\r\nTo: x@home.arpa\r\nSubject: kept\r\n\r\nx\r\n', ['\\Seen']);
  assert(up.uid > 0);
  await c.mailboxDelete('工作/Änderungen');
  await c.logout();
  console.log('imapflow and nodemailer: fine');
})().catch(e => { console.error(e); process.exit(1); });
