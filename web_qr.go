// Set-up of phones and programs: what Thunderbird, Outlook and Apple's devices ask for, the root certificate, the guide.
package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/png"
	"io"
	"net"
	"net/http"
	"strings"
	texttemplate "text/template"
)

func webAutoconfigRoutes() []webRoute {
	all := []webRoute{
		{"GET /devices", webUser, (*webReq).getDevices},
		{"POST /devices", webUser, (*webReq).postDevices},
		{"GET /welcome", webUser, (*webReq).getWelcome},
		{"GET /help", webPublic, (*webReq).getHelp},
		{"GET /help/keys", webPublic, (*webReq).getHelp},
		{"GET /root.crt", webPublic, (*webReq).getRoot},
		{"GET /apple.mobileconfig", webPublic, (*webReq).getProfile},
		{"GET /mail/config-v1.1.xml", webPublic, (*webReq).getThunderbird},
		{"GET /.well-known/autoconfig/mail/config-v1.1.xml", webPublic, (*webReq).getThunderbird},
	}
	all = append(all, webRoute{"GET /autodiscover/autodiscover.json/v1.0/{address}", webPublic, (*webReq).getOutlookJSON},
		webRoute{"GET /autodiscover/autodiscover.json", webPublic, (*webReq).getOutlookJSON})
	// Outlook is not of one mind on capitals.
	for _, p := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"} {
		all = append(all, webRoute{"POST " + p, webPublic, (*webReq).postOutlook}, webRoute{"GET " + p, webPublic, (*webReq).postOutlook})
	}
	return all
}

// webServer is one line of what a mail program has to know.
type webServer struct {
	What, Proto, Host, Security string
	Port                        string
	Socket                      string // in Thunderbird's words
}

// servers lists the ways for mail programs, the best of each kind first: TLS from the first octet on (RFC 8314 §3).
func (a *webApp) servers() (all []webServer) {
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
			if ip := net.ParseIP(host); err != nil || ip != nil && ip.IsLoopback() {
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
	x := webAsked{Domain: q.s.cfg.Domains[0], Host: q.s.asciiHost()}
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
{{range .In}}{{template "protocol" .}}{{end}}{{range .Out}}{{template "protocol" .}}{{end}}</Account></Response></Autodiscover>
{{end}}
{{define "protocol"}}<Protocol><Type>{{.Proto}}</Type><Server>{{xml .Host}}</Server><Port>{{.Port}}</Port><SPA>off</SPA>{{if eq .Socket "SSL"}}<SSL>on</SSL>{{else}}<SSL>on</SSL><Encryption>TLS</Encryption>{{end}}<AuthRequired>on</AuthRequired></Protocol>
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
func (q *webReq) sendXML(name, kind string, x webAsked) error {
	var b bytes.Buffer
	if err := webXML.ExecuteTemplate(&b, name, x); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	q.send(http.StatusOK, kind, b.Bytes())
	return nil
}

// getThunderbird answers Thunderbird, K-9, Evolution, KMail and FairEmail (draft-ietf-mailmaint-autoconfig), over plain
// HTTP too: they look there when a certificate is not known yet.
func (q *webReq) getThunderbird() error {
	x, err := q.asked(q.r.URL.Query().Get("emailaddress"))
	if err != nil {
		return err
	}
	return q.sendXML("thunderbird", "text/xml; charset=utf-8", x)
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
	if len(body) > 0 && xml.Unmarshal(body, &ask) != nil {
		return webFault(http.StatusBadRequest, "This form can't be read.")
	}
	x, err := q.asked(ask.Address)
	if err != nil {
		return err
	}
	return q.sendXML("outlook", "text/xml; charset=utf-8", x)
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
	return q.sendXML("apple", "application/x-apple-aspen-config", x)
}

// What the standard's table 9 says for level M, by version: correction words in each block, and blocks.
var (
	webQRWords  = [...]int{0, 10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26}
	webQRBlocks = [...]int{0, 1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16}
)

// webQR is a code being drawn. fixed marks the modules that are not data: finders, timing, alignment, format, version.
type webQR struct {
	version, size int
	dark, fixed   [][]bool
}

// webQRCode draws a text as a PNG in a data: address.
func webQRCode(text string) (template.URL, error) {
	q, err := webMakeQR([]byte(text))
	if err != nil {
		return "", err
	}
	const scale, quiet = 4, 4
	n := (q.size + 2*quiet) * scale
	img := image.NewPaletted(image.Rect(0, 0, n, n), color.Palette{color.White, color.Black})
	for y := range n {
		for x := range n {
			i, j := y/scale-quiet, x/scale-quiet
			if i >= 0 && j >= 0 && i < q.size && j < q.size && q.dark[i][j] {
				img.SetColorIndex(x, y, 1)
			}
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", err
	}
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// webQRCapacity is how many words a version has in all, and how many are data.
func webQRCapacity(v int) (all, data int) {
	bits := (16*v+128)*v + 64
	if v >= 2 {
		a := v/7 + 2
		bits -= (25*a-10)*a - 55
		if v >= 7 {
			bits -= 36
		}
	}
	all = bits / 8
	return all, all - webQRWords[v]*webQRBlocks[v]
}

func webMakeQR(text []byte) (*webQR, error) {
	for v := 1; v < len(webQRWords); v++ {
		count := 8
		if v >= 10 {
			count = 16
		}
		if _, data := webQRCapacity(v); 4+count+8*len(text) > 8*data {
			continue
		}
		q := &webQR{version: v, size: 4*v + 17}
		for range q.size {
			q.dark, q.fixed = append(q.dark, make([]bool, q.size)), append(q.fixed, make([]bool, q.size))
		}
		q.patterns()
		q.place(webQRInterleave(webQRData(text, v, count), v))
		q.mask()
		return q, nil
	}
	return nil, errors.New("too long for a QR code")
}

// webQRData is the bit stream: mode, length, text, terminator, padding.
func webQRData(text []byte, v, count int) []byte {
	_, size := webQRCapacity(v)
	out := make([]byte, 0, size)
	n := 0
	put := func(value uint, bits int) {
		for i := bits - 1; i >= 0; i-- {
			if n%8 == 0 {
				out = append(out, 0)
			}
			out[n/8] |= byte(value>>i&1) << (7 - n%8)
			n++
		}
	}
	put(4, 4)
	put(uint(len(text)), count)
	for _, c := range text {
		put(uint(c), 8)
	}
	put(0, min(4, 8*size-n))
	put(0, (8-n%8)%8)
	for pad := byte(0xec); len(out) < size; pad ^= 0xec ^ 0x11 {
		out = append(out, pad)
	}
	return out
}

// webQRInterleave divides the data into blocks, adds the correction words of each, and deals them out in turn.
func webQRInterleave(data []byte, v int) []byte {
	blocks, ec := webQRBlocks[v], webQRWords[v]
	all, _ := webQRCapacity(v)
	short := all/blocks - ec
	longs := all % blocks
	divisor := webQRDivisor(ec)
	var parts, checks [][]byte
	for i := range blocks {
		n := short
		if i >= blocks-longs {
			n++
		}
		parts, checks = append(parts, data[:n]), append(checks, webQRRemainder(data[:n], divisor))
		data = data[n:]
	}
	var out []byte
	for i := range short + 1 {
		for _, p := range parts {
			if i < len(p) {
				out = append(out, p[i])
			}
		}
	}
	for i := range ec {
		for _, c := range checks {
			out = append(out, c[i])
		}
	}
	return out
}

// webQRMul multiplies in GF(2⁸) modulo x⁸+x⁴+x³+x²+1.
func webQRMul(a, b byte) (p byte) {
	for i := 7; i >= 0; i-- {
		p = p<<1 ^ p>>7*0x1d
		p ^= b >> i & 1 * a
	}
	return p
}

func webQRDivisor(degree int) []byte {
	d := make([]byte, degree)
	d[degree-1] = 1
	root := byte(1)
	for range degree {
		for j := range d {
			d[j] = webQRMul(d[j], root)
			if j+1 < degree {
				d[j] ^= d[j+1]
			}
		}
		root = webQRMul(root, 2)
	}
	return d
}

func webQRRemainder(data, divisor []byte) []byte {
	r := make([]byte, len(divisor))
	for _, b := range data {
		f := b ^ r[0]
		r = append(r[1:], 0)
		for i := range r {
			r[i] ^= webQRMul(divisor[i], f)
		}
	}
	return r
}

func (q *webQR) set(y, x int, dark bool) { q.dark[y][x], q.fixed[y][x] = dark, true }

// patterns draws everything that is not data.
func (q *webQR) patterns() {
	for i := range q.size {
		q.set(6, i, i%2 == 0)
		q.set(i, 6, i%2 == 0)
	}
	for _, c := range [][2]int{{3, 3}, {3, q.size - 4}, {q.size - 4, 3}} {
		q.square(c[0], c[1], 4)
	}
	at := q.alignments()
	for i, y := range at {
		for j, x := range at {
			if !(i == 0 && j == 0 || i == 0 && j == len(at)-1 || i == len(at)-1 && j == 0) {
				q.square(y, x, 2)
			}
		}
	}
	q.format(0)
	if q.version < 7 {
		return
	}
	rem := q.version
	for range 12 {
		rem = rem<<1 ^ rem>>11*0x1f25
	}
	for i := range 18 {
		bit := (q.version<<12|rem)>>i&1 == 1
		q.set(q.size-11+i%3, i/3, bit)
		q.set(i/3, q.size-11+i%3, bit)
	}
}

// square draws rings around a centre: a finder (with its white border) for radius 4, an alignment mark for 2.
func (q *webQR) square(cy, cx, r int) {
	for dy := -r; dy <= r; dy++ {
		for dx := -r; dx <= r; dx++ {
			y, x := cy+dy, cx+dx
			if y < 0 || x < 0 || y >= q.size || x >= q.size {
				continue
			}
			d := max(dy, -dy, dx, -dx)
			q.set(y, x, d != 4 && (r == 4 && d != 2 || r == 2 && d != 1))
		}
	}
}

func (q *webQR) alignments() []int {
	if q.version == 1 {
		return nil
	}
	n := q.version/7 + 2
	step := (q.version*4 + n*2 + 1) / (n*2 - 2) * 2
	at := make([]int, n)
	at[0] = 6
	for i, p := n-1, q.size-7; i > 0; i, p = i-1, p-step {
		at[i] = p
	}
	return at
}

// format writes the level (M is 00) and the mask, twice.
func (q *webQR) format(mask int) {
	rem := mask
	for range 10 {
		rem = rem<<1 ^ rem>>9*0x537
	}
	bits := (mask<<10 | rem) ^ 0x5412
	bit := func(i int) bool { return bits>>i&1 == 1 }
	for i := range 6 {
		q.set(i, 8, bit(i))
	}
	q.set(7, 8, bit(6))
	q.set(8, 8, bit(7))
	q.set(8, 7, bit(8))
	for i := 9; i < 15; i++ {
		q.set(8, 14-i, bit(i))
	}
	for i := range 8 {
		q.set(8, q.size-1-i, bit(i))
	}
	for i := 8; i < 15; i++ {
		q.set(q.size-15+i, 8, bit(i))
	}
	q.set(q.size-8, 8, true)
}

// place puts the words in, in columns of two from the right, up and down in turn.
func (q *webQR) place(words []byte) {
	n := 0
	for right := q.size - 1; right >= 1; right -= 2 {
		if right == 6 {
			right = 5
		}
		for v := range q.size {
			for j := range 2 {
				x, y := right-j, v
				if (right+1)&2 == 0 {
					y = q.size - 1 - v
				}
				if !q.fixed[y][x] && n < 8*len(words) {
					q.dark[y][x] = words[n/8]>>(7-n%8)&1 == 1
					n++
				}
			}
		}
	}
}

// mask tries the eight masks and keeps the one with the fewest long runs and blocks.
func (q *webQR) mask() {
	best, least := 0, 1<<30
	for m := range 8 {
		q.flip(m)
		q.format(m)
		if p := q.penalty(); p < least {
			best, least = m, p
		}
		q.flip(m)
	}
	q.flip(best)
	q.format(best)
}

func (q *webQR) flip(m int) {
	for y := range q.size {
		for x := range q.size {
			var hit bool
			switch m {
			case 0:
				hit = (x+y)%2 == 0
			case 1:
				hit = y%2 == 0
			case 2:
				hit = x%3 == 0
			case 3:
				hit = (x+y)%3 == 0
			case 4:
				hit = (x/3+y/2)%2 == 0
			case 5:
				hit = x*y%2+x*y%3 == 0
			case 6:
				hit = (x*y%2+x*y%3)%2 == 0
			case 7:
				hit = ((x+y)%2+x*y%3)%2 == 0
			}
			if hit && !q.fixed[y][x] {
				q.dark[y][x] = !q.dark[y][x]
			}
		}
	}
}

// penalty scores runs of one colour and blocks of two by two, which is enough to avoid the masks that readers dislike.
func (q *webQR) penalty() (p int) {
	for i := range q.size {
		rowRun, colRun := 1, 1
		for j := 1; j < q.size; j++ {
			rowRun = webQRRun(&p, rowRun, q.dark[i][j] == q.dark[i][j-1])
			colRun = webQRRun(&p, colRun, q.dark[j][i] == q.dark[j-1][i])
			if i > 0 && q.dark[i][j] == q.dark[i-1][j] && q.dark[i][j] == q.dark[i][j-1] && q.dark[i][j] == q.dark[i-1][j-1] {
				p += 3
			}
		}
	}
	return p
}

func webQRRun(p *int, run int, same bool) int {
	if !same {
		return 1
	}
	if run++; run == 5 {
		*p += 3
	} else if run > 5 {
		*p++
	}
	return run
}
