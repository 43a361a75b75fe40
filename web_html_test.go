package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// webBadStyle is what no style may contain: whatever fetches, runs, reads, or takes an element out of its place.
var webBadStyle = regexp.MustCompile(`(?i)url|expression|var\(|attr\(|image|@|\\|position|z-index|behavior|binding|content|filter|/\*|!|:\s*-`)

// webHarmless fails if sanitised HTML, as a browser would parse it, has anything but what is allowed.
func webHarmless(t *testing.T, safe webSafe, pictures bool) {
	t.Helper()
	webHarmlessSheet(t, safe.Style)
	out := safe.Body
	doc, err := html.Parse(strings.NewReader("<!doctype html><html><head></head><body>" + out + "</body></html>"))
	if err != nil {
		t.Fatal(err)
	}
	known := strings.Fields("html head body a abbr address article aside b bdi bdo big blockquote br caption center cite code col colgroup dd del " +
		"details dfn div dl dt em figcaption figure font footer h1 h2 h3 h4 h5 h6 header hr i img ins kbd li main mark ol p pre q rp rt ruby s samp section " +
		"small span strike strong sub summary sup table tbody td tfoot th thead time tr tt u ul var wbr")
	attrs := strings.Fields("href src alt dir lang title width height border cellpadding cellspacing hspace vspace colspan rowspan span start value " +
		"align valign bgcolor color size face type style target rel referrerpolicy class id")
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.ElementNode {
			if !slices.Contains(known, n.Data) || n.Namespace != "" {
				t.Errorf("element %s:%s in %.500s", n.Namespace, n.Data, out)
			}
			for _, a := range n.Attr {
				v := strings.ToLower(strings.TrimSpace(a.Val))
				switch {
				case !slices.Contains(attrs, a.Key) || a.Namespace != "":
					t.Errorf("attribute %s of %s in %.500s", a.Key, n.Data, out)
				case a.Key == "class" && v != "leads" && strings.Contains(" "+v, " leads"):
					t.Errorf("class %q", v)
				case a.Key == "class" && v != "leads" && strings.Count(" "+v, " m-") != len(strings.Fields(v)), a.Key == "id" && !strings.HasPrefix(v, "m-"):
					t.Errorf("%s %q is one of ours", a.Key, v)
				case a.Key == "style" && webBadStyle.MatchString(v):
					t.Errorf("style %q", v)
				case a.Key == "href" && !regexp.MustCompile(`^(?:https?://|mailto:|tel:)`).MatchString(v):
					t.Errorf("link to %q", v)
				case a.Key == "src" && !strings.HasPrefix(v, "/inline/") && !regexp.MustCompile(`^data:image/(?:png|jpeg|gif|webp);base64,`).MatchString(v) &&
					(!pictures || !regexp.MustCompile(`^https?://`).MatchString(v)):
					t.Errorf("picture from %q", v)
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(doc)
}

// webHarmlessSheet fails if a style sheet has rules for anything but the mail, or anything that fetches or paints elsewhere.
func webHarmlessSheet(t *testing.T, css string) {
	t.Helper()
	if bad := regexp.MustCompile(`(?i)[<\\"]|/\*|url|expression|import\b|font-face|[:; ]position|z-index|behavior|content:|filter:|(?:margin|padding)[^;{}]*-[0-9]`).FindString(css); bad != "" {
		t.Errorf("%q in the style sheet %.500s", bad, css)
	}
	plain := regexp.MustCompile(`@media [a-z0-9(): ,.-]+\{`).ReplaceAllString(css, "{")
	if strings.Contains(plain, "@") {
		t.Errorf("a rule that is not @media in %.500s", css)
	}
	for _, m := range regexp.MustCompile(`([^{}]+)\{`).FindAllStringSubmatch(plain, -1) {
		for _, s := range strings.Split(m[1], ",") {
			if s != webScope && !strings.HasPrefix(s, webScope+" ") {
				t.Errorf("the selector %q reaches out of the mail", s)
			}
		}
	}
}

func webView(pictures bool) webHTMLView {
	return webHTMLView{Pictures: pictures, Scope: webScope, Inline: func(cid string) string {
		cid, ok := strings.CutPrefix(cid, "cid:")
		if !ok {
			return ""
		}
		if strings.ContainsAny(cid, `"'<> `) {
			return ""
		}
		return "/inline/1/" + cid + "/x"
	}}
}

// TestWebHostileHTML plays the corpus: nothing that could run or fetch comes through.
func TestWebHostileHTML(t *testing.T) {
	files, _ := filepath.Glob("testdata/html/*.html")
	if len(files) < 20 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, pictures := range []bool{false, true} {
			t.Run(strings.TrimSuffix(filepath.Base(f), ".html"), func(t *testing.T) {
				out := webSanitize(string(b), webView(pictures))
				webHarmless(t, out, pictures)
			})
		}
	}
}

// TestWebGoodHTML sees that what people write stays.
func TestWebGoodHTML(t *testing.T) {
	for in, want := range map[string]string{
		`<p style="color:#fff; font-family:'Times New Roman', serif">x</p>`:               `style="color:#fff;font-family:`,
		`<table width="600" cellpadding=20><tr><td bgcolor="#f0f7f0" align=center>x</td>`: `<td bgcolor="#f0f7f0" align="center">`,
		`<img src="cid:pic@x" width=20>`:                                                  `src="/inline/1/pic@x/x"`,
		`<img src="data:image/png;base64,AAAA">`:                                          `src="data:image/png;base64,AAAA"`,
		`<a href="https://x.example/?a=1&amp;b=2">x</a>`:                                  `href="https://x.example/?a=1&amp;b=2" target="_blank" rel="noopener noreferrer nofollow"`,
		`<a href="http://evil.example/">mybank.example</a>`:                               `[→ evil.example]`,
		`<a href="http://www.x.example/">x.example</a> 中文 <b>粗</b>`:                       `中文 <b>粗</b>`,
		`<ul><li>a<ol start="3"><li>b</ol></ul><blockquote dir=rtl>q</blockquote>`:        `<ol start="3">`,
		`<frameset><frame src=x></frameset><p>behind a frame</p>`:                         `<p>behind a frame</p>`,
		`</iframe><p>a</p><iframe src=x>no</iframe><p>behind it</p>`:                      `<p>a</p><p>behind it</p>`,
		`<select><option>a<option label="b &lt;">c</select>`:                              ` a ·  b &lt; c`,
		`<textarea>a <b>c</b>&lt;</textarea>`:                                             `<pre>a &lt;b&gt;c&lt;/b&gt;&lt;</pre>`,
		`<input type=submit value='<b>'><input type=hidden value=x>!`:                     ` [&lt;b&gt;] !`,
		`<input type=image src="cid:pic@x" alt=p>`:                                        `<img alt="p" src="/inline/1/pic@x/x"`,
		`<form style="color:red" action=x><fieldset><legend>l</legend></fieldset></form>`: `<div style="color:red"><div><div>l</div></div></div>`,
		`<svg><text>drawn</text></svg><math><mi>x</mi></math>`:                            `drawnx`,
	} {
		if out := webSanitize(in, webView(false)).Body; !strings.Contains(out, want) {
			t.Errorf("%s became %s, without %s", in, out, want)
		}
	}
	if out := webSanitize(`<a href="http://www.x.example/">x.example</a>`, webView(false)).Body; strings.Contains(out, "→") {
		t.Errorf("a warning about an honest link: %s", out)
	}
	if out := webSanitize(`<img src="http://x.example/a.png" alt="a">`, webView(false)).Body; strings.Contains(out, "src=") {
		t.Errorf("a remote picture without asking: %s", out)
	}
	if out := webSanitize(`<img src="http://x.example/a.png">`, webView(true)).Body; !strings.Contains(out, `src="http://x.example/a.png"`) {
		t.Errorf("no remote picture after asking: %s", out)
	}
}

// TestWebHugeHTML sees that the work for a body is bounded, whatever it is made of.
func TestWebHugeHTML(t *testing.T) {
	size := 3 << 20
	if testing.Short() {
		size = 256 << 10
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, piece := range []string{"<table><a>", "<b><i>", "<p style='color:red;color:red'>", "<p style='margin:1px 0 2px;font:12px \"Segoe UI\",serif;color:rgb(1,2,3)'>", "<style>@media screen{p{color:red}}</style>", "<style>a{", "<img src='cid:x'>", "<a href='http://x.example'>x.example", "<!--", "<![CDATA[", "&amp", "<blockquote>"} {
		start := cpuTime(cpuThread)
		webSanitize(strings.Repeat(piece, size/len(piece)), webView(false))
		webHeight(strings.Repeat(piece, size/len(piece)))
		if d := cpuTime(cpuThread) - start; d > 10*time.Second {
			t.Errorf("%d octets of %s took %v", size, piece, d)
		}
	}
}

func FuzzWebHTML(f *testing.F) {
	files, _ := filepath.Glob("testdata/html/*.html")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, in string) {
		webHarmless(t, webSanitize(in, webView(false)), false)
	})
}

// TestWebCut sees that it is said when a mail is longer than what is shown.
func TestWebCut(t *testing.T) {
	for body, want := range map[string]bool{"<p>x": false, strings.Repeat("<b>", webMaxNodes): false, strings.Repeat("<b>", webMaxNodes+1): true, strings.Repeat("x", webMaxHTML): false,
		strings.Repeat("x", webMaxHTML+1): true} {
		if got := webSanitize(body, webView(false)).Cut; got != want {
			t.Errorf("%d octets, cut: %v", len(body), got)
		}
	}
	s := startServer(t)
	uid := s.put(t, "ann", "INBOX", "Subject: x\nContent-Type: text/html\n\n"+strings.Repeat("<b>x\n", webMaxNodes+1)+"the end", 0)
	ann := newWebClient(t, s).login("ann")
	at := fmt.Sprintf("/box/%s/%d", ann.find(`/box/(\d+)`), uid)
	for _, page := range []string{at + "/html", at + "/print"} {
		ann.get(page)
		ann.want("longer than what is shown")
	}
}

// TestWebFrameHeight guesses how high mails become; the browser test compares one with what it really needs.
func TestWebFrameHeight(t *testing.T) {
	for body, want := range map[string][2]int{
		"<b>Yes!</b>": {100, 100},
		strings.Repeat("<p>"+strings.Repeat("word ", 40)+"</p>", 10):   {900, 1500},
		strings.Repeat("你好", 200):                                      {250, 600},
		"<style>" + strings.Repeat("x", 9000) + "</style>a":            {100, 100},
		strings.Repeat("<div><div><div></div></div></div>", 500) + "a": {100, 100},
		strings.Repeat("a<br>", 1000):                                  {webFrameMost, webFrameMost},
		`<img height=300 src=cid:x><img height=99999 src=cid:y>`:       {1300, 1300},
	} {
		wide, narrow := webHeight(body)
		for i, got := range []int{wide, narrow} {
			if got < want[i] || got > want[i]+want[i]/2 {
				t.Errorf("%.40q: %d and %d pixels, want about %v", body, wide, narrow, want)
			}
		}
	}
}
