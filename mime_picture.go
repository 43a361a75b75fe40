// Pictures known by their first octets: the type that a mailer writes is often not what browsers call it.
package main

import (
	"bytes"
	"io"
	"path"
	"slices"
	"strings"
)

// pictureHead is how many octets tell what kind of picture it is.
const pictureHead = 32

// Picture is the media type of a picture that browsers show and that can hold nothing but pixels: PNG, JPEG, GIF, WebP,
// BMP or AVIF, by what is in it and not by its label; "" for anything else (SVG is a program). Text is never a picture.
func (p *Part) Picture(r io.ReaderAt) string {
	if p.Type == "text" || p.IsMultipart() || p.IsMessage() {
		return ""
	}
	head := make([]byte, pictureHead)
	n, _ := io.ReadFull(p.Decoded(r), head)
	return pictureType(head[:n])
}

// pictureStarts are the octets that pictures begin with, each with how far in.
var pictureStarts = []struct {
	at    int
	start string
	kind  string
}{
	{0, "\x89PNG\r\n\x1a\n", "image/png"},
	{0, "\xff\xd8\xff", "image/jpeg"},
	{0, "GIF87a", "image/gif"},
	{0, "GIF89a", "image/gif"},
	{8, "WEBP", "image/webp"}, // after RIFF and the length
	{4, "ftypavif", "image/avif"},
	{4, "ftypavis", "image/avif"},
}

// pictureType knows a picture by its first octets. Of a BMP, whose two could be a word, the length of the header that
// follows must be one that there is.
func pictureType(head []byte) string {
	for _, p := range pictureStarts {
		if len(head) > p.at && bytes.HasPrefix(head[p.at:], []byte(p.start)) && (p.at != 8 || bytes.HasPrefix(head, []byte("RIFF"))) {
			return p.kind
		}
	}
	if len(head) >= 18 && bytes.HasPrefix(head, []byte("BM")) && bytes.Equal(head[15:18], []byte{0, 0, 0}) &&
		slices.Contains([]byte{12, 40, 52, 56, 64, 108, 124}, head[14]) {
		return "image/bmp"
	}
	return ""
}

// mayBePicture says the same by the label and the name, where the octets are not at hand.
func (p *Part) mayBePicture() bool {
	if p.Type == "image" {
		return !strings.Contains(p.Subtype, "svg") && p.Subtype != "tiff" && p.Subtype != "heic" && p.Subtype != "heif"
	}
	switch strings.ToLower(path.Ext(p.Filename())) {
	case ".png", ".jpg", ".jpeg", ".jpe", ".gif", ".webp", ".bmp", ".avif":
		return p.Type == "application"
	}
	return p.Is("application", "octet-stream") && p.Filename() == ""
}
