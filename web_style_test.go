package main

import (
	"strings"
	"testing"
)

// TestWebStyleAttribute says what stays of style attributes: what a browser would read otherwise than we do is written
// anew or gone.
func TestWebStyleAttribute(t *testing.T) {
	for in, want := range map[string]string{
		`color:red`:                              `color:red`,
		`COLOR : Red ; ; font-size:12pt`:         `color:Red;font-size:12pt`,
		`c\6f lor:red`:                           `color:red`,
		`c\00006Flor:#Fff`:                       `color:#Fff`,
		`color:/* x */red`:                       `color:red`,
		`color:r/**/ed`:                          `color:r ed`,
		`width:url(http://x.example)`:            ``,
		`background:#fff url("x.png") no-repeat`: ``,
		`background:#FFF`:                        `background:#FFF`,
		`background:u\72l(x)`:                    ``,
		`width:expression(alert(1))`:             ``,
		`width:exp/**/ression(1)`:                ``,
		`width:calc(1px - 300px)`:                ``,
		`width:var(--x)`:                         ``,
		`color:rgba(1, 2,3 ,.5)`:                 `color:rgba(1, 2,3 ,.5)`,
		`color:rgb(1,attr(x),3)`:                 ``,
		`margin:-1px`:                            ``,
		`margin:0 0 -200px 0`:                    ``,
		`margin:0 0 \-200px 0`:                   ``,
		`margin:0 0 -/**/200px`:                  ``,
		`margin:0 auto -.5em`:                    ``,
		`margin:0 -0px`:                          ``,
		`margin-left:-999px/*\123456*/`:          ``,
		`font-family:\123456,url(x)`:             ``,
		`border:1px solid var(--a,\123456)`:      ``,
		`letter-spacing:-0.5px`:                  `letter-spacing:-0.5px`,
		`position:fixed;top:0;color:red`:         `color:red`,
		`z-index:9;p\6fsition:absolute`:          ``,
		`height:100vh`:                           ``,
		`margin-top:1e9px`:                       ``,
		`margin-top:99999px`:                     ``,
		`margin-top:10px!important`:              `margin-top:10px !important`,
		`color:red !x`:                           ``,
		`font-family:'Segoe UI', "A&B", serif`:   ``,
		`font-family:"Segoe UI",serif`:           `font-family:'Segoe UI',serif`,
		`color:"red"`:                            ``,
		`color:red;}body{color:blue`:             `color:red`,
		`color:red;a{b:c};width:1px`:             `color:red;width:1px`,
		`color:(red;width:1px`:                   ``,
		`mso-line-height:1;line-height:1.5`:      `line-height:1.5`,
		`-moz-binding:url(x);behavior:url(y)`:    ``,
		`color:re\` + "\n" + `d`:                 ``,
		"color:\x00red":                          ``,
	} {
		s := &webStyler{}
		if got := s.attribute(in); got != want {
			t.Errorf("%q became %q, not %q", in, got, want)
		}
	}
}

// TestWebStyleSheet says the same of style sheets, whose rules hold for the mail alone.
func TestWebStyleSheet(t *testing.T) {
	const x = "applet.mail"
	for in, want := range map[string]string{
		`p{color:red}`:                                       x + ` p{color:red}`,
		`<!-- p{color:red} -->`:                              x + ` p{color:red}`,
		`.hero, td.x > a:hover {color:red}`:                  x + ` .m-hero,` + x + ` td.m-x>a:hover{color:red}`,
		`body{color:red} html body p{width:1px}`:             x + `{color:red}` + x + ` p{width:1px}`,
		`:root{color:red} * html p{color:red}`:               x + `{color:red}`,
		`*{color:red} span.x{color:red}`:                     x + ` *:not(:where(.leads)){color:red}` + x + ` span:not(:where(.leads)).m-x{color:red}`,
		`.leads{display:none} .mail{display:none}`:           x + ` .m-leads{display:none}` + x + ` .m-mail{display:none}`,
		`table[class="w"] td[class=c]{width:100%!important}`: x + ` table.m-w td.m-c{width:100% !important}`,
		`a[href^="http"],b{color:red}`:                       x + ` b{color:red}`,
		`iframe{color:red} x-y{color:red}`:                   ``,
		`@import url(x); p{color:red}`:                       x + ` p{color:red}`,
		`@import "x"; p{color:red}`:                          x + ` p{color:red}`,
		`@font-face{font-family:x;src:url(y)} p{color:red}`:  x + ` p{color:red}`,
		`@media screen and (max-width:600px){.a{width:1px} @import "y"; b{margin:-1px}} p{color:red}`: `@media screen and (max-width:600px){` + x + ` .m-a{width:1px}}` + x + ` p{color:red}`,
		`@media (min-resolution:2){p{color:red}} b{color:red}`:                                        x + ` b{color:red}`,
		`@media (prefers-color-scheme: dark){p{color:#fff}}`:                                          `@media (prefers-color-scheme:dark){` + x + ` p{color:#fff}}`,
		`p{color:red`:                                   x + ` p{color:red}`,
		`p{color:red}}b{width:1px}`:                     x + ` p{color:red}` + x + ` b{width:1px}`,
		`p{}@media screen{}i{color:red}`:                x + ` i{color:red}`,
		`p{background:url(javascript:1)}`:               ``,
		`\70{color:red}`:                                x + ` p{color:red}`,
		`p:not(.leads){color:red}`:                      ``,
		`p::before{color:red} a:before{color:red}`:      ``,
		`p{content:"x"}`:                                ``,
		`.a\:b{color:red} .a.b{color:red}`:              x + ` .m-a.m-b{color:red}`,
		`p,{color:red}`:                                 x + ` p{color:red}`,
		`p{color:red;background:url("}b{color:blue}")}`: x + ` p{color:red}`,
		`a & b{color:red}`:                              ``,
		`> b{color:red}`:                                ``,
		`tr:nth-child(odd) td{color:red}`:               x + ` tr:nth-child(odd) td{color:red}`,
		`#outlook a{padding:0}`:                         x + ` #m-outlook a{padding:0}`,
	} {
		s := &webStyler{scope: webScope}
		s.sheet(in)
		if got := s.out.String(); got != want {
			t.Errorf("%s\nbecame    %s\ninstead of %s", in, got, want)
		}
		webHarmlessSheet(t, s.out.String())
	}
	s := webSanitize(`<style media="print">p{color:red}</style><body class="bg x" bgcolor="#eee" onload="x()"><p class="leads m-y" id="text">a`, webView(false))
	if s.Style != "@media print{"+x+" p{color:red}}" || s.Body != `<div class="m-bg m-x" bgcolor="#eee"><p class="m-leads m-y" id="m-text">a</div>` {
		t.Errorf("%+v", s)
	}
}

// TestWebLeads sees that a link is marked when its text names another host, in whatever way, and only then.
func TestWebLeads(t *testing.T) {
	const evil, bank = `<a href="https://evil.test/x">`, `<a href="https://www.bank.test/x">`
	for _, in := range []string{
		evil + `https://www.bank.test/login</a>`,
		evil + `https://www.bank.test/login</p>`,
		evil + `https://www.bank.test/login`,
		evil + `bank.test` + bank + `bank.test</a>`,
		evil + `bank.test</a>`,
		evil + `Log in at www.bank.test now</a>`,
		evil + `www.b&#x200b;ank.te&shy;st</a>`,
		evil + `www.bank.te<b></b>st</a>`,
		evil + `w w w . b a n k . t e s t</a>`,
		evil + `www。bank。test</a>`,
		evil + `ｗｗｗ．ｂａｎｋ．ｔｅｓｔ</a>`,
		evil + `http://bank</a>`,
		evil + `https://www.bank.test@evil.test/</a>`,
		evil + `<img alt="www.bank.test" src="cid:x"></a>`,
		evil + `<bdo dir="rtl">tset.knab.www</bdo></a>`,
		evil + "\u202etset.knab.www</a>",
		evil + `<div><p>Our bank:</p><p>www.bank.test</p></div></a>`,
		evil + strings.Repeat(" &nbsp; ", 2000) + `www.bank.test</a>`,
		evil + `ann@bank.test</a>`,
		evil + `http://192.168.1.1/</a>`,
		`<a href="https://bаnk.test/">bank.test</a>`,
		`<a href="https://bank.test/">bаnk.test</a>`,
		`<a href="https://test/">https://www.bank.test</a>`,
		`<a href="https://bank.test.evil.test/">bank.test</a>`,
		`<a href="https://evil.co.uk/">co.uk</a>`,
		`<a href="mailto:x@evil.test">x@bank.test</a>`,
		`<a title="https://bank.test/" href="https://evil.test">here</a>`,
	} {
		if out := webSanitize(in, webView(false)).Body; !strings.Contains(out, `class="leads">[→ `) {
			t.Errorf("%s is not marked: %s", in, out)
		}
	}
	for _, in := range []string{
		bank + `https://www.bank.test/login</a>`, bank + `bank.test</a>`, bank + `Click here.</a>`, bank + `read report.pdf</a>`, bank + `3.5.2</a>`,
		`<a href="https://login.bank.test/">www.bank.test</a>`,
		`<a href="https://www.bank.test/a/www.other.test">https://www.bank.test/a/www.other.test</a>`,
		`<a href="mailto:ann@bank.test?subject=x">ann@bank.test</a>`,
		`<a href="https://xn--bcher-kva.test/">bücher.test</a>`,
		`<a href="https://www.bank.test/">` + strings.Repeat("word ", 1000) + `</a>`,
		`www.bank.test`, `<a>www.bank.test</a>`,
	} {
		if out := webSanitize(in, webView(false)).Body; strings.Contains(out, `leads`) {
			t.Errorf("%.200s is marked: %.500s", in, out)
		}
	}
	if n := strings.Count(webSanitize(evil+`<p>bank.test</p><p>bank.test</p></a>`, webView(false)).Body, "leads"); n != 1 {
		t.Errorf("one link has %d marks", n)
	}
}
