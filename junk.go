// Junk: how a message looks to somebody, by the words of what they took for junk earlier, and of what not.
package main

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	junkBuckets    = 1 << 17   // words are counted by a hash of so many values; two words may share one
	junkWindow     = 128 << 10 // octets of a message's texts, still encoded, that are read
	junkMostWords  = 3000      // different words of one message that count
	junkMostFields = 100       // fields of its header
	junkLongWord   = 20        // characters; longer ones count as a word of that length
	junkTelling    = 150       // of a message's words, those that say most decide
	junkTells      = 0.3       // how far from one half a word's share must be to say anything
	junkStrength   = 0.1       // how many messages the assumption weighs that a new word says nothing
	junkAges       = 10_000    // messages after which what is older counts half
)

// junkBlind are fields whose words are different in each message, or another program's judgement.
var junkBlind = map[string]bool{
	"dkim-signature": true, "domainkey-signature": true, "date": true, "references": true, "in-reply-to": true, "authentication-results": true,
}

// JunkWord is a word of a message, and the bucket in which it is counted. What is not from a text has a kind and a colon in front.
type JunkWord struct {
	Text   string
	bucket uint32
}

// JunkWords are the words of a message that count, each once: those of its texts, where its links lead, and, apart from these, those of
// its header. The work is bounded by junkWindow and junkMostFields.
func JunkWords(p *Part, r io.ReaderAt, header Header) []JunkWord {
	w := junkReader{seen: map[uint32]bool{}}
	for _, f := range header[:min(len(header), junkMostFields)] {
		name := strings.ToLower(f.Name)
		w.add("h:" + name)
		switch {
		case junkBlind[name] || strings.HasPrefix(name, "arc-") || strings.HasPrefix(name, "x-spam"):
		case name == "from" || name == "reply-to" || name == "sender" || name == "return-path":
			w.sender(name, f.Value)
			w.words(name+":", header.Text(f.Name))
		case name == "subject":
			w.words(name+":", header.Text(f.Name))
		default:
			w.words(name+":", f.Value)
		}
	}
	left := int64(junkWindow)
	for _, l := range p.Leaves(nil, Reading{}) {
		w.add("t:" + l.Part.Type + "/" + l.Part.Subtype)
		if (l.Fate != LeafShown && l.Fate != LeafAlternative) || left <= 0 {
			continue
		}
		text := *l.Part
		text.BodyLen = min(text.BodyLen, left)
		left -= text.BodyLen
		w.text(&text, r)
	}
	return w.found
}

// junkReader collects words.
type junkReader struct {
	seen  map[uint32]bool
	found []JunkWord
}

func (w *junkReader) add(word string) {
	h := fnv.New32a()
	io.WriteString(h, word)
	n := h.Sum32()
	n = (n ^ n>>17) % junkBuckets
	if w.seen[n] || len(w.found) >= junkMostWords {
		return
	}
	w.seen[n] = true
	w.found = append(w.found, JunkWord{word, n})
}

// sender adds an address, its domain, and the domains above.
func (w *junkReader) sender(field, value string) {
	for _, a := range ParseAddressList(value) {
		w.add("a:" + field + strings.ToLower(a.Local+"@"+a.Domain))
		w.domain("d:"+field, a.Domain)
	}
}

func (w *junkReader) domain(kind, domain string) {
	domain = strings.ToLower(domain)
	for range 4 {
		w.add(kind + domain)
		_, up, more := strings.Cut(domain, ".")
		if !more {
			return
		}
		domain = up
	}
}

// text adds the words that a text part shows, and where the links in its source lead.
func (w *junkReader) text(p *Part, r io.ReaderAt) {
	source, _ := io.ReadAll(io.LimitReader(p.Text(r), junkWindow)) // of damaged text what can be read
	w.links(string(source))
	if p.Subtype != "html" {
		w.words("", string(source))
		return
	}
	shown, _ := io.ReadAll(io.LimitReader(p.PlainText(r), junkWindow))
	w.words("", string(shown))
}

func (w *junkReader) links(source string) {
	for {
		i := strings.Index(source, "://")
		if i < 0 {
			return
		}
		source = source[i+3:]
		end := strings.IndexFunc(source, func(c rune) bool {
			return c > unicode.MaxASCII || !(c == '.' || c == '-' || c == ':' || c == '@' || c == '%' || (c >= '0' && c <= '9') || (c|0x20 >= 'a' && c|0x20 <= 'z'))
		})
		if end < 0 {
			end = len(source)
		}
		host := strings.TrimRight(source[:min(end, 255)], ".:")
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			w.add("u:@")
			host = host[at+1:]
		}
		w.domain("u:", host)
	}
}

// words adds the words of a text, and, since many scripts have no blanks, each two characters in a row of those.
func (w *junkReader) words(kind, text string) {
	var before rune // of a script without blanks
	start, count := -1, 0
	end := func(at int) {
		if start >= 0 {
			w.word(kind, text[start:at], count)
		}
		start, count = -1, 0
	}
	for i, c := range text {
		switch {
		case unicode.In(c, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
			end(i)
			if before != 0 {
				w.add(kind + string([]rune{before, c}))
			}
			before = c
			continue
		case unicode.IsLetter(c) || unicode.IsDigit(c) || unicode.IsMark(c) || c == '$' || c == '!' || c == '\'' || c == '-' || c == '%' || c == '€' || c == '£':
			if start < 0 {
				start = i
			}
			count++
		default:
			end(i)
		}
		before = 0
	}
	end(len(text))
}

func (w *junkReader) word(kind, word string, count int) {
	word = strings.Trim(strings.ToLower(word), "'-")
	count = min(count, utf8.RuneCountInString(word))
	switch {
	case count > junkLongWord:
		first, _ := utf8.DecodeRuneInString(word)
		w.add(kind + "long " + string(first) + strings.Repeat("+", min(count/10, 10)))
	case count >= 3 || (count == 2 && word[0] >= 0x80):
		w.add(kind + word)
	}
}

// JunkModel is what somebody's judgements have taught: in how many messages of either kind each word was.
type JunkModel struct {
	Messages [2]uint32 // good ones, junk
	counts   [2][]uint16
}

func newJunkModel() *JunkModel {
	return &JunkModel{counts: [2][]uint16{make([]uint16, junkBuckets), make([]uint16, junkBuckets)}}
}

// Learn counts the words of a message (by 1), or takes back that they were counted (by -1).
func (m *JunkModel) Learn(words []JunkWord, junk bool, by int) {
	kind := 0
	if junk {
		kind = 1
	}
	if by < 0 && m.Messages[kind] == 0 {
		return
	}
	m.Messages[kind] = uint32(int64(m.Messages[kind]) + int64(by))
	for _, w := range words {
		n := &m.counts[kind][w.bucket]
		*n = uint16(max(0, min(int(*n)+by, math.MaxUint16)))
	}
	if m.Messages[0]+m.Messages[1] > junkAges {
		m.age()
	}
}

// age makes all that was learned count half.
func (m *JunkModel) age() {
	for kind := range m.counts {
		m.Messages[kind] /= 2
		for n := range m.counts[kind] {
			m.counts[kind][n] /= 2
		}
	}
}

// share is how much of a word's use is in junk, from 0 to 1, with the assumption in it that a rare word says little (Robinson).
func (m *JunkModel) share(w JunkWord) float64 {
	good, junk := float64(m.counts[0][w.bucket]), float64(m.counts[1][w.bucket])
	times := good + junk
	if times == 0 {
		return 0.5
	}
	good, junk = good/float64(max(m.Messages[0], 1)), junk/float64(max(m.Messages[1], 1))
	return (junkStrength*0.5 + times*junk/(good+junk)) / (junkStrength + times)
}

// Score says how much like junk a message with these words is, from 0 to 1, and which words say most: Robinson's share of each word,
// joined by Fisher's method, once for and once against. Near one half means that it can't be told.
func (m *JunkModel) Score(words []JunkWord) (float64, []JunkWord) {
	type share struct {
		word JunkWord
		of   float64
	}
	var telling []share
	for _, w := range words {
		s := m.share(w)
		if math.Abs(s-0.5) >= junkTells {
			telling = append(telling, share{w, s})
		}
	}
	slices.SortStableFunc(telling, func(a, b share) int { return cmp.Compare(math.Abs(b.of-0.5), math.Abs(a.of-0.5)) })
	telling = telling[:min(len(telling), junkTelling)]
	var against, in float64
	var most []JunkWord
	for _, s := range telling {
		against += math.Log(1 - s.of)
		in += math.Log(s.of)
		if s.of > 0.5 {
			most = append(most, s.word)
		}
	}
	junk, good := 1-junkChi(-2*against, len(telling)), 1-junkChi(-2*in, len(telling))
	return (1 + junk - good) / 2, most
}

// junkChi is the probability that chance alone gives a chi-squared of at least x with 2n degrees of freedom.
func junkChi(x float64, n int) float64 {
	if n == 0 {
		return 1
	}
	half := x / 2
	log := -half // of the term, since e to the power of it may be 0
	sum := math.Exp(log)
	for i := 1; i < n; i++ {
		log += math.Log(half / float64(i))
		sum += math.Exp(log)
	}
	return min(sum, 1)
}

// Octets is the model as it is stored: how many messages, then for each kind the buckets that are not 0, as steps from one to the next and counts.
func (m *JunkModel) Octets() []byte {
	b := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(m.Messages[0])), uint64(m.Messages[1]))
	for _, counts := range m.counts {
		last := -1
		for n, c := range counts {
			if c > 0 {
				b = binary.AppendUvarint(binary.AppendUvarint(b, uint64(n-last)), uint64(c))
				last = n
			}
		}
		b = append(b, 0)
	}
	return b
}

var errJunkModel = errors.New("what was learned about junk is damaged")

// ReadJunkModel reads what Octets has made; nothing is a new model.
func ReadJunkModel(b []byte) (*JunkModel, error) {
	m := newJunkModel()
	if len(b) == 0 {
		return m, nil
	}
	next := func() uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 {
			b = nil
			return math.MaxUint64
		}
		b = b[n:]
		return v
	}
	for kind := range m.Messages {
		n := next()
		if n > math.MaxUint32 {
			return nil, errJunkModel
		}
		m.Messages[kind] = uint32(n)
	}
	for _, counts := range m.counts {
		at := -1
		for step := next(); step != 0; step = next() {
			count := next()
			if step > junkBuckets || at+int(step) >= len(counts) || count > math.MaxUint16 {
				return nil, errJunkModel
			}
			at += int(step)
			counts[at] = uint16(count)
		}
	}
	return m, nil
}
