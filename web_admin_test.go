package main

import (
	"archive/zip"
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// webListen is what the appliance says that it listens on.
var webListen = []string{"[listen]", `imaps = [":2993"]`, `imap = [":2143"]`, `pop3s = [":2995"]`, `pop3 = [":2110"]`, `submissions = [":2465"]`, `submission = [":2587"]`}

// TestWebAutoconfig asks for the set-up files as programs do: by name, by number, under .local, over plain HTTP.
func TestWebAutoconfig(t *testing.T) {
	s := startServer(t, webListen...)
	c := newWebClient(t, s)
	get := func(method, host, path, body string) string {
		t.Helper()
		r, err := http.NewRequest(method, c.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Host = host
		r.Header.Set("Content-Type", "text/xml")
		c.do(r)
		return c.page
	}
	for _, host := range []string{"127.0.0.1:8080", "[fe80::1]:8080", "mx.home.arpa", "mx.local:8080", "autoconfig.home.arpa", "home.arpa"} {
		for _, path := range []string{"/mail/config-v1.1.xml?emailaddress=ann%40home.arpa", "/.well-known/autoconfig/mail/config-v1.1.xml"} {
			var x struct {
				Provider struct {
					ID     string `xml:"id,attr"`
					Domain string `xml:"domain"`
					In     []struct {
						Type     string `xml:"type,attr"`
						Hostname string `xml:"hostname"`
						Port     int    `xml:"port"`
						Socket   string `xml:"socketType"`
						User     string `xml:"username"`
					} `xml:"incomingServer"`
					Out []struct {
						Port   int    `xml:"port"`
						Socket string `xml:"socketType"`
					} `xml:"outgoingServer"`
				} `xml:"emailProvider"`
			}
			body := get("GET", host, path, "")
			if err := xml.Unmarshal([]byte(body), &x); err != nil || c.head.Get("Content-Type") != "text/xml; charset=utf-8" {
				t.Fatalf("%s%s: %v, %s\n%s", host, path, err, c.head.Get("Content-Type"), body)
			}
			p := x.Provider
			if p.ID != "home.arpa" || p.Domain != "home.arpa" || len(p.In) != 4 || len(p.Out) != 2 {
				t.Fatalf("%s%s: %+v", host, path, p)
			}
			if in := p.In[0]; in.Type != "imap" || in.Hostname != "mx.home.arpa" || in.Port != 2993 || in.Socket != "SSL" || in.User != "%EMAILADDRESS%" {
				t.Errorf("%s%s: the first server is %+v", host, path, in)
			}
			if p.In[1].Socket != "STARTTLS" || p.Out[0].Port != 2465 || p.Out[0].Socket != "SSL" || p.Out[1].Socket != "STARTTLS" {
				t.Errorf("%s%s: %+v", host, path, p)
			}
		}
	}
	ask := `<?xml version="1.0"?><Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request><EMailAddress>ann@home.arpa</EMailAddress>` +
		`<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema></Request></Autodiscover>`
	for _, path := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml"} {
		var x struct {
			XMLName   xml.Name `xml:"http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006 Autodiscover"`
			Protocols []struct {
				Type, Server, Port, SSL, Encryption string
			} `xml:"Response>Account>Protocol"`
		}
		if err := xml.Unmarshal([]byte(get("POST", "autodiscover.home.arpa", path, ask)), &x); err != nil || len(x.Protocols) != 6 {
			t.Fatalf("%s: %v %s", path, err, c.page)
		}
		for _, p := range x.Protocols {
			implicit := p.Port == "2993" || p.Port == "2995" || p.Port == "2465"
			if p.SSL != "on" || (p.Encryption == "") != implicit || p.Encryption != "" && p.Encryption != "TLS" {
				t.Errorf("%s: %+v", path, p) // with TLS in Encryption Outlook says STARTTLS to a port that speaks TLS at once
			}
		}
	}
	if get("POST", "127.0.0.1", "/autodiscover/autodiscover.xml", "<broken"); c.code != 400 {
		t.Errorf("a broken question: %d", c.code)
	}
	if get("POST", "127.0.0.1", "/autodiscover/autodiscover.xml", strings.ReplaceAll(ask, "home.arpa", "elsewhere.example")); c.code != 404 {
		t.Errorf("another's domain: %d", c.code)
	}
	if get("GET", "127.0.0.1", "/autodiscover/autodiscover.json/v1.0/ann@home.arpa?Protocol=Autodiscoverv1", ""); !strings.Contains(c.page, `"Url":"http://127.0.0.1/autodiscover/autodiscover.xml"`) {
		t.Errorf("the newer Outlook got %s", c.page)
	}
	webCheckProfile(t, s, get("GET", "192.0.2.7:8080", "/apple.mobileconfig?address=ann%40home.arpa", ""), c.head)
	if get("GET", "127.0.0.1", "/root.crt", ""); c.head.Get("Content-Type") != "application/x-x509-ca-cert" {
		t.Errorf("the root is %s", c.head.Get("Content-Type"))
	}
	if root, err := x509.ParseCertificate([]byte(c.page)); err != nil || !root.IsCA {
		t.Errorf("the root certificate: %v", err)
	}
}

// webCheckProfile reads Apple's property list: keys and values in turn, and our root inside.
func webCheckProfile(t *testing.T, s *testServer, body string, head http.Header) {
	t.Helper()
	if got := head.Get("Content-Type"); got != "application/x-apple-aspen-config" {
		t.Errorf("the profile is %s", got)
	}
	got := map[string]string{}
	d := xml.NewDecoder(strings.NewReader(body))
	key, last := "", ""
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the profile is not well-formed: %v\n%s", err, body)
		}
		switch x := tok.(type) {
		case xml.CharData:
			last = strings.TrimSpace(string(x))
		case xml.EndElement:
			switch x.Name.Local {
			case "key":
				key = last
			case "string", "integer", "data":
				got[key] = last
			case "true":
				got[key] = "true"
			}
		}
	}
	for k, want := range map[string]string{"EmailAddress": "ann@home.arpa", "EmailAccountType": "EmailTypeIMAP", "IncomingMailServerHostName": "mx.home.arpa",
		"IncomingMailServerPortNumber": "2993", "IncomingMailServerUseSSL": "true", "IncomingMailServerUsername": "ann@home.arpa",
		"OutgoingMailServerPortNumber": "2465", "OutgoingMailServerUseSSL": "true", "OutgoingPasswordSameAsIncomingPassword": "true"} {
		if got[k] != want {
			t.Errorf("profile: %s is %q, want %q", k, got[k], want)
		}
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(got["PayloadContent"]), ""))
	if err != nil {
		t.Fatal(err)
	}
	if root, err := x509.ParseCertificate(der); err != nil || !root.IsCA {
		t.Errorf("the profile's root: %v", err)
	}
}

// TestWebAdmin does what administrators do, and what they must not be able to do to themselves.
func TestWebAdmin(t *testing.T) {
	s := startServer(t, append([]string{"[routes]", `"lab2.arpa" = "127.0.0.1:1"`}, webListen...)...)
	s.hasty()
	s.admin(t, "ann")
	ann, bob := newWebClient(t, s).login("ann"), newWebClient(t, s).login("bob")
	at := ""
	act := func(want int, fields ...string) {
		t.Helper()
		ann.get(at)
		if ann.post(at, fields...); ann.code != want {
			t.Errorf("%s %q: %d %.500s", at, fields, ann.code, ann.page)
		}
	}
	at = "/admin/users"
	act(200, "name", "rose", "password", "secret rose", "quota", "1")
	ann.want("rose@home.arpa can log in now.", "1.0 MB")
	for name, password := range map[string]string{"rose": "secret rose", "a b": "good secret", "x@elsewhere.example": "good secret", "short": "1234567"} {
		act(422, "name", name, "password", password)
	}
	ann.get(at)
	rose := ann.find(`href="(/admin/users/\d+)">rose@`)
	if !s.tryLogin(t, "imap", "rose", "\"secret rose\"") {
		t.Error("rose can't log in")
	}
	at = rose
	act(200, "do", "password", "password", "new password")
	if s.tryLogin(t, "imap", "rose", "\"secret rose\"") || !s.tryLogin(t, "imap", "rose", "\"new password\"") {
		t.Error("the password was not changed")
	}
	act(200, "do", "save", "quota", "5", "disabled", "1")
	ann.want(`value="5"`)
	if s.tryLogin(t, "imap", "rose", "\"new password\"") {
		t.Error("a locked user can log in")
	}
	ann.get("/admin/users")
	at = ann.find(`href="(/admin/users/\d+)">bob@`)
	act(200, "do", "logout")
	if bob.get("/mail"); !strings.HasPrefix(bob.at, "/login") {
		t.Error("bob was not logged out")
	}
	ann.get("/admin/users")
	at = ann.find(`href="(/admin/users/\d+)">ann@`)
	act(422, "do", "remove", "sure", "1")
	act(422, "do", "save", "quota", "")
	act(422, "do", "save", "admin", "1", "disabled", "1")
	at = rose
	act(200, "do", "remove")
	ann.want("Remove this user with all mail?")
	act(200, "do", "remove", "sure", "1")
	if ann.get(rose); ann.code != 404 {
		t.Errorf("rose is still there: %d", ann.code)
	}

	at = "/admin/aliases"
	act(200, "do", "add", "address", "info", "targets", "ann, bob")
	ann.want("<td>info@home.arpa</td>", ">ann@home.arpa, bob@home.arpa</td>")
	act(422, "do", "add", "address", "ann", "targets", "bob")
	act(422, "do", "add", "address", "x@elsewhere.example", "targets", "bob")
	act(422, "do", "add", "address", "y", "targets", "not an address at all <>")
	act(422, "do", "add", "address", "y", "targets", "nobody")
	act(200, "do", "remove", "address", "info@home.arpa")
	if strings.Contains(ann.page, "info@home.arpa<") {
		t.Error("the alias is still there")
	}

	at = "/admin/shared"
	act(200, "do", "create", "name", "Bills")
	box := ann.find(`name="box" value="(\d+)"`)
	bob = newWebClient(t, s).login("bob")
	bob.want("Bills")
	act(200, "do", "rights", "box", box, "who", "anyone", "level", "may read")
	bob.get("/settings/data")
	bob.upload("/settings/import", "file", func(add func(string, io.Reader)) { add("x.eml", strings.NewReader("Subject: x\n\nx\n")) }, "box", box)
	if bob.code != 403 {
		t.Errorf("an import into a folder that may only be read: %d", bob.code)
	}
	bob.get("/mail")
	if bob.post("/act", "m", box+".1", "do", "delete"); bob.code == 200 && strings.Contains(bob.page, "1 message moved") {
		t.Error("a message was deleted from a folder that may only be read")
	}
	act(200, "do", "rights", "box", box, "who", "anyone", "level", "")
	if bob.get("/box/" + box); bob.code != 404 {
		t.Errorf("a folder without rights: %d", bob.code)
	}
	act(200, "do", "remove", "box", box)

	for _, to := range []string{"one", "two"} {
		ann.get("/compose")
		ann.letter(nil, "to", to+"@lab2.arpa", "subject", "to lab two", "text", "x", "do", "send")
	}
	s.hurry(t)
	ann.waitFor("/admin/queue", "two@lab2.arpa")
	at = "/admin/queue"
	id := ann.find(`name="match" value="([^"]+)"`)
	act(200, "do", "hold", "match", id)
	ann.want("Done for", "on hold")
	act(200, "do", "release", "match", id)
	act(200, "do", "retry", "match", "")
	act(200, "do", "rm", "match", id)
	ann.want("Take this out of the queue?")
	act(200, "do", "rm", "match", id, "sure", "1")
	act(400, "do", "rm", "match", "", "sure", "1")

	bob.get("/devices")
	bob.post("/devices", "do", "add", "name", "camera", "old", "secret")
	password := bob.find(`class="secret">([^<]+)<`)
	at = "/admin/devices"
	ann.get(at)
	ann.want("camera")
	act(200, "user", ann.find(`name="user" value="(\d+)"`), "id", ann.find(`name="id" value="(\d+)"`))
	if s.tryLogin(t, "imap", "bob", password) {
		t.Error("the device that the administrator removed still logs in")
	}
	for _, page := range []string{"/admin", "/admin/log", "/admin/dns"} {
		if ann.get(page); ann.code != 200 {
			t.Errorf("%s: %d", page, ann.code)
		}
	}
	ann.want("home.arpa. MX 10 mx.home.arpa.", "_submissions._tcp.home.arpa. SRV 0 1 2465 mx.home.arpa.", "_imaps._tcp.home.arpa. SRV 0 1 2993 mx.home.arpa.")
}

// TestWebExchange takes a mailbox out as an archive and another way in again, the address book likewise, and opens a
// downloaded backup as the file that it is.
func TestWebExchange(t *testing.T) {
	s := startServer(t)
	s.admin(t, "ann")
	mails := []string{"From: bob@home.arpa\nSubject: one\n\nFrom the beginning\n>From quoted\n\n", "Subject: 二\nContent-Type: text/plain; charset=utf-8\n\n你好\n", "Subject: three\n\nno end of line"}
	for i, m := range mails {
		s.put(t, "ann", "INBOX", m, []FlagBits{0, FlagSeen | FlagFlagged, FlagAnswered}[i])
	}
	ann := newWebClient(t, s).login("ann")
	archive := ann.get("/settings/export")
	ann.post2("/folders", "do", "create", "name", "Copy")
	box := ann.find(`href="/box/(\d+)">Copy`)
	ann.get("/settings/data")
	ann.upload("/settings/import", "file", func(add func(string, io.Reader)) { add("ann.zip", strings.NewReader(archive)) }, "box", box)
	ann.want("3 messages imported.")
	var long bytes.Buffer // a list of files that would be kept in memory
	z := zip.NewWriter(&long)
	for i := range webMaxListing / 100 {
		z.Create(fmt.Sprintf("%060d.eml", i))
	}
	z.Close()
	ann.upload("/settings/import", "file", func(add func(string, io.Reader)) { add("long.zip", &long) }, "box", box)
	ann.want("This archive can&#39;t be read.")
	ann.get("/settings/data")
	var list []Message
	s.write(t, func(tx *Tx) (err error) {
		list, err = tx.Newest(webID[MailboxID](box), ^UID(0), 10)
		return err
	})
	for i, m := range list {
		want := strings.ReplaceAll(mails[len(mails)-1-i], "\n", "\r\n")
		c, err := s.store.Content(m.Blob)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(c.Reader())
		if got := strings.TrimRight(string(b), "\r\n"); !strings.HasSuffix(got, strings.TrimRight(want, "\r\n")) {
			t.Errorf("message %d came back as %q, was %q", i, b, want)
		}
	}
	if len(list) != 3 || list[1].Flags.Bits != FlagSeen|FlagFlagged || list[0].Flags.Bits&FlagAnswered == 0 || list[2].Flags.Bits&FlagSeen != 0 {
		t.Errorf("flags after the way there and back: %+v", list)
	}

	people := [][2]string{{"王小明", "wang@lab.arpa"}, {`O'Neil; "Bob", the \ second`, "bob@home.arpa"}, {"", "nameless@home.arpa"}, {strings.Repeat("long 长 ", 25), "long@home.arpa"}}
	for _, p := range people {
		ann.get("/contacts")
		ann.post("/contacts", "do", "add", "name", p[0], "address", p[1], "phone", "+41 1; 2", "note", "line, two")
	}
	cards := ann.get("/contacts/export")
	for _, line := range strings.Split(cards, "\r\n") {
		if len(line) > 75 || strings.Contains(line, "\n") {
			t.Errorf("a line of the vCards has %d octets: %q", len(line), line)
		}
	}
	ann.get("/contacts")
	before := ann.page
	for _, p := range people {
		ann.post("/contacts", "do", "remove", "address", p[1])
	}
	ann.upload("/contacts/import", "file", func(add func(string, io.Reader)) { add("c.vcf", strings.NewReader(cards)) })
	ann.want("4 addresses imported.")
	ann.get("/contacts")
	named := strings.NewReplacer("<td></td>\n<td><a href=\"/compose?to=nameless%40home.arpa\"", "<td>nameless@home.arpa</td>\n<td><a href=\"/compose?to=nameless%40home.arpa\"")
	rows := regexp.MustCompile(`<tr>\s*<td>(.*?)</td>\s*<td><a href[^>]*>(.*?)</a></td>\s*<td>(.*?)</td>\s*<td class="words">(.*?)</td>`)
	if a, b := rows.FindAllString(named.Replace(before), -1), rows.FindAllString(ann.page, -1); len(b) != 4 || strings.Join(webSorted(a), "\n") != strings.Join(webSorted(b), "\n") {
		t.Errorf("the address book came back as\n%s\nwas\n%s", strings.Join(b, "\n"), strings.Join(a, "\n"))
	}
	got, _, err := webCards(strings.NewReader("BEGIN:VCARD\r\nVERSION:2.1\r\nFN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=E7=8E=8B\r\nEMAIL;INTERNET:wang@lab.arpa\r\nEND:VCARD\r\n" +
		"BEGIN:VCARD\nVERSION:3.0\nFN:Bob\n  Smith\nitem1.EMAIL;type=HOME:bob@x.example\nEMAIL:not an address\nEMAIL:bob@y.example\nTEL:1\nTEL:2\nEND:VCARD\n"))
	if err != nil || len(got) != 3 || got[0].Name != "王" || got[1].Name != "Bob Smith" || got[2].Address != "bob@y.example" || got[2].Phone != "1" {
		t.Errorf("older vCards: %+v %v", got, err)
	}

	file := filepath.Join(t.TempDir(), "backup.db")
	ann.get("/admin")
	if err := os.WriteFile(file, []byte(ann.post("/admin/backup", "old", "secret")), 0o600); err != nil {
		t.Fatal(err)
	}
	st, err := OpenStore(file, StoreOptions{Service: true})
	if err != nil {
		t.Fatal("the backup does not open: ", err)
	}
	defer st.Close()
	err = st.Read(func(tx *Tx) error {
		u, err := tx.UserByName("ann@home.arpa")
		if err != nil {
			return err
		}
		m, err := tx.MailboxByName(u.ID, "INBOX")
		if m.Exists != 3 {
			t.Errorf("the backup's inbox has %d messages", m.Exists)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(s.path), ".backup-*")); len(left) != 0 {
		t.Errorf("left behind: %s", left)
	}
}

func webSorted(list []string) []string {
	slices.Sort(list)
	return list
}

// post2 posts from the page that the form is on.
func (c *webClient) post2(path string, fields ...string) string {
	c.t.Helper()
	c.get(path)
	return c.post(path, fields...)
}

// TestWebMetrics sees who may read the figures.
func TestWebMetrics(t *testing.T) {
	s := startServer(t)
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	ann.get("/admin")
	token := ann.find(`with this token:[^<]*<span class="code">([^<]+)<`)
	ask := func(remote, auth, via string) (int, string) {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.RemoteAddr, r.Host = remote, "127.0.0.1"
		if auth != "" {
			r.Header.Set("Authorization", auth)
		}
		if via != "" {
			r.Header.Set("X-Forwarded-For", via)
		}
		w := httptest.NewRecorder()
		s.web.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for _, x := range []struct {
		remote, auth, via string
		want              int
	}{
		{"127.0.0.1:5", "", "", 200}, {"[::1]:5", "", "", 200}, {"192.0.2.1:5", "", "", 404}, {"192.0.2.1:5", "Bearer ", "", 404},
		{"192.0.2.1:5", "Bearer " + token, "", 200}, {"192.0.2.1:5", "Bearer " + token + "x", "", 404}, {"127.0.0.1:5", "", "203.0.113.9", 404},
	} {
		code, body := ask(x.remote, x.auth, x.via)
		if code != x.want || (code == 200) != strings.Contains(body, "\npostino_users 2\n") {
			t.Errorf("%+v: %d\n%.200s", x, code, body)
		}
	}
	_, body := ask("127.0.0.1:5", "", "")
	for _, line := range strings.Split(strings.TrimSpace(body), "\n") {
		if !regexp.MustCompile(`^(# (HELP|TYPE) postino_\w+ .+|postino_\w+ \d+)$`).MatchString(line) {
			t.Errorf("not Prometheus' format: %q", line)
		}
	}
	if ann.get("/healthz"); ann.code != 200 || ann.page != "ok\n" {
		t.Errorf("/healthz: %d %q", ann.code, ann.page)
	}
}

// TestWebQRCodes has another program read our QR codes, of every size there is.
func TestWebQRCodes(t *testing.T) {
	zbar, err := exec.LookPath("zbarimg")
	if err != nil {
		skip(t, "zbarimg is not installed")
	}
	texts := []string{"http://192.168.7.5:8080/root.crt", webKeyAddress("mx.home.arpa", "ann@home.arpa", webNewSecret())}
	for n := 1; n < 650; n += 31 {
		texts = append(texts, strings.Repeat("http://postino.local/", 40)[:n])
	}
	for _, text := range texts {
		address, err := webQRCode(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(address), "data:image/png;base64,"))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), "qr.png")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := exec.Command(zbar, "-q", "--raw", "--nodbus", file).Output(); err != nil || strings.TrimSuffix(string(got), "\n") != text {
			t.Errorf("%d letters were read as %q, %v", len(text), got, err)
		}
	}
	if _, err := webQRCode(strings.Repeat("x", 700)); err == nil {
		t.Error("a text that fits into no code made one")
	}
}

// FuzzWebOutlook sends anything as Outlook's question: the answer is XML that can be read, or an error that is not ours.
func FuzzWebOutlook(f *testing.F) {
	for _, q := range []string{"", "<broken", "<a/>", `<?xml version="1.0"?><Autodiscover><Request><EMailAddress>ann@home.arpa</EMailAddress></Request></Autodiscover>`,
		`<!DOCTYPE a [<!ENTITY b "x">]><a><Request><EMailAddress>&b;</EMailAddress></Request></a>`, "<a><Request><EMailAddress>\"&lt;x>\"@home.arpa</EMailAddress></Request></a>",
		`<?xml version="1.0" encoding="gbk"?><a/>`, "<a><Request><EMailAddress>]]&gt;@x</EMailAddress></Request></a>"} {
		f.Add(q)
	}
	site := startServer(f).webHandler()
	f.Fuzz(func(t *testing.T, q string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "http://127.0.0.1/autodiscover/autodiscover.xml", strings.NewReader(q))
		site.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Fatalf("%q: %d %s", q, w.Code, w.Body)
		}
		var x struct {
			XMLName xml.Name
		}
		if w.Code == http.StatusOK {
			if err := xml.Unmarshal(w.Body.Bytes(), &x); err != nil || x.XMLName.Local != "Autodiscover" {
				t.Fatalf("%q: %v %s", q, err, w.Body)
			}
		}
	})
}

// TestWebAdminDevices sees what sends without a login: entries of [[device]], with the rate that holds where none is given.
func TestWebAdminDevices(t *testing.T) {
	s := startServer(t, "[[device]]", `name = "scanner"`, `network = "192.168.1.20"`, "old_tls = true",
		"[[device]]", `name = "camera"`, `network = "192.168.2.0/24"`, `sender = "camera@home.arpa"`, "rate = 40")
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	ann.get("/devices")
	ann.press("/devices", "do", "add", "name", "Old laptop", "old", "secret")
	ann.get("/admin/devices")
	ann.want("Old laptop", "scanner", "192.168.1.20", "what it says itself", "300 an hour", "old TLS", "camera@home.arpa", "40 an hour", "[[device]]")
}

// TestWebFaults lets something panic: the administrator's first page and the figures say so.
func TestWebFaults(t *testing.T) {
	s := startServer(t)
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	if ann.get("/admin"); strings.Contains(ann.page, "A fault in Postino") {
		t.Error("a fault is shown before there was one")
	}
	for range 2 {
		if err := s.crew.Guard("this test", func() error { panic("on purpose") }); err == nil {
			t.Fatal("no error")
		}
	}
	ann.get("/admin")
	ann.want("A fault in Postino, in this test: 2 since the start")
	ann.get("/metrics")
	ann.want(`postino_faults_total{in="this test"} 2`, "postino_bounced_total 0")
	s.went.Add(90)
	s.refused.Add(9)
	ann.get("/admin")
	if strings.Contains(ann.page, "were refused") {
		t.Error("nine of a hundred are many")
	}
	s.refused.Add(3)
	ann.get("/admin")
	ann.want("Of 102 recipients elsewhere since the start 12 were refused")
}
