package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var junkCorpus = flag.String("junk", "", "a folder with folders of mails, of junk those whose name has \"spam\": TestJunkCorpus measures with it")

type junkMail struct {
	at    time.Time
	junk  bool
	words []JunkWord
}

func readJunkCorpus(t *testing.T) []junkMail {
	paths, err := filepath.Glob(filepath.Join(*junkCorpus, "*", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []junkMail
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil || len(b) == 0 {
			continue
		}
		if bytes.HasPrefix(b, []byte("From ")) {
			_, b, _ = bytes.Cut(b, []byte("\n"))
		}
		b = bytes.ReplaceAll(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		tree := parseMIME(b)
		header := ParseHeader(b[:tree.HeaderLen])
		header = slices.DeleteFunc(header, func(f Field) bool { return strings.HasPrefix(strings.ToLower(f.Name), "x-spam") })
		at := time.Time{}
		for _, f := range header.All("Received") {
			if _, date, ok := strings.Cut(f, ";"); ok && at.IsZero() {
				at, _ = ParseDate(strings.TrimSpace(date))
			}
		}
		all = append(all, junkMail{at, strings.Contains(filepath.Base(filepath.Dir(path)), "spam"), JunkWords(tree, bytes.NewReader(b), header)})
	}
	slices.SortStableFunc(all, func(a, b junkMail) int { return a.at.Compare(b.at) })
	return all
}

// TestJunkCorpus measures on a corpus in the order of time: each message is weighed by what came before it, and learned then. The mails
// are dealt to one person, and to ten.
func TestJunkCorpus(t *testing.T) {
	if *junkCorpus == "" {
		skip(t, "no -junk FOLDER")
	}
	all := readJunkCorpus(t)
	for _, people := range []int{1, 10} {
		var junk, good, caught, wrong int
		models := make([]*JunkModel, people)
		for i, m := range all {
			model := models[i%people]
			if model == nil {
				model = newJunkModel()
				models[i%people] = model
			}
			if model.Messages[0] >= junkLeast && model.Messages[1] >= junkLeast {
				score, _ := model.Score(m.words)
				switch {
				case m.junk && score >= junkCut:
					caught++
					fallthrough
				case m.junk:
					junk++
				case score >= junkCut:
					wrong++
					fallthrough
				default:
					good++
				}
			}
			model.Learn(m.words, m.junk, 1)
		}
		t.Logf("%d people: of %d junk caught %d (%.1f%%), of %d good wrong %d (%.2f%%); a model has %d octets", people, junk, caught,
			100*float64(caught)/float64(max(junk, 1)), good, wrong, 100*float64(wrong)/float64(max(good, 1)), len(models[0].Octets()))
	}
}

// junkText makes a message of words.
func junkText(from, subject, text string) string {
	return "From: " + from + "\nTo: ann@home.arpa\nSubject: " + subject + "\n\n" + text + "\n"
}

func junkWordsOf(t testing.TB, mail string) []JunkWord {
	b := []byte(strings.ReplaceAll(mail, "\n", "\r\n"))
	tree := parseMIME(b)
	return JunkWords(tree, bytes.NewReader(b), ParseHeader(b[:tree.HeaderLen]))
}

// TestJunkModel learns, tells apart, takes back, stores and reads, in scripts with and without blanks.
func TestJunkModel(t *testing.T) {
	m := newJunkModel()
	empty := m.Octets()
	kinds := [2][]string{{"the meeting about school on monday", "grandma sends greetings and a cake", "明天下午三点开会，请带上报告", "homework for the physics class"},
		{"cheap pills, click now!", "you won $1000000 lottery prize", "低价发票，请立即联系我们代开", "earn money at home, click here"}}
	learn := func(by int) {
		for i := range 12 {
			for junk, texts := range kinds {
				m.Learn(junkWordsOf(t, junkText(fmt.Sprintf("p%d@x.example", i%3+3*junk), "", texts[i%len(texts)])), junk == 1, by)
			}
		}
	}
	learn(1)
	for _, x := range []struct {
		text string
		junk bool
	}{{"is there a meeting on monday about the cake?", false}, {"click here now! for cheap pills, earn money at home, you won the lottery prize of $1000000", true}, {"请带上明天开会的报告", false}, {"低价代开发票，请立即联系我们，低价发票", true}} {
		score, most := m.Score(junkWordsOf(t, junkText("new@y.example", "", x.text)))
		if (x.junk && score < 0.9) || (!x.junk && score > 0.5) || (len(most) > 0) != x.junk {
			t.Errorf("%s: %.3f, %v", x.text, score, most)
		}
	}
	if score, _ := m.Score(junkWordsOf(t, "\n\n")); score != 0.5 {
		t.Errorf("nothing: %f", score)
	}
	b := m.Octets()
	again, err := ReadJunkModel(b)
	if err != nil || !bytes.Equal(again.Octets(), b) {
		t.Errorf("read again: %v", err)
	}
	for n := range len(b) {
		if _, err := ReadJunkModel(b[:n]); err == nil && n > 0 {
			t.Errorf("a model cut short at %d is read", n)
		}
	}
	learn(-1)
	if !bytes.Equal(m.Octets(), empty) {
		t.Error("something stays that was taken back")
	}
	w := junkWordsOf(t, junkText("a@b.example", "x", "words of a message"))
	for range junkAges + 1 {
		m.Learn(w, true, 1)
	}
	if m.Messages[1] > junkAges || m.counts[1][w[0].bucket] > junkAges {
		t.Errorf("%d messages after %d", m.Messages[1], junkAges+1)
	}
}

// FuzzJunk reads the words of any message, and any model.
func FuzzJunk(f *testing.F) {
	for _, msg := range samples(f) {
		f.Add(msg)
	}
	m := newJunkModel()
	m.Learn(junkWordsOf(f, junkText("a@b.example", "x", "words of a message")), true, 1)
	f.Add(m.Octets())
	f.Fuzz(func(t *testing.T, b []byte) {
		tree := parseMIME(b)
		words := JunkWords(tree, bytes.NewReader(b), ParseHeader(b[:tree.HeaderLen]))
		if len(words) > junkMostWords {
			t.Fatalf("%d words", len(words))
		}
		seen := map[uint32]bool{}
		for _, w := range words {
			if seen[w.bucket] || w.bucket >= junkBuckets {
				t.Fatalf("%q: bucket %d", w.Text, w.bucket)
			}
			seen[w.bucket] = true
		}
		if score, _ := m.Score(words); !(score >= 0 && score <= 1) {
			t.Fatalf("a score of %f", score)
		}
		if m, err := ReadJunkModel(b); err == nil {
			if _, err := ReadJunkModel(m.Octets()); err != nil {
				t.Fatal(err)
			}
		}
	})
}
