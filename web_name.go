// Names of files: those of attachments on their way in and out, and those that are made from a subject.
package main

import (
	"strings"
)

const (
	webMaxFileName    = 200 // octets of a file's name
	webMaxSubjectName = 80  // of one that is made from a subject
)

// webFileName is a name that is safe to show: the last part of a path, no controls, nothing that turns the writing direction
// around. "" if nothing is left of it.
func webFileName(name string) string {
	name = webClean(name)
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	return strings.Trim(webCut(name, webMaxFileName), " .")
}

// webSubjectName is the name of a file made from a subject, or other where it has none.
func webSubjectName(subject, other, ending string) string {
	name := strings.NewReplacer("/", "-", `\`, "-").Replace(webClean(subject))
	name = strings.Trim(webCut(name, webMaxSubjectName), " .")
	if name == "" {
		name = other
	}
	return name + ending
}

// webSavedName is the name that a file is saved under on any system: without what Windows refuses, and none of its devices.
func webSavedName(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(`:*?"<>|/\`, r) {
			return '_'
		}
		return r
	}, name)
	stem, _, _ := strings.Cut(strings.ToLower(name), ".")
	switch strings.TrimRight(stem, " ") {
	case "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
		"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9":
		name = "_" + name
	}
	return name
}

// webPartName is the name that a part is offered under.
func webPartName(p *Part) string {
	if name := webFileName(p.Filename()); name != "" {
		return name
	}
	switch {
	case p.IsMessage():
		return webSubjectName(DecodeWords(p.Envelope.Subject), "message", ".eml")
	case p.Is("text", "calendar"):
		return "invitation.ics"
	case p.Is("text", "html"):
		return "text.html"
	case p.Is("text", "vcard"), p.Is("text", "x-vcard"), p.Is("text", "directory"):
		return "contact.vcf"
	case p.Is("text", "csv"):
		return "table.csv"
	case p.Type == "text":
		return "text.txt"
	}
	return "file" + webEndings[p.Type+"/"+p.Subtype]
}

// webEndings are for files that come without a name.
var webEndings = map[string]string{
	"application/pdf": ".pdf", "application/zip": ".zip", "application/rtf": ".rtf", "application/msword": ".doc", "application/pkcs7-mime": ".p7m",
	"application/json": ".json", "application/xml": ".xml", "application/ics": ".ics", "application/ms-tnef": ".dat",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx", "application/vnd.ms-excel": ".xls",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx", "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
	"image/jpeg": ".jpg", "image/jpg": ".jpg", "image/pjpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp",
	"image/bmp": ".bmp", "image/svg+xml": ".svg", "image/tiff": ".tif", "image/heic": ".heic", "audio/mpeg": ".mp3", "audio/wav": ".wav",
	"audio/x-wav": ".wav", "audio/ogg": ".ogg", "audio/mp4": ".m4a", "video/mp4": ".mp4", "video/quicktime": ".mov", "video/3gpp": ".3gp",
	"message/delivery-status": ".txt", "message/disposition-notification": ".txt", "message/feedback-report": ".txt", "message/partial": ".txt",
	"message/external-body": ".txt",
}
