// Reasons: why a message could not be handed over, in words for people, in English and in Chinese.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
)

// reasons are the sentences that reasons begin with, and what they are in Chinese. Behind ": " something more may follow: a
// name, a peer's words.
var reasons = []struct{ en, zh string }{
	{reasonTimeout, "对方服务器长时间没有响应"},
	{reasonRefused, "对方服务器拒绝连接"},
	{reasonHungUp, "对方服务器中断了连接"},
	{reasonNoWay, "网络不通，无法到达对方服务器"},
	{reasonUnreachable, "无法连接对方服务器"},
	{reasonNoDNS, "域名服务器没有响应"},
	{reasonNoName, "找不到该服务器的名称"},
	{reasonCert, "对方服务器的证书不可信"},
	{reasonTLS, "无法与对方服务器建立加密连接"},
	{reasonLost, "连接中断"},
	{reasonDamaged, "邮件在本机磁盘上已损坏；请重新发送"},
	{"TLS failed", "加密连接失败"},
	{"the server's certificate is none of those that the DNS names (DANE)", "对方服务器的证书不是域名系统指定的证书（DANE）"},
	{"the domain's policy does not name the server (MTA-STS)", "该域的策略没有列出这台服务器（MTA-STS）"},
	{"the server's certificate is not what the domain's policy demands (MTA-STS)", "对方服务器的证书不符合该域策略的要求（MTA-STS）"},
	{"DNS", "域名查询"},
	{"internal error", "内部错误"},
	{"there is no such mailbox here", "此处没有这个邮箱"},
	{"this mailbox takes no mail", "此邮箱不接收邮件"},
	{"this machine sends no mail to other domains", "本机不向其他域发送邮件"},
	{"this address leads nowhere but back to itself", "此地址循环指向自身"},
	{"the message has passed too many servers", "邮件经过的服务器过多，可能在循环"},
	{"the mail waits until the other side calls for it", "邮件等待对方来取"},
	{"the message is bigger than the whole mailbox may be", "邮件比整个邮箱的容量还大"},
	{"the message is late, and was to be returned then (DELIVERBY)", "邮件已超过发件人要求的送达时间"},
	{"there is no such domain", "该域名不存在"},
	{"the domain takes no mail", "该域不接收邮件"},
	{"the domain's mail would come back to this machine, which does not know the domain", "该域的邮件会回到本机，而本机不认识该域"},
	{"nobody on the local network answers to this name just now", "局域网中暂时没有叫这个名称的机器"},
	{"over quota", "邮箱已满"},
	{"it has not been its turn yet", "尚未轮到发送"},
	{"the server's reply makes no sense", "对方服务器的答复无法理解"},
	{"the password is not sent without TLS and a certificate that can be checked", "没有可验证的加密连接，不发送密码"},
	{"the server offers no way to log in that is known here", "对方服务器没有提供可用的登录方式"},
	{"the message is too big for the server", "邮件超过对方服务器允许的大小"},
	{"the sender asks for checked TLS all the way (REQUIRETLS)", "发件人要求全程使用经过验证的加密连接"},
	{"held", "已暂停"},
	{"arrived by bundle", "已随邮件包送达"},
}

const (
	reasonTimeout     = "the server did not answer in time"
	reasonRefused     = "the server refused the connection"
	reasonHungUp      = "the server hung up"
	reasonNoWay       = "no network leads to the server"
	reasonUnreachable = "the server can't be reached"
	reasonNoDNS       = "the name servers did not answer"
	reasonNoName      = "the server's name can't be found"
	reasonCert        = "the server's certificate can't be trusted"
	reasonTLS         = "the server and this machine agree on no encryption"
	reasonLost        = "the connection was lost"
	reasonDamaged     = "the message was damaged on this machine's disk; please send it again"
)

// reasonText is an error in words for people: what the operating system and the network say is put into sentences, what our
// own code says in front of it stays.
func reasonText(err error) string {
	text, words := err.Error(), networkReason(err)
	if words == "" {
		return text
	}
	ours := ""
	for i := 0; i < len(reasons); i++ {
		rest, ok := strings.CutPrefix(text, reasons[i].en+": ")
		if ok {
			ours, text, i = ours+reasons[i].en+": ", rest, -1
		}
	}
	return ours + words
}

// networkReason is a sentence for an error of the network; "" for all others.
func networkReason(err error) string {
	for _, r := range networkReasons {
		if r.is(err) {
			return r.words
		}
	}
	return ""
}

// networkReasons are tried in this order: the narrower ones come first.
var networkReasons = []struct {
	is    func(error) bool
	words string
}{
	{isCertError, reasonCert},
	{isTLSError, reasonTLS},
	{isNoName, reasonNoName},
	{isDNSError, reasonNoDNS},
	{isTimeout, reasonTimeout},
	{isAnyOf(syscall.ECONNREFUSED), reasonRefused},
	{isAnyOf(syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED, io.EOF, io.ErrUnexpectedEOF, net.ErrClosed), reasonHungUp},
	{isAnyOf(syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN), reasonNoWay},
	{isOpError, reasonUnreachable},
}

func isAnyOf(those ...error) func(error) bool {
	return func(err error) bool {
		return slices.ContainsFunc(those, func(e error) bool { return errors.Is(err, e) })
	}
}

func isNoName(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound && !dns.IsTemporary && !dns.IsTimeout
}

func isDNSError(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns)
}

func isTimeout(err error) bool {
	var ne net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT) || (errors.As(err, &ne) && ne.Timeout())
}

func isOpError(err error) bool {
	var op *net.OpError
	return errors.As(err, &op)
}

func isCertError(err error) bool {
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var verify *tls.CertificateVerificationError
	return errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &verify)
}

func isTLSError(err error) bool {
	var alert tls.AlertError
	var record tls.RecordHeaderError
	return errors.As(err, &alert) || errors.As(err, &record)
}

// reasonChinese translates a reason as far as it is ours; peers' words stay as they are.
func reasonChinese(text string) string {
	for _, r := range reasons {
		if text == r.en {
			return r.zh
		}
		if rest, ok := strings.CutPrefix(text, r.en+": "); ok {
			return r.zh + "：" + reasonChinese(rest)
		}
	}
	return text
}
