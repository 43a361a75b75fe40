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

// pictureType knows a picture by its first octets.
func pictureType(head []byte) string {
	switch {
	case bytes.HasPrefix(head, []byte("\x89PNG\r\n\x1a\n")):
		return "image/png"
	case bytes.HasPrefix(head, []byte("\xff\xd8\xff")):
		return "image/jpeg"
	case bytes.HasPrefix(head, []byte("GIF87a")), bytes.HasPrefix(head, []byte("GIF89a")):
		return "image/gif"
	case len(head) >= 12 && string(head[:4]) == "RIFF" && string(head[8:12]) == "WEBP":
		return "image/webp"
	case len(head) >= 12 && string(head[4:8]) == "ftyp" && (string(head[8:12]) == "avif" || string(head[8:12]) == "avis"):
		return "image/avif"
	case len(head) >= 18 && string(head[:2]) == "BM" && slices.Contains([]byte{12, 40, 52, 56, 64, 108, 124}, head[14]) &&
		head[15] == 0 && head[16] == 0 && head[17] == 0: // the size of the header that follows
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
