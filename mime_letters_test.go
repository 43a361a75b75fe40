package main

import (
	"io"
	"strings"
	"testing"
)

// guessTexts are the first sentences of the Universal Declaration of Human Rights in charsets that are written without a label.
var guessTexts = map[string][2]string{
	"fr":      {"windows-1252", "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de conscience"},
	"de":      {"windows-1252", "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sollen einander im Geiste der Brüderlichkeit begegnen, schöne Grüße"},
	"es":      {"windows-1252", "Todos los seres humanos nacen libres e iguales, dotados como están de razón y conciencia. ¿Qué tal mañana? Reunión"},
	"pt":      {"windows-1252", "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão e de consciência, reunião amanhã às três"},
	"it":      {"windows-1252", "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti, perché è così, più tardi"},
	"sv":      {"windows-1252", "Alla människor är födda fria och lika i värde och rättigheter på en gång"},
	"da":      {"windows-1252", "Alle mennesker er født frie og lige i værdighed og rettigheder, også på mødet"},
	"pl":      {"iso-8859-2", "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Zażółć gęślą jaźń"},
	"cs":      {"windows-1250", "Všichni lidé rodí se svobodní a sobě rovní co do důstojnosti a práv. Příliš žluťoučký kůň"},
	"hu":      {"iso-8859-2", "Minden emberi lény szabadon születik és egyenlő méltósága és joga van. Árvíztűrő tükörfúrógép"},
	"hr":      {"windows-1250", "Sva ljudska bića rađaju se slobodna i jednaka u dostojanstvu i pravima, čišćenje žutog"},
	"ro":      {"iso-8859-2", "Toate fiinţele umane se nasc libere şi egale în demnitate şi în drepturi, fără îndoială"},
	"tr":      {"windows-1254", "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar, değişiklik şarttır"},
	"lt":      {"windows-1257", "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis, jiems suteiktas protas ir sąžinė"},
	"ru":      {"windows-1251", "Все люди рождаются свободными и равными в своем достоинстве и правах"},
	"ru-koi":  {"koi8-r", "Все люди рождаются свободными и равными в своем достоинстве и правах"},
	"ru-iso":  {"iso-8859-5", "Все люди рождаются свободными и равными в своем достоинстве и правах"},
	"ru-866":  {"ibm866", "Все люди рождаются свободными и равными в своем достоинстве и правах"},
	"uk":      {"windows-1251", "Всі люди народжуються вільними і рівними у своїй гідності та правах"},
	"bg":      {"windows-1251", "Всички хора се раждат свободни и равни по достойнство и права"},
	"el":      {"windows-1253", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα"},
	"el7":     {"iso-8859-7", "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια"},
	"he":      {"windows-1255", "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם"},
	"ar":      {"windows-1256", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق"},
	"ar6":     {"iso-8859-6", "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق"},
	"th":      {"windows-874", "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"},
	"zh":      {"gb18030", "人人生而自由在尊严和权利上一律平等他们赋有理性和良心并应以兄弟关系的精神相对待"},
	"zht":     {"big5", "人人生而自由在尊嚴和權利上一律平等他們賦有理性和良心並應以兄弟關係的精神相對待"},
	"ja-euc":  {"euc-jp", "すべての人間は生まれながらにして自由でありかつ尊厳と権利とについて平等である"},
	"ja-sjis": {"shift_jis", "すべての人間は生まれながらにして自由でありかつ尊厳と権利とについて平等である"},
	"ko":      {"euc-kr", "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다"},
}

// TestGuessCharset reads texts and headers that say nothing of their charset, or something that it can't be.
func TestGuessCharset(t *testing.T) {
	for lang, c := range guessTexts {
		b, err := charsetEncoding(c[0]).NewEncoder().Bytes([]byte(c[1]))
		if err != nil {
			t.Fatal(lang, err)
		}
		for _, label := range []string{"", "; charset=us-ascii", "; charset=x-unknown", "; charset=utf-8"} {
			raw := "Subject: " + string(b) + "\nContent-Type: text/plain" + label + "\n\n" + strings.Repeat("Plain words.\n", 100) + string(b) + "\n"
			p := parseMIME([]byte(raw))
			text, _ := io.ReadAll(p.Text(strings.NewReader(raw)))
			if !strings.HasSuffix(string(text), c[1]+"\n") {
				t.Errorf("%s%s: %.300q", lang, label, text[1300:])
			}
			if got := ParseHeader([]byte(raw)).Text("Subject"); got != c[1] {
				t.Errorf("%s%s: the subject is %q", lang, label, got)
			}
		}
	}
	for lang, c := range map[string][2]string{ // short ones
		"cs": {"windows-1250", "Příliš žluťoučký kůň"}, "pl": {"iso-8859-2", "Zażółć gęślą jaźń"}, "el": {"iso-8859-7", "Αναφορά"}, "he": {"windows-1255", "שלום עולם"},
		"ru": {"windows-1251", "Тема письма"}, "koi": {"koi8-r", "Привет всем"}, "tr": {"windows-1254", "değişiklik"}, "fr": {"windows-1252", "été"}, "de": {"windows-1252", "Größe"},
	} {
		b, _ := charsetEncoding(c[0]).NewEncoder().Bytes([]byte(c[1]))
		if got := decodeRaw(string(b), ""); got != c[1] {
			t.Errorf("%s: %q is %q", lang, c[1], got)
		}
	}
	for raw, want := range map[string]string{
		"Content-Type: text/plain; charset=us-ascii\n\n\xff\xfe-N\x87e":       "中文",
		"Content-Type: text/plain; charset=utf-16\n\na\x00b\x00":              "ab",
		"Content-Type: text/plain; charset=unicode\n\n\x00a\x00b":             "ab",
		"Content-Type: text/plain; charset=gb2312\n\n你好世界，再见":                 "你好世界，再见",
		"Content-Type: text/plain\n\n\x1b$BF|K\\8l\x1b(B":                     "日本語",
		"Content-Type: text/html\n\n<meta charset=windows-1251>\xcf\xf0\xe8":  "<meta charset=windows-1251>При",
		"Content-Type: text/plain; charset=utf-8\n\nGr\xc3\xbc\xc3\x9fe \xff": "Grüße \ufffd",
	} {
		text, _ := io.ReadAll(parseMIME([]byte(raw)).Text(strings.NewReader(raw)))
		if string(text) != want {
			t.Errorf("%q is %q", raw, text)
		}
	}
}
