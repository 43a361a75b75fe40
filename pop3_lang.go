// POP3 in other languages: LANG, and our texts in Chinese.
package main

import (
	"fmt"
	"strings"
)

// cmdLang lists the languages of our texts or chooses one (RFC 6856 §3). "LANG [language / *]"
func (c *popConn) cmdLang(tag string) error {
	if tag == "" {
		c.ok("Languages follow")
		fmt.Fprint(c.w, "en English\r\nzh 中文\r\n.\r\n")
		return nil
	}
	base, _, _ := strings.Cut(strings.ToLower(tag), "-") // zh-Hans-CN asks for zh
	switch base {
	case "*", "i": // i-default (RFC 2277 §4.5)
		c.lang = "en"
	case "en", "zh":
		c.lang = base
	default:
		return popNo("", "No such language")
	}
	fmt.Fprintf(c.w, "+OK %s %s\r\n", c.lang, c.say("Language changed"))
	return nil
}

// say translates the text and fills it in.
func (c *popConn) say(text string, a ...any) string {
	if c.lang == "zh" {
		if t, ok := popChinese[text]; ok {
			text = t
		}
	}
	return fmt.Sprintf(text, a...)
}

// popChinese are our texts for LANG zh; one that is missing stays English.
var popChinese = map[string]string{
	"%d messages":                            "%d 封邮件",
	"%d messages deleted, goodbye":           "已删除 %d 封邮件，再见",
	"%d octets":                              "%d 字节",
	"%s ready":                               "%s 就绪",
	"And the password?":                      "请输入密码",
	"Another session has this maildrop open": "另一个会话正在使用此邮箱",
	"Begin TLS":                              "开始 TLS",
	"Capabilities follow":                    "功能列表如下",
	"Goodbye":                                "再见",
	"Language changed":                       "语言已更改",
	"Languages follow":                       "语言列表如下",
	"Line too long":                          "命令行太长",
	"Log in first":                           "请先登录",
	"Login cancelled":                        "登录已取消",
	"Malformed login":                        "登录格式错误",
	"Mechanisms follow":                      "认证方式如下",
	"Message %d will be deleted":             "邮件 %d 将被删除",
	"NUL in a command":                       "命令中含有空字符",
	"No such command":                        "没有此命令",
	"No such language":                       "没有此语言",
	"No such mechanism, see CAPA":            "没有此认证方式，见 CAPA",
	"No such message":                        "没有此邮件",
	"Passwords need TLS here: use STLS first, or port 995": "此处须先加密才能登录：请用 STLS 或 995 端口",
	"STLS must come before UTF8":                           "STLS 必须在 UTF8 之前",
	"Something went wrong here, it is in the log":          "服务器出错，详情见日志",
	"Still here":            "在线",
	"TLS is active already": "TLS 已启用",
	"TOP needs a message and a number of lines":                     "TOP 需要邮件编号和行数",
	"That message is deleted":                                       "此邮件已标记删除",
	"The disk is full":                                              "磁盘已满",
	"Too much is being done at the same time, try again later":      "同时进行的操作太多，请稍后再试",
	"The mail can only be read just now":                            "邮件目前只能读取",
	"The message is damaged on the server's disk":                   "此邮件在服务器磁盘上已损坏",
	"The server can't open its file; the administrator has to look": "服务器无法打开其文件，请管理员查看",
	"The message is gone":                                           "此邮件已不存在",
	"The server is being stopped":                                   "服务器正在停止",
	"The top follows":                                               "邮件开头如下",
	"Too many arguments":                                            "参数太多",
	"Too many connections of yours at once":                         "您的连接过多",
	"Too many bad commands":                                         "错误命令太多",
	"You have been logged out":                                      "您已被退出登录",
	"Too many failed logins, wait a while":                          "登录失败次数太多，请稍后再试",
	"USER comes before PASS":                                        "请先用 USER 再用 PASS",
	"USER needs a name":                                             "USER 需要用户名",
	"UTF-8 it is":                                                   "使用 UTF-8",
	"Which message?":                                                "请指明邮件编号",
	"Wrong name or password":                                        "用户名或密码错误",
	"You are logged in already":                                     "您已登录",
}
