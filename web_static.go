// Files that pages need: script, style and icons, compressed once.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"
)

// loadStatic reads the embedded files that are served as they are.
func (a *webApp) loadStatic() {
	a.static = map[string]*webStatic{}
	sum := sha256.New()
	files, _ := fs.Glob(webFiles, "web/static/*")
	for _, f := range files {
		b, _ := webFiles.ReadFile(f)
		st := &webStatic{plain: b}
		switch path.Ext(f) {
		case ".css":
			st.kind = "text/css; charset=utf-8"
		case ".js":
			st.kind = "text/javascript; charset=utf-8"
		case ".svg":
			st.kind = "image/svg+xml"
		case ".png":
			st.kind = "image/png"
		case ".webmanifest":
			st.kind = "application/manifest+json"
		}
		var z bytes.Buffer
		zw, _ := gzip.NewWriterLevel(&z, gzip.BestCompression)
		zw.Write(b)
		zw.Close()
		st.gzip = z.Bytes()
		if len(st.gzip) >= len(b) {
			st.gzip = nil
		}
		sum.Write(b)
		a.static[path.Base(f)] = st
	}
	a.version = hex.EncodeToString(sum.Sum(nil)[:6])
}

func (a *webApp) serveStatic(w http.ResponseWriter, r *http.Request) {
	st := a.static[r.PathValue("file")]
	if st == nil {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", st.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("ETag", `"`+a.version+`"`)
	if r.URL.RawQuery == a.version {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	if r.Header.Get("If-None-Match") == h.Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	body := st.plain
	if st.gzip != nil && strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = st.gzip
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	webSoon(w)
	w.Write(body)
}

// webGzip is shared by pages; a writer holds about 800 KB, which is too much to make anew for each.
var webGzip = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	return z
}}

// webSoon gives a browser a while to take what is written next.
func webSoon(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(webStallTimeout))
}
