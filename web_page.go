// Pages: templates in two languages, and what every page shows around its own content.
package main

import (
	"bytes"
	"crypto/sha256"
	"html/template"
	"net/http"
	"path"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// language gives a language with its templates.
func (a *webApp) language(code string) *webLang {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.pages[code]; l != nil {
		return l
	}
	l := &webLang{Code: code}
	if code == "zh" {
		l.words = webChinese
	}
	l.tmpl = template.Must(template.New("").Funcs(a.functions(l)).ParseFS(webFiles, "web/*.html"))
	a.pages[code] = l
	return l
}

// functions are what templates can call.
func (a *webApp) functions(l *webLang) template.FuncMap {
	return template.FuncMap{
		"t": l.T, "f": l.F, "n": func(n any, one, many string) string { return l.N(webInt(n), one, many) },
		"size":   func(n any) string { return l.Size(webInt(n)) },
		"short":  func(t time.Time) string { return l.Short(t, a.s.store.Now()) },
		"long":   l.Long,
		"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"num":    func(n any) string { return webNumber(webInt(n)) },
		"icon":   webIcon,
		"static": func(name string) string { return "/static/" + name + "?" + a.version },
		"lang":   func() string { return map[string]string{"en": "en", "zh": "zh-Hans"}[l.Code] },
		"letter": webInitial, "tint": webTint,
		"dict": func(kv ...any) map[string]any {
			m := map[string]any{}
			for i := 0; i+1 < len(kv); i += 2 {
				m[kv[i].(string)] = kv[i+1]
			}
			return m
		},
		"depth":  func(name string) int { return min(strings.Count(name, "/"), 5) },
		"base":   path.Base,
		"folder": func(m Mailbox) string { return l.folderName(m) },
		"list":   func(s ...string) []string { return s },
		"bar":    webBar, "stamp": l.Stamp,
	}
}

// webBar is how full a bar is, in steps of five percent: a class, because pages have no inline styles.
func webBar(part, whole int64) int {
	if whole <= 0 {
		return 0
	}
	return int(min(part*20/whole, 20)) * 5
}

func webInt(n any) int64 {
	switch n := n.(type) {
	case int:
		return int64(n)
	case int64:
		return n
	case UID:
		return int64(n)
	}
	return 0
}

// webInitial is the letter in a sender's circle.
func webInitial(name string) string {
	for _, r := range name {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return string(unicode.ToUpper(r))
		}
	}
	return "@"
}

// webTint picks one of eight colours for a sender, always the same one.
func webTint(address string) int { return int(sha256.Sum256([]byte(strings.ToLower(address)))[0] % 8) }

// folderName shows the folders that everybody has in the reader's language.
func (l *webLang) folderName(m Mailbox) string {
	if m.Name == "INBOX" {
		return l.T("Inbox")
	}
	if m.Owner == SharedOwner {
		return m.Name
	}
	if m.Special != "" && !strings.Contains(m.Name, "/") {
		return l.T(m.Name)
	}
	return path.Base(m.Name)
}

// webPage is what the frame of every page needs. D is the page's own.
type webPage struct {
	Title, Kind string // Kind is the template's name
	User        User
	CSRF        string
	Theme       string
	Here        string // this page's address, for forms that come back to it
	Note        *webNote
	Folders     []webFolder
	Box         MailboxID // the folder that is open
	Query       string
	Waiting     int // letters that wait to be sent
	Used, Quota int64
	Hostname    string
	Keys        bool // shortcuts are on
	D           any
}

// webFolder is an entry of the list of folders.
type webFolder struct {
	Mailbox
	Icon   string
	Open   bool
	Shared bool
	Depth  int
}

func (q *webReq) page(kind, title string, d any) error {
	return q.status(http.StatusOK, kind, title, d)
}

// status renders a page with a status other than 200.
func (q *webReq) status(code int, kind, title string, d any) error {
	p := webPage{Title: q.lang.T(title), Kind: kind, User: q.user, CSRF: q.formToken(), Theme: q.look().Theme,
		Here: q.r.URL.RequestURI(), Hostname: q.s.cfg.Hostname, D: d, Keys: true}
	if q.r.Method != http.MethodGet {
		p.Here = "/"
	}
	if b, ok := d.(webInBox); ok {
		p.Box, p.Query = b.inBox()
	}
	if q.user.ID != 0 {
		if err := q.frame(&p); err != nil {
			q.log.Error("page frame", "user", q.user.Name, "err", err)
		}
	}
	if q.fresh {
		q.setCookie("visit", q.token, 0)
	}
	var b bytes.Buffer
	if err := q.lang.tmpl.ExecuteTemplate(&b, kind, p); err != nil {
		q.log.Error("template", "page", kind, "err", err)
		http.Error(q.w, "Internal error", http.StatusInternalServerError)
		return nil
	}
	q.send(code, "text/html; charset=utf-8", b.Bytes())
	return nil
}

// webInBox is a page's content that belongs to a folder.
type webInBox interface{ inBox() (MailboxID, string) }

// frame fills in what is around the content for somebody who is logged in.
func (q *webReq) frame(p *webPage) error {
	if d := q.r.Header.Get("Sec-Fetch-Dest"); d == "" || d == "document" { // and not what the script fetches for a page
		p.Note = q.takeNote()
	}
	return q.s.store.Read(func(tx *Tx) error {
		folders, err := q.folders(tx)
		if err != nil {
			return err
		}
		for i := range folders {
			folders[i].Open = folders[i].ID == p.Box
		}
		p.Folders = folders
		letters, err := tx.WaitingLetters(q.user.ID)
		if err != nil {
			return err
		}
		p.Waiting, p.Quota = len(letters), q.user.Quota
		p.Used, _, err = tx.Used(q.user.ID)
		return err
	})
}

// webFolderOrder puts the folders that everybody has first, each with its icon.
var webFolderOrder = []struct{ special, icon string }{
	{"INBOX", "inbox"}, {`\Drafts`, "draft"}, {`\Sent`, "sent"}, {`\Archive`, "archive"}, {`\Junk`, "junk"}, {`\Trash`, "trash"},
}

// folders lists what the user may see: special folders first, then the others, then those that belong to everybody.
func (q *webReq) folders(tx *Tx) ([]webFolder, error) {
	boxes, err := tx.Mailboxes(q.user.ID)
	if err != nil {
		return nil, err
	}
	var all []webFolder
	taken := map[MailboxID]bool{}
	for _, o := range webFolderOrder {
		for _, m := range boxes {
			if !taken[m.ID] && (m.Special == o.special || o.special == m.Name) {
				taken[m.ID] = true
				all = append(all, webFolder{Mailbox: m, Icon: o.icon, Depth: strings.Count(m.Name, "/")})
			}
		}
	}
	for _, m := range boxes {
		if !taken[m.ID] {
			all = append(all, webFolder{Mailbox: m, Icon: "folder", Depth: min(strings.Count(m.Name, "/"), 5)})
		}
	}
	shared, err := tx.SharedMailboxes(q.user)
	for _, m := range shared {
		if m.Rights&RightRead == 0 {
			continue
		}
		if m.OwnerName != "" {
			local, _, _ := strings.Cut(m.OwnerName, "@")
			m.Name = local + "/" + m.Name
		}
		m.Special = "" // another's Trash is not mine
		all = append(all, webFolder{Mailbox: m.Mailbox, Icon: "shared", Shared: true})
	}
	return all, err
}

// webClean makes text from mail harmless to show in one line: no control characters, and none that turn the direction
// of writing around, with which "gpj.exe" is made to look like another name.
func webClean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t' || r == '\n' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == utf8.RuneError,
			r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
			return -1
		}
		return r
	}, s)
}

// webChinese is the table of words; web_test.go sees that none is missing.
var webChinese = map[string]string{
	// folders and lists
	"Inbox": "收件箱", "Drafts": "草稿", "Sent": "已发送", "Junk": "垃圾邮件", "Trash": "回收站", "Archive": "归档",
	"Folder": "文件夹", "Folders": "文件夹", "Manage folders": "管理文件夹", "New folder": "新文件夹", "Make folder": "新建文件夹",
	"Name, or Folder/Name": "名称，或 文件夹/名称", "New name": "新名称", "Rename": "重命名", "Remove": "移除", "Empty": "清空",
	"Remove folder": "删除文件夹", "Messages": "邮件", "Size": "大小", "Change": "更改", "Show the folders": "显示文件夹",
	"Messages in this folder": "此文件夹中的邮件", "Waiting to be sent": "待发送", "Outbox": "发件箱", "%s of %s used": "已用 %s，共 %s",
	"(no subject)": "（无主题）", "(nobody)": "（无发件人）", "(removed folder)": "（已删除的文件夹）",
	"There is nothing here.": "这里没有邮件。", "Nothing was found.": "没有找到。", "Search": "搜索", "Search mail": "搜索邮件",
	"In %s": "在“%s”中", "In all folders": "在所有文件夹中", "Only in this folder": "只在此文件夹中",
	"You can write from:ann subject:holiday has:attachment is:unread before:2026-12-01": "可以这样写：from:ann subject:假期 has:attachment is:unread before:2026-12-01",
	"%s: means nothing here and was taken as a word.":                                   "“%s:”在这里没有含义，已当作普通词搜索。",
	"The search was ended after ten seconds; there may be more.":                        "搜索在十秒后结束，可能还有更多结果。",
	"of": "共", "Pages": "页", "Newer": "较新", "Older": "较旧", "Unread": "未读", "Answered": "已回复", "Forwarded": "已转发",
	"Has an attachment": "有附件", "Starred": "已加星标", "Group by conversation": "按会话分组", "Choose: %s": "选择：%s",
	"Choose all on this page": "选择本页全部", "What to do with the chosen messages": "对所选邮件的操作",
	"All %s in this folder": "此文件夹中的全部 %s 封", "All %s found": "找到的全部 %s 封", "All that can be found": "能找到的全部邮件",
	"It is on. Write these codes down and keep them away from the phone: each lets you in once, should the phone be lost.": "已开启。请把这些代码抄下来，不要和手机放在一起：手机丢失时，每个代码可登录一次。",
	"They are not shown again. Mail programs need device passwords from now on.":                                           "这些代码不会再显示。从现在起，邮件程序需要使用设备密码。", "Done": "完成", "Name as others see it": "显示给别人的姓名",
	"Without the phone, use one of the codes that you wrote down. If they are gone, too, the administrator can turn the second factor off.": "手机不在身边时，请使用抄下的代码之一。如果代码也丢了，管理员可以关闭两步验证。",
	"The search did not find everything in time. Make it narrower.":                                                                         "搜索未能及时找到全部邮件，请缩小范围。",
	"%s message": "%s 封邮件", "%s messages": "%s 封邮件", "%s unread message": "%s 封未读邮件", "%s unread messages": "%s 封未读邮件",
	"%s attachment": "%s 个附件", "%s attachments": "%s 个附件", "%d bytes": "%d 字节",

	// what can be done
	"Delete": "删除", "Delete for good": "彻底删除", "Not junk": "不是垃圾邮件", "Mark as read": "标为已读", "Mark as unread": "标为未读",
	"Star": "加星标", "Remove star": "取消星标", "Move": "移动", "Copy": "抄送", "More": "更多", "Undo": "撤销", "Cancel": "取消",
	"Back": "返回", "Back to the list": "返回列表", "Back to the start": "返回首页", "Are you sure?": "确定吗？",
	"%s message archived.": "已归档 %s 封邮件。", "%s messages archived.": "已归档 %s 封邮件。",
	"%s message moved to Trash.": "已将 %s 封邮件移到回收站。", "%s messages moved to Trash.": "已将 %s 封邮件移到回收站。",
	"%s message moved to Junk.": "已将 %s 封邮件移到垃圾邮件。", "%s messages moved to Junk.": "已将 %s 封邮件移到垃圾邮件。",
	"%s message moved to the inbox.": "已将 %s 封邮件移到收件箱。", "%s messages moved to the inbox.": "已将 %s 封邮件移到收件箱。",
	"%s message marked as read.": "已将 %s 封邮件标为已读。", "%s messages marked as read.": "已将 %s 封邮件标为已读。",
	"%s message marked as unread.": "已将 %s 封邮件标为未读。", "%s messages marked as unread.": "已将 %s 封邮件标为未读。",
	"%s message starred.": "已为 %s 封邮件加星标。", "%s messages starred.": "已为 %s 封邮件加星标。",
	"%s star removed.": "已取消 %s 个星标。", "%s stars removed.": "已取消 %s 个星标。",
	"%s message moved.": "已移动 %s 封邮件。", "%s messages moved.": "已移动 %s 封邮件。",
	"%s message copied.": "已复制 %s 封邮件。", "%s messages copied.": "已复制 %s 封邮件。",
	"%s message deleted.": "已删除 %s 封邮件。", "%s messages deleted.": "已删除 %s 封邮件。",
	"%s message brought back.": "已恢复 %s 封邮件。", "%s messages brought back.": "已恢复 %s 封邮件。",
	"Delete %s message for good? This can't be undone.": "彻底删除 %s 封邮件？此操作无法撤销。", "Delete %s messages for good? This can't be undone.": "彻底删除 %s 封邮件？此操作无法撤销。",
	"Delete everything in %s for good? This can't be undone.":           "彻底删除“%s”中的全部邮件？此操作无法撤销。",
	"Remove the folder %s with everything in it? This can't be undone.": "删除文件夹“%s”及其中的全部邮件？此操作无法撤销。",
	"No message was chosen.": "没有选择邮件。", "Copy here": "复制",

	// reading
	"What to do with this message": "对此邮件的操作", "Reply": "回复", "Reply all": "全部回复", "Reply to all": "全部回复", "Forward": "转发",
	"Forward as attachment": "作为附件转发", "Redirect": "重新投递", "Print": "打印", "Save as file": "保存为文件", "Show source": "查看原文",
	"Show headers": "查看邮件头", "From": "发件人", "To": "收件人", "Blind copy": "密送", "Reply to": "回复至", "Date": "日期", "Subject": "主题",
	"to": "发给", "copy to": "抄送", "Add to the address book": "加入通讯录", "Added to the address book.": "已加入通讯录。",
	"Pictures from other servers are not shown, because loading them tells the sender that you read this.": "未显示来自其他服务器的图片，因为加载它们会让发件人知道您读了这封邮件。",
	"Show pictures": "显示图片", "Always from this sender": "总是显示此发件人的图片", "Text of the message": "邮件正文",
	"Open the text on a page of its own": "在单独的页面中打开正文", "Show as plain text": "显示为纯文本", "Show with formatting": "显示带格式的正文",
	"The text is longer than what is shown here. Save the message as a file to read it all.": "正文比这里显示的更长。要阅读全部内容，请将邮件保存为文件。",
	"This message has no text.": "这封邮件没有正文。", "Attachments": "附件", "Save all": "全部保存", "Open": "打开", "Delivery": "投递情况",
	"Answer": "回复", "Leave this list": "退订", "Quoted text": "引用的文字",
	"delivered, %s": "已送达，%s", "could not be delivered, %s": "无法送达，%s", "on hold": "已暂停", "waiting, next try %s": "等待中，下次尝试 %s",
	"on its way": "正在发送", "taken out of the queue": "已从队列中移除",

	// writing
	"Write": "写信", "New message": "新邮件", "Copy, blind copy": "抄送、密送", "Send": "发送", "Save draft": "保存草稿", "Throw away": "丢弃",
	"Send later": "稍后发送", "Send at that time": "到时发送", "When": "时间", "Attach files": "添加附件", "Attach": "添加", "together up to %s": "合计最多 %s",
	"The attachments may have %s together.": "附件合计最多 %s。", "Remove %s": "移除 %s", "Bold": "粗体", "Italic": "斜体", "List": "列表", "Quote": "引用",
	"Link": "链接", "Address of the link:": "链接地址：", "Formatting": "格式", "Plain text": "纯文本", "Saved at %s": "已于 %s 保存",
	"Saved in Drafts.": "已保存到草稿。", "The draft was thrown away.": "草稿已丢弃。", "Sending …": "正在发送……", "It will be sent: %s": "将发送于：%s",
	"This letter could not be sent:": "这封信未能发送：", "This letter is on its way already.": "这封信已在发送中。",
	"%s is no mail address.": "“%s”不是邮件地址。", "Whom is it for? Write an address into the To field.": "发给谁？请在“收件人”中填写地址。",
	"That are too many recipients; %d are allowed.": "收件人太多，最多 %d 个。", "%s: %s": "%s：%s",
	"Choose a time in the future for sending later.": "请选择一个将来的时间。", "It is too late: the letter has gone out.": "太晚了：信已发出。",
	"There is nobody with this address here.": "这里没有这个地址。", "This mailbox takes no mail.": "这个邮箱不收邮件。",
	"This server sends no mail to other domains.": "此服务器不向其他域发送邮件。", "This address leads nowhere.": "这个地址没有去向。",
	"The sender's address is not yours.": "发件人地址不是您的。", "The letter is too big with its attachments.": "这封信连同附件太大。",
	"The mailbox of a recipient is full.": "某位收件人的邮箱已满。", "It could not be sent. The log of the server says why.": "未能发送，原因见服务器日志。",
	"The attachments are too big together.": "附件合计太大。", "On %s, %s wrote:": "%s，%s 写道：", "Forwarded message": "转发的邮件",
	"Send now": "立即发送", "Call back and change": "撤回并修改", "On the way to other servers": "正在发往其他服务器", "next try %s": "下次尝试 %s",
	"Everything has been sent.": "全部已发送。", "The message goes on unchanged, with its own sender:": "邮件原样转出，保留原发件人：",
	"The message was sent on.": "邮件已转出。", "New mail from %s: %s": "来自 %s 的新邮件：%s",

	// before login
	"Log in": "登录", "Log in to your mail": "登录邮箱", "One more step": "还差一步", "Name or address": "用户名或地址", "Password": "密码",
	"Stay logged in on this device": "在此设备上保持登录", "Code from your authenticator app": "身份验证器中的验证码",
	"The name or the password is wrong.": "用户名或密码错误。", "Too many failed logins. Wait a minute and try again.": "登录失败次数过多，请一分钟后再试。",
	"That code is wrong.": "验证码错误。", "That took too long or too many tries. Start again.": "时间过长或尝试次数过多，请重新开始。",
	"This connection is not encrypted, so passwords are not taken here.":                                                      "此连接未加密，因此这里不接受密码。",
	"Go on over an encrypted connection":                                                                                      "使用加密连接继续",
	"Your browser may warn you once, because it does not know this server yet. Install the server's certificate to end that:": "浏览器可能会警告一次，因为它还不认识此服务器。安装服务器证书后即不再警告：",
	"how to do it": "如何安装",
	"The administrator can add an https listener, or allow this network under [auth] plaintext.": "管理员可以添加 https 监听，或在 [auth] plaintext 中允许此网络。",
	"Please log in again.": "请重新登录。", "Welcome": "欢迎", "Welcome. Let us set up your mail.": "欢迎。现在来设置您的邮箱。", "Set up your mail": "设置邮箱",
	"You make the first account, which can also add others later.":                                                   "您将创建第一个账户，以后可以用它添加其他人。",
	"This makes another administrator. An address that is here already gets the new password, and no second factor.": "这会创建另一位管理员。如果地址已存在，则改用新密码，并关闭其两步验证。",
	"This link has been used. The command postino setup-link prints another one.":                                    "此链接已被使用。用命令 postino setup-link 可以得到新的链接。",
	"Your address": "您的地址", "your name": "您的名字", "Domain": "域", "Password, at least 8 characters": "密码，至少 8 个字符", "The same password again": "再次输入密码",
	"Code": "代码", "The code is at the end of the link that the server has printed. Another one: postino setup-link": "代码在服务器打印的链接末尾。重新生成：postino setup-link",
	"Begin": "开始", "This connection is not encrypted. In a network that you don't trust, use": "此连接未加密。在不信任的网络中，请使用", "the encrypted page": "加密页面",
	"For the first start, open this page from the same network, or over https.":    "首次启动时，请从同一网络或通过 https 打开此页面。",
	"This name can't be used in an address. Use letters, digits, dots and dashes.": "此名称不能用于地址。请使用字母、数字、点和短横线。",
	"The password needs at least 8 characters.":                                    "密码至少需要 8 个字符。", "The two passwords are not the same.": "两次输入的密码不同。",
	"The code is wrong. It is in the link that the server has printed.": "代码错误。它在服务器打印的链接中。",
	"Your mail is ready.": "您的邮箱已就绪。", "You are logged in as %s.": "您已以 %s 登录。", "Go to the inbox": "进入收件箱", "Add the others": "添加其他人",

	// the frame
	"Skip to the content": "跳到正文", "Account": "账户", "Settings": "设置", "Address book": "通讯录", "Phones and programs": "手机与邮件程序",
	"Administration": "管理", "Help": "帮助", "Log out": "退出登录", "Language": "语言", "Colours": "颜色", "Auto": "自动", "Light": "浅色", "Dark": "深色",

	// settings
	"General": "常规", "Rules": "规则", "Security": "安全", "Import and export": "导入与导出", "Look": "外观", "Save": "保存", "Saved.": "已保存。", "Name": "姓名",
	"Tell me about new mail on this device": "在此设备上提醒新邮件", "Names and signatures": "姓名与签名",
	"The first one is used for new letters. An answer goes out under the address that the letter came to.": "新邮件使用第一个身份。回复使用来信所发往的地址。",
	"Standard": "默认", "Address": "地址", "Signature": "签名", "One more": "再加一个",
	"%s is not yours. The administrator can make it an alias of yours.": "“%s”不是您的地址。管理员可以将它设为您的别名。",
	"Automatic answer": "自动回复", "Everybody who writes to you gets it once a week. Lists and machines get none.": "给您写信的人每周收到一次，邮件列表和机器不会收到。",
	"Answer for me": "替我回复", "Begins": "开始", "Until": "截止", "Text": "正文", "That is no date.": "日期无效。", "Write what the answer shall say.": "请填写自动回复的内容。",
	"Forwarding": "转发", "Send all new mail on to": "将所有新邮件转发到", "Keep a copy here": "在此保留副本", "That are too many addresses; %d are allowed.": "地址太多，最多 %d 个。",
	"Filters": "过滤器", "The first filter that fits decides. Everything that is filled in must be found in the message.": "由第一个匹配的过滤器决定。填写的条件必须全部满足。",
	"From contains": "发件人包含", "To or Copy contains": "收件人或抄送包含", "Subject contains": "主题包含", "Move to": "移动到", "Add filter": "添加过滤器", "Up": "上移",
	"Say which messages the filter is for.": "请填写过滤器针对哪些邮件。", "Present password": "当前密码", "New password": "新密码",
	"New password, at least 8 characters": "新密码，至少 8 个字符", "Change password": "更改密码", "Your present password is not right.": "当前密码不正确。",
	"The password is changed. All other browsers are logged out.": "密码已更改，其他浏览器均已退出登录。", "Second factor": "两步验证",
	"It is on: this site asks for a code from your app. Mail programs log in with device passwords.":                               "已启用：本站会要求应用中的验证码。邮件程序使用设备密码登录。",
	"With it, logging in here takes your password and a code from an app on your phone. Mail programs then need device passwords.": "启用后，在此登录需要密码和手机应用中的验证码。邮件程序则需要设备密码。",
	"Turn it off": "关闭", "Turn it on": "启用", "Set it up": "设置", "Open an authenticator app on your phone (any app that knows TOTP) and scan this:": "在手机上打开身份验证器（任何支持 TOTP 的应用）并扫描：",
	"Or type this key": "或输入此密钥", "Type the code that the app shows": "输入应用显示的验证码", "QR code": "二维码", "Where you are logged in": "登录的设备",
	"this browser": "此浏览器", "since": "自", "last used": "最后使用", "Log out everywhere else": "退出其他所有登录", "Logged out there.": "已在那里退出登录。",
	"Pictures are always shown from": "总是显示图片的发件人", "Ask again for everybody": "对所有人重新询问", "Import": "导入", "Export": "导出", "File": "文件",
	"An mbox file, a single message (.eml), or a .zip archive of such files.": "mbox 文件、单封邮件（.eml），或包含它们的 .zip 压缩包。", "Into the folder": "导入到文件夹",
	"All your mail, in a form that every mail program can read.": "您的全部邮件，任何邮件程序都能读取。", "All folders (.zip)": "所有文件夹(.zip)",
	"Choose a file to import.": "请选择要导入的文件。", "This archive can't be read.": "无法读取此压缩包。", "%s message imported.": "已导入 %s 封邮件。", "%s messages imported.": "已导入 %s 封邮件。",
	"Telephone": "电话", "Note": "备注", "Add": "添加", "Edit": "编辑", "Export (.vcf)": "导出(.vcf)", "vCard file (.vcf)": "vCard 文件(.vcf)",
	"Nobody is in your address book yet. Addresses that you have written to are offered all the same.": "通讯录还是空的。您写过信的地址仍会自动提示。",
	"%s address imported.": "已导入 %s 个地址。", "%s addresses imported.": "已导入 %s 个地址。", "This file can't be read.": "无法读取此文件。",

	// phones and programs
	"Device passwords": "设备密码", "Give every phone and program a password of its own. If one is lost, you remove its password and nothing else changes.": "为每部手机和每个程序设置单独的密码。若有遗失，只需移除它的密码，其他不受影响。",
	"Name of the device": "设备名称", "My phone": "我的手机", "Make a password": "生成密码", "The device needs a name.": "设备需要一个名称。",
	"This is the password for the device. It is shown only now.": "这是该设备的密码，只显示这一次。", "The password is void now.": "该密码已失效。",
	"Set up a phone or a mail program": "设置手机或邮件程序", "Most programs find these settings by themselves when you type your address and password.": "输入地址和密码后，大多数程序会自动找到这些设置。",
	"For": "用途", "Server": "服务器", "Port": "端口", "Encryption": "加密", "Incoming mail": "收信", "Outgoing mail": "发信", "User name": "用户名", "your whole address": "您的完整地址",
	"Open this on the device; it brings the settings and the server's certificate:": "在设备上打开此链接，它包含设置和服务器证书：", "Get the profile": "获取描述文件",
	"QR code with the address of the profile": "描述文件地址的二维码", "In Settings, install the profile that was loaded.": "在“设置”中安装已下载的描述文件。",
	"Then: General, About, Certificate Trust Settings: switch this server on.":                                    "然后在 通用、关于本机、证书信任设置 中启用此服务器。",
	"Type your name, address and password; the rest is found.":                                                    "输入姓名、地址和密码，其余会自动找到。",
	"If the program does not know the certificate, compare and accept it, or install the root certificate first.": "如果程序不认识证书，请核对后接受，或先安装根证书。",
	"Choose manual set-up, IMAP, and take the settings from the table above.":                                     "选择手动设置、IMAP，并使用上表中的设置。",
	"The server's own certificate": "服务器自己的证书", "This server has made its own root certificate. Install it once on every device, and no program warns any more.": "此服务器生成了自己的根证书。在每台设备上安装一次，程序就不再警告。",
	"Get the root certificate": "获取根证书", "QR code with the address of the certificate": "证书地址的二维码", "How to install it": "如何安装",
	"Settings, Security, More, Install a certificate, CA certificate.":                           "设置、安全、更多、安装证书、CA 证书。",
	"Open the file, Install Certificate, Local Machine, Trusted Root Certification Authorities.": "打开文件，安装证书，本地计算机，受信任的根证书颁发机构。",
	"Open the file, add it to the System keychain, and set it to Always Trust.":                  "打开文件，添加到“系统”钥匙串，并设为“始终信任”。",
	"Settings, Certificates, Authorities, Import.":                                               "设置、证书、证书颁发机构、导入。",

	// help
	"Keys": "快捷键", "next, previous message": "下一封、上一封", "open": "打开", "back to the list; in a list: mark as unread": "返回列表；在列表中：标为未读", "choose": "选择",
	"reply, reply all, forward": "回复、全部回复、转发", "to Inbox, Sent, Drafts, Archive": "到收件箱、已发送、草稿、归档", "this list": "此列表",
	"who wrote it, whom it is for": "谁写的、写给谁", "words in the subject": "主题中的词", "with attachments": "有附件", "not read yet, with a star": "未读、已加星标",
	"by day": "按日期", "by size": "按大小", "without this word": "不含此词",

	// administration
	"Overview": "概览", "Users": "用户", "Aliases": "别名", "Shared folders": "共享文件夹", "Queue": "队列", "Devices": "设备", "Log": "日志", "DNS": "DNS",
	"How the machine is": "机器状况", "The mail file is whole.": "邮件文件完好。", "The mail file is damaged: it can be read and not written. Export the mail and restore a backup.": "邮件文件已损坏：可读但不可写。请导出邮件并恢复备份。",
	"There is room on the disk.": "磁盘空间充足。", "The disk is nearly full: no mail is taken in until something is deleted.": "磁盘将满：删除一些内容之前不再接收邮件。",
	"The clock is right, as far as can be told.": "就目前所知，时钟正确。", "The clock is older than the mail: set it, or connect to a network with the time.": "时钟早于邮件：请设置时间，或连接可对时的网络。",
	"The certificate is valid.": "证书有效。", "The certificate ends soon.": "证书即将到期。", "No mail waits for long.": "没有久等的邮件。", "Some mail waits for a long time: see the queue.": "有邮件等待很久：请查看队列。",
	"Waiting in the queue": "队列中等待", "Database file": "数据库文件", "Free on the disk": "磁盘剩余", "Memory": "内存", "Written to the card since the start": "启动以来写入存储卡",
	"Running for": "已运行", "Connections": "连接", "Download a backup": "下载备份", "Domains": "域", "They are set in mail.toml.": "在 mail.toml 中设置。", "There is no certificate.": "没有证书。",
	"The certificate is from %s and valid until %s.": "证书由 %s 颁发，有效期至 %s。", "Services": "服务", "For monitoring": "用于监控",
	"Prometheus reads /metrics from this machine, or with this token:": "Prometheus 可从本机读取 /metrics，或使用此令牌：",
	"Quota": "配额", "Rights": "权限", "administrator": "管理员", "locked": "已锁定", "New user": "新用户", "Quota in MB, empty for none": "配额（MB），留空为不限", "May administrate": "可以管理",
	"Add user": "添加用户", "%s can log in now.": "%s 现在可以登录。", "That address is taken already.": "该地址已被使用。", "This domain does not live here. The domains are set in mail.toml.": "此域不在这里。域在 mail.toml 中设置。",
	"%s device password": "%s 个设备密码", "%s device passwords": "%s 个设备密码", "second factor is on": "已启用两步验证", "Locked: can't log in and gets no mail": "锁定：不能登录，也不接收邮件",
	"Set password": "设置密码", "Log out everywhere": "全部退出登录", "Take the second factor away": "取消两步验证", "Remove user": "删除用户",
	"Remove this user with all mail? This can't be undone.":                                                      "删除此用户及其全部邮件？此操作无法撤销。",
	"You can't do this to yourself: nobody would be left to undo it.":                                            "不能对自己这样做：否则没有人能恢复。",
	"Other addresses that lead to somebody, here or elsewhere. @domain catches everything that nobody else has.": "通向某人的其他地址，本地或外部皆可。@域名 接收无人认领的所有邮件。",
	"leads to": "指向", "New alias": "新别名", "Add alias": "添加别名", "Folders that belong to nobody and that several people use.": "不属于任何人、由多人共用的文件夹。",
	"everybody": "所有人", "Who": "谁", "What": "权限", "Allow": "允许", "may read": "可以阅读", "may read and add": "可以阅读和添加", "may do everything": "可以做任何操作",
	"There is mail in this folder. Move or delete it first.": "此文件夹中有邮件，请先移走或删除。", "Mail on its way out": "正在发出的邮件", "Where it is going": "去向",
	"%s try failed": "%s 次尝试失败", "%s tries failed": "%s 次尝试失败", "the first %d of %d": "前 %d 封，共 %d 封", "the server itself (a report)": "服务器自身（报告）",
	"Try everything now": "立即全部重试", "Try now": "立即重试", "Hold": "暂停", "Release": "恢复", "Nothing waits. Everything has been delivered.": "没有等待的邮件，全部已送达。",
	"Take this out of the queue? Nobody will be told, and it will not arrive.": "从队列中移除？不会通知任何人，邮件也不会送达。",
	"Done for %s message.": "已处理 %s 封邮件。", "Done for %s messages.": "已处理 %s 封邮件。", "Only lines with": "只显示包含", "Show": "显示", "Nothing.": "没有内容。",
	"The last lines since the start, the newest first. The service's own log has all of them.": "启动以来的最近若干行，最新的在前。完整日志见服务自身的日志。",
	"With a password of their own": "使用设备密码", "Device": "设备", "User": "用户", "None yet. Everybody makes them under Phones and programs.": "还没有。每个人可在“手机与邮件程序”中生成。",
	"Without a password": "无需密码", "These networks may send without logging in:": "这些网络可不登录发信：", "No network may send without logging in.": "没有网络可以不登录发信。",
	"These networks may log in without encryption:": "这些网络可不加密登录：",
	"For an old camera, scanner or printer: make a user for it, and a device password; if it knows no encryption, add its address to [auth] plaintext in mail.toml.": "对于旧的摄像头、扫描仪或打印机：为它创建用户和设备密码；如果它不支持加密，请将其地址加入 mail.toml 的 [auth] plaintext。",
	"Nothing here is needed inside a house. With a domain of your own, these records tell others where your mail lives:":                                             "在家中不需要这些。如果有自己的域名，这些记录告诉别人您的邮件在哪里：",

	// what can go wrong
	"There is nothing at this address.": "这个地址没有内容。", "There is no room left for this.": "没有剩余空间。", "The disk of the server is full.": "服务器磁盘已满。",
	"That is too big.": "太大了。", "The mail file is damaged and can only be read.": "邮件文件已损坏，只能读取。", "That name can't be used for a folder.": "此名称不能用作文件夹名。",
	"That exists already.": "已存在。", "Something went wrong here. The log of the server says what.": "出错了，详情见服务器日志。", "That is too much text for one form.": "表单内容过多。",
	"This form is out of date. Go back, reload the page and try again.": "表单已过期。请返回、刷新页面后重试。", "This form can't be read.": "无法读取此表单。",
	"That button is not known here.": "无法识别该操作。", "That is no address.": "这不是地址。", "This folder is needed and can't be removed.": "此文件夹不可删除。",
	"There are other folders inside this one. Remove them first.": "其中还有子文件夹，请先删除它们。", "You may not do this in this folder.": "您在此文件夹中没有该权限。",
	"Too many pages are open.": "打开的页面太多。",
}
