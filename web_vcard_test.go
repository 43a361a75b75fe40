package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
)

// TestWebCards reads address books as phones and programs of all ages write them.
func TestWebCards(t *testing.T) {
	gbk, _ := simplifiedchinese.GBK.NewEncoder().String("王小明")
	quoted := func(s string) string {
		q := ""
		for _, b := range []byte(s) {
			q += fmt.Sprintf("=%02X", b)
		}
		return q
	}
	for _, c := range []struct{ lines, want string }{
		{"FN:Ann B", "Ann B"},
		{"FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=E6=AC=A7=E9=98=B3=E5=B0=8F=\r\n=E6=98=8E", "欧阳小明"},
		{"FN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:" + quoted("王") + "=\r\n\t" + quoted("明"), "王明"},
		{"FN;CHARSET=GBK;ENCODING=QUOTED-PRINTABLE:" + quoted(gbk), "王小明"},
		{"FN;CHARSET=gb2312:" + gbk, "王小明"},
		{"N:Smith;Bob;;;", "Bob Smith"},
		{"N:Smith;Bob;Q.;Dr.;Jr.\r\nFN:", "Dr. Bob Q. Smith Jr."},
		{"N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=E7=8E=8B;=E5=B0=8F=E6=98=8E;;;", "小明 王"},
		{`N:O\;Hara\, x;Ann;;`, "Ann O;Hara, x"},
		{"item1.FN:Grouped", "Grouped"},
		{"FN;ENCODING=BASE64;CHARSET=UTF-8:5L2g5aW9", "你好"},
		{"FN;BASE64:5L2g\r\n 5aW9", "你好"},
		{"FN;ENCODING=b:not in it", "not in it"},
		{"fn:small letters", "small letters"},
		{"FN:Fol\r\n ded", "Folded"},
		{"FN;X-NOTE=\"a:b\":Quoted parameter", "Quoted parameter"},
		{"PHOTO;ENCODING=BASE64:" + strings.Repeat("A", 1_200_000) + "\r\nFN:Big", "Big"},
		{"PHOTO;ENCODING=b:" + strings.Repeat("AAAA\r\n ", 100_000) + "\r\nFN:Many lines", "Many lines"},
		{"NICKNAME:Nick\r\nORG:Firm;Unit", "Nick"},
		{"ORG:Firm;Unit", "Firm Unit"},
	} {
		card := "BEGIN:VCARD\r\nVERSION:2.1\r\n" + c.lines + "\r\nEMAIL:a@b.example\r\nEND:VCARD\r\n"
		forms := map[string]string{"as it is": card, "with LF": strings.ReplaceAll(card, "\r\n", "\n"), "with CR": strings.ReplaceAll(card, "\r\n", "\r"), "with a mark": "\ufeff" + card}
		if !strings.Contains(c.lines, gbk) {
			for name, e := range map[string]unicode.Endianness{"UTF-16BE": unicode.BigEndian, "UTF-16LE": unicode.LittleEndian} {
				forms[name], _ = unicode.UTF16(e, unicode.IgnoreBOM).NewEncoder().String(card)
				forms[name+" with a mark"], _ = unicode.UTF16(e, unicode.UseBOM).NewEncoder().String(card)
			}
		}
		for form, text := range forms {
			got, without, err := webCards(bytes.NewReader([]byte(text)))
			if err != nil || without != 0 || len(got) != 1 || got[0].Name != c.want || got[0].Address != "a@b.example" {
				t.Errorf("%.60q %s: %.300v, %d without, %v; want %q", c.lines, form, got, without, err, c.want)
			}
		}
	}
	got, without, err := webCards(strings.NewReader("BEGIN:VCARD\nFN:x\nTEL:1\nEND:VCARD\nBEGIN:VCARD\nFN:y\nEMAIL:y@b.example\nEND:VCARD\n"))
	if len(got) != 1 || without != 1 || err != nil {
		t.Errorf("%v, %d without an address, %v", got, without, err)
	}
	if got, without, _ := webCards(strings.NewReader("\x00\x01binary")); len(got)+without != 0 {
		t.Errorf("binary: %v", got)
	}
}

func FuzzWebCards(f *testing.F) {
	f.Add([]byte("BEGIN:VCARD\nFN;ENCODING=QUOTED-PRINTABLE:=\n=41=\n\nEMAIL:a@b\nEND:VCARD"))
	f.Add([]byte("\xff\xfeB\x00E\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		all, _, err := webCards(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			if strings.ContainsAny(c.Name+c.Note+c.Phone, "\r\n\x00") {
				t.Errorf("%v", c)
			}
		}
	})
}

// TestWebOutlookForms: Outlook's question is answered in any case of its path and any charset, with the whole address as the name
// to log in with, and one that can't be read with an error in Outlook's words.
func TestWebOutlookForms(t *testing.T) {
	s := startServer(t)
	s.cfg.Listen.IMAPS, s.cfg.Listen.Submissions = []string{":993"}, []string{":465"}
	c := newWebClient(t, s)
	ask := `<?xml version="1.0" encoding="CHARSET"?><Autodiscover><Request><EMailAddress>bob@home.arpa</EMailAddress></Request></Autodiscover>`
	ask2 := func(path, body string) (int, string) {
		r, err := http.NewRequest("POST", c.base+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		page := c.do(r)
		return c.code, page
	}
	wide := func(e unicode.Endianness, mark unicode.BOMPolicy) string {
		s, _ := unicode.UTF16(e, mark).NewEncoder().String(strings.Replace(ask, "CHARSET", "utf-16", 1))
		return s
	}
	for _, path := range []string{"/autodiscover/autodiscover.xml", "/Autodiscover/Autodiscover.xml", "/autodiscover/Autodiscover.xml", "/AUTODISCOVER/AUTODISCOVER.XML"} {
		for _, body := range []string{strings.Replace(ask, "CHARSET", "utf-8", 1), strings.Replace(ask, "CHARSET", "us-ascii", 1), strings.Replace(ask, "CHARSET", "windows-1252", 1),
			wide(unicode.BigEndian, unicode.UseBOM), wide(unicode.LittleEndian, unicode.UseBOM), wide(unicode.BigEndian, unicode.IgnoreBOM),
			wide(unicode.LittleEndian, unicode.IgnoreBOM)} {
			code, page := ask2(path, body)
			if code != 200 || strings.Count(page, "<LoginName>bob@home.arpa</LoginName>") != strings.Count(page, "<Protocol>") || !strings.Contains(page, "<Protocol>") {
				t.Errorf("%s %.60q: %d %s", path, body, code, page)
			}
		}
	}
	if code, page := ask2("/autodiscover/autodiscover.xml", "<a"); code != 400 || !strings.Contains(page, "<ErrorCode>600") {
		t.Errorf("nonsense: %d %s", code, page)
	}
}

// A file of cards makes no more contacts than an address book can have, however it is written.
func TestWebCardsMany(t *testing.T) {
	mails := strings.Repeat("EMAIL:a@b.example\n", 200)
	for name, c := range map[string]struct {
		text string
		want int
		err  error
	}{
		"many addresses":    {"BEGIN:VCARD\n" + mails + "END:VCARD\n", webCardMail, nil},
		"a card ends twice": {"BEGIN:VCARD\n" + mails + strings.Repeat("END:VCARD\n", 1000), webCardMail, nil},
		"too many":          {strings.Repeat("BEGIN:VCARD\nEMAIL:a@b.example\nEND:VCARD\n", maxContacts+1), 0, ErrTooMany},
	} {
		all, _, err := webCards(strings.NewReader(c.text))
		if len(all) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %d contacts, %v", name, len(all), err)
		}
	}
}
