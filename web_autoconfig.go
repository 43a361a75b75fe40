// Set-up of phones and programs: what Thunderbird, Outlook and Apple's devices ask for, the root certificate, the guide.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	texttemplate "text/template"
)

func webAutoconfigRoutes() []webRoute {
	all := []webRoute{
		{"GET /devices", webLoggedIn, (*webReq).getDevices},
		{"POST /devices", webLoggedIn, (*webReq).postDevices},
		{"GET /welcome", webLoggedIn, (*webReq).getWelcome},
		{"GET /help", webPublic, (*webReq).getHelp},
		{"GET /help/keys", webPublic, (*webReq).getHelp},
		{"GET /root.crt", webPublic, (*webReq).getRoot},
		{"GET /apple.mobileconfig", webPublic, (*webReq).getProfile},
		{"GET /mail/config-v1.1.xml", webPublic, (*webReq).getThunderbird},
		{"GET /.well-known/autoconfig/mail/config-v1.1.xml", webPublic, (*webReq).getThunderbird},
	}
	all = append(all, webRoute{"GET /autodiscover/autodiscover.json/v1.0/{address}", webForeign, (*webReq).getOutlookJSON},
		webRoute{"GET /autodiscover/autodiscover.json", webForeign, (*webReq).getOutlookJSON})
	return append(all, webRoute{"POST /autodiscover/autodiscover.xml", webForeign, (*webReq).postOutlook},
		webRoute{"GET /autodiscover/autodiscover.xml", webForeign, (*webReq).postOutlook})
}

// webSmallPath makes the letters of an autodiscover address small: Outlook is not of one mind on capitals.
func webSmallPath(u *url.URL) *url.URL {
	const at = "/autodiscover/"
	if len(u.Path) < len(at) || !strings.EqualFold(u.Path[:len(at)], at) {
		return u
	}
	small := *u
	small.Path, small.RawPath = strings.ToLower(u.Path), ""
	return &small
}

// webServer is one line of what a mail program has to know.
type webServer struct {
	What, Proto, Host, Security string
	Port                        string
	Socket                      string // in Thunderbird's words
}

// servers lists the ways for mail programs, the best of each kind first: TLS from the first octet on (RFC 8314 §3).
func (a *webApp) servers() []webServer {
	var all []webServer
	l := a.s.cfg.Listen
	for _, x := range []struct {
		addrs                         []string
		what, proto, security, socket string
	}{
		{l.IMAPS, "Incoming mail", "IMAP", "SSL/TLS", "SSL"},
		{l.IMAP, "Incoming mail", "IMAP", "STARTTLS", "STARTTLS"},
		{l.POP3S, "Incoming mail", "POP3", "SSL/TLS", "SSL"},
		{l.POP3, "Incoming mail", "POP3", "STARTTLS", "STARTTLS"},
		{l.Submissions, "Outgoing mail", "SMTP", "SSL/TLS", "SSL"},
		{l.Submission, "Outgoing mail", "SMTP", "STARTTLS", "STARTTLS"},
	} {
		for _, addr := range x.addrs {
			host, port, err := net.SplitHostPort(addr)
			if ip := net.ParseIP(host); err != nil || (ip != nil && ip.IsLoopback()) {
				continue
			}
			all = append(all, webServer{x.what, x.proto, a.s.asciiHost(), x.security, port, x.socket})
			break
		}
	}
	return all
}

// first is the best server of a kind.
func (a *webApp) first(proto string) (webServer, bool) {
	for _, s := range a.servers() {
		if s.Proto == proto {
			return s, true
		}
	}
	return webServer{}, false
}

// webAsked is what the set-up files are filled with.
type webAsked struct {
	Domain, Address, Host string
	In, Out               []webServer
	UUID                  func(string) string
	Root                  string // base64 of the root certificate, "" for none
}

// asked reads the address that a program wants settings for. The answer is the same whether the address exists or not.
func (q *webReq) asked(address string) (webAsked, error) {
	x := webAsked{Domain: q.s.cfg.DomainsNow()[0], Host: q.s.asciiHost()}
	if a, err := ParseAddr(strings.TrimSpace(address)); err == nil {
		if !q.s.cfg.Local(a.Domain) {
			return x, ErrNotFound
		}
		x.Address, x.Domain = a.Key(), a.Domain
	} else if address != "" {
		return x, ErrNotFound
	}
	if ascii, err := DomainToASCII(x.Domain); err == nil {
		x.Domain = ascii
	}
	for _, s := range q.servers() {
		if s.Proto == "SMTP" {
			x.Out = append(x.Out, s)
		} else {
			x.In = append(x.In, s)
		}
	}
	return x, nil
}

// webXML are the templates of the files. All that is filled in goes through xml.
var webXML = texttemplate.Must(texttemplate.New("").Funcs(texttemplate.FuncMap{"xml": webEscapeXML, "lower": strings.ToLower}).Parse(`
{{define "thunderbird"}}<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="{{xml .Domain}}">
    <domain>{{xml .Domain}}</domain>
    <displayName>{{xml .Domain}}</displayName>
    <displayShortName>{{xml .Domain}}</displayShortName>
{{range .In}}    <incomingServer type="{{lower .Proto}}">
      <hostname>{{xml .Host}}</hostname>
      <port>{{.Port}}</port>
      <socketType>{{.Socket}}</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </incomingServer>
{{end}}{{range .Out}}    <outgoingServer type="smtp">
      <hostname>{{xml .Host}}</hostname>
      <port>{{.Port}}</port>
      <socketType>{{.Socket}}</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </outgoingServer>
{{end}}  </emailProvider>
</clientConfig>
{{end}}
{{define "outlook"}}<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
<Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">
<Account><AccountType>email</AccountType><Action>settings</Action>
{{range .Protocols}}{{template "protocol" .}}{{end}}</Account></Response></Autodiscover>
{{end}}
{{define "outlook refused"}}<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
<Response><Error><ErrorCode>600</ErrorCode><Message>Invalid Request</Message><DebugData/></Error></Response></Autodiscover>
{{end}}
{{define "protocol"}}<Protocol><Type>{{.Proto}}</Type><Server>{{xml .Host}}</Server><Port>{{.Port}}</Port>{{if .Login}}<LoginName>{{xml .Login}}</LoginName>{{end}}<SPA>off</SPA>{{if eq .Socket "SSL"}}<SSL>on</SSL>{{else}}<SSL>on</SSL><Encryption>TLS</Encryption>{{end}}<AuthRequired>on</AuthRequired></Protocol>
{{end}}
{{define "apple"}}<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>PayloadContent</key><array>
<dict>
<key>EmailAccountDescription</key><string>{{xml (or .Address .Domain)}}</string>
<key>EmailAccountType</key><string>EmailTypeIMAP</string>
{{if .Address}}<key>EmailAddress</key><string>{{xml .Address}}</string>
<key>IncomingMailServerUsername</key><string>{{xml .Address}}</string>
<key>OutgoingMailServerUsername</key><string>{{xml .Address}}</string>
{{end}}<key>IncomingMailServerAuthentication</key><string>EmailAuthPassword</string>
{{with index .In 0}}<key>IncomingMailServerHostName</key><string>{{xml .Host}}</string>
<key>IncomingMailServerPortNumber</key><integer>{{.Port}}</integer>
<key>IncomingMailServerUseSSL</key><true/>
{{end}}<key>OutgoingMailServerAuthentication</key><string>EmailAuthPassword</string>
{{with index .Out 0}}<key>OutgoingMailServerHostName</key><string>{{xml .Host}}</string>
<key>OutgoingMailServerPortNumber</key><integer>{{.Port}}</integer>
<key>OutgoingMailServerUseSSL</key><true/>
{{end}}<key>OutgoingPasswordSameAsIncomingPassword</key><true/>
<key>PayloadDescription</key><string>Mail</string>
<key>PayloadDisplayName</key><string>{{xml (or .Address .Domain)}}</string>
<key>PayloadIdentifier</key><string>postino.{{xml .Host}}.mail</string>
<key>PayloadType</key><string>com.apple.mail.managed</string>
<key>PayloadUUID</key><string>{{call .UUID "mail"}}</string>
<key>PayloadVersion</key><integer>1</integer>
</dict>
{{if .Root}}<dict>
<key>PayloadCertificateFileName</key><string>root.crt</string>
<key>PayloadContent</key><data>{{.Root}}</data>
<key>PayloadDescription</key><string>The certificate that the server made for itself</string>
<key>PayloadDisplayName</key><string>{{xml .Host}}</string>
<key>PayloadIdentifier</key><string>postino.{{xml .Host}}.root</string>
<key>PayloadType</key><string>com.apple.security.root</string>
<key>PayloadUUID</key><string>{{call .UUID "root"}}</string>
<key>PayloadVersion</key><integer>1</integer>
</dict>
{{end}}</array>
<key>PayloadDescription</key><string>Mail on {{xml .Host}}</string>
<key>PayloadDisplayName</key><string>{{xml (or .Address .Domain)}}</string>
<key>PayloadIdentifier</key><string>postino.{{xml .Host}}</string>
<key>PayloadType</key><string>Configuration</string>
<key>PayloadUUID</key><string>{{call .UUID "profile"}}</string>
<key>PayloadVersion</key><integer>1</integer>
</dict></plist>
{{end}}`))

func webEscapeXML(s string) string {
	var b bytes.Buffer
	xml.EscapeText(&b, []byte(s))
	return b.String()
}

// sendXML answers with one of webXML's templates.
func (q *webReq) sendXML(status int, name, kind string, x webAsked) error {
	var b bytes.Buffer
	if err := webXML.ExecuteTemplate(&b, name, x); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	q.send(status, kind, b.Bytes())
	return nil
}

// getThunderbird answers Thunderbird, K-9, Evolution, KMail and FairEmail (draft-ietf-mailmaint-autoconfig), over plain
// HTTP too: they look there when a certificate is not known yet.
func (q *webReq) getThunderbird() error {
	x, err := q.asked(q.r.URL.Query().Get("emailaddress"))
	if err != nil {
		return err
	}
	return q.sendXML(http.StatusOK, "thunderbird", "text/xml; charset=utf-8", x)
}

// postOutlook answers Outlook's autodiscover. Encryption stays out where TLS begins at once: with SSL on, Outlook takes
// the word TLS for STARTTLS.
func (q *webReq) postOutlook() error {
	var ask struct {
		Address string `xml:"Request>EMailAddress"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(q.w, q.r.Body, 64<<10))
	if err != nil {
		return ErrTooBig
	}
	if len(body) > 0 && webReadXML(body, &ask) != nil {
		return q.sendXML(http.StatusBadRequest, "outlook refused", "text/xml; charset=utf-8", webAsked{})
	}
	x, err := q.asked(ask.Address)
	if err != nil {
		return err
	}
	return q.sendXML(http.StatusOK, "outlook", "text/xml; charset=utf-8", x)
}

// webReadXML reads XML in any charset, UTF-16 with its mark too.
func webReadXML(body []byte, into any) error {
	wide := len(body) > 1 && (body[0] == 0 || body[1] == 0 || body[0] >= 0xfe)
	var text io.Reader = bytes.NewReader(body)
	switch {
	case wide && body[0] == 0: // no mark
		text = CharsetReader("utf-16be", text)
	case wide && body[1] == 0:
		text = CharsetReader("utf-16le", text)
	case wide:
		text = CharsetReader("utf-16", text)
	}
	d := xml.NewDecoder(text)
	d.CharsetReader = func(label string, in io.Reader) (io.Reader, error) {
		if wide {
			return in, nil
		}
		return CharsetReader(label, in), nil
	}
	return d.Decode(into)
}

// Protocols are the servers in Outlook's words: without a login name it would take what stands before the @.
func (x webAsked) Protocols() []webProtocol {
	var all []webProtocol
	for _, s := range slices.Concat(x.In, x.Out) {
		all = append(all, webProtocol{s, x.Address})
	}
	return all
}

type webProtocol struct {
	webServer
	Login string
}

// getOutlookJSON tells newer Outlooks where the other answer is.
func (q *webReq) getOutlookJSON() error {
	b, err := json.Marshal(map[string]string{"Protocol": "Autodiscoverv1", "Url": q.site() + "/autodiscover/autodiscover.xml"})
	if err == nil {
		q.send(http.StatusOK, "application/json", b)
	}
	return err
}

// getProfile is Apple's configuration profile: the account without its password, and our root certificate. Its UUIDs
// depend on nothing but host and address, so that a profile loaded again takes the place of the old one.
func (q *webReq) getProfile() error {
	x, err := q.asked(q.r.URL.Query().Get("address"))
	if err != nil {
		return err
	}
	if len(x.In) == 0 || len(x.Out) == 0 {
		return ErrNotFound
	}
	if s, ok := q.webApp.first("IMAP"); ok {
		x.In = []webServer{s}
	}
	x.UUID = func(part string) string {
		mac := hmac.New(sha256.New, []byte("postino profile"))
		fmt.Fprintf(mac, "%s %s %s", part, x.Host, x.Address)
		h := mac.Sum(nil)
		return fmt.Sprintf("%X-%X-%X-%X-%X", h[:4], h[4:6], h[6:8], h[8:10], h[10:16])
	}
	if root := q.s.tls.RootPEM(); root != nil {
		lines := strings.Split(strings.TrimSpace(string(root)), "\n")
		x.Root = strings.Join(lines[1:len(lines)-1], "\n")
	}
	q.attachmentHeaders("postino.mobileconfig", "application/x-apple-aspen-config")
	return q.sendXML(http.StatusOK, "apple", "application/x-apple-aspen-config", x)
}
