// The web pages: routes, sessions, static files and the security headers of every answer.
package main

import (
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/tls"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	webHeaderTimeout = 5 * time.Second  // for a browser to send the header of a request
	webIdleTimeout   = 90 * time.Second // between requests
	webStallTimeout  = time.Minute      // for a browser to send or take the next block of something large
	webStallBlock    = 32 << 10         // octets
	webMaxHeader     = 32 << 10         // octets of a request's header
	webMaxConns      = 100              // connections in all
	webMaxPerNetwork = 32               // connections from one IPv4 address or IPv6 network (loginNetwork)
	webMaxNotes      = 500              // sessions with a note on what was done last
	webGzipFrom      = 1 << 10          // octets; shorter answers are sent as they are
	webSeeEvery      = 12 * time.Hour   // how often it is written down that a session is in use
	webShortSession  = 12 * time.Hour   // of a browser that is not to be remembered
	webLongSession   = 30 * 24 * time.Hour
)

//go:embed web
var webFiles embed.FS

// webApp serves the pages. Everything in it is either set once or guarded by mu.
type webApp struct {
	s       *Server
	log     *slog.Logger
	mux     *http.ServeMux
	cross   *http.CrossOriginProtection
	static  map[string]*webStatic
	version string // of the static files, a part of their addresses
	key     []byte // signs addresses of inline pictures; new at every start
	started time.Time
	wake    chan struct{}          // a letter was put into the queue of waiting ones
	entered func(route, do string) // a test's: called for what is about to be handled; nil otherwise
	forms   *webBudget             // octets of forms that are in memory
	streams *webStreams            // browsers that listen for news
	zones   *webCache[string, time.Location]
	orders  *webCache[webOrderKey, webOrder] // of folders that were looked at last
	codes   *webCache[string, template.URL]  // QR codes that were drawn last, by what they say

	mu     sync.Mutex
	pages  map[string]*webLang           // by one of webLanguages
	notes  map[string]*webNote           // by session: what was done last, to be shown once
	conns  []webConn                     // the oldest first
	second map[string]webSecond          // browsers that have given a password and owe a code
	usedUp map[UserID]webTOTP            // second factors of which codes were used that could not be noted yet
	rows   *webCache[BlobID, webSummary] // of the messages that lists showed last
	found  *webCache[string, webResult]  // of the searches that were made last

	sanitised *webCache[webSafeKey, webSafe] // the HTML that was shown last
}

// webStatic is a file that never changes while the program runs, also compressed.
type webStatic struct {
	kind        string
	plain, gzip []byte
}

// webRoute is one address of the site.
type webRoute struct {
	pattern string // as http.ServeMux has it
	access  webAccess
	handle  func(*webReq) error
}

// webAccess says who may ask, and how.
type webAccess int

const (
	webPublic    webAccess = 0
	webLoggedIn  webAccess = 1 << iota // people with a session
	webAdmin                           // administrators
	webWithFiles                       // the form may have files: the handler reads it, with readParts, which checks its token
	webLate                            // a form of somebody who has been logged out meanwhile is put aside: its handler looks at q.late
	webForeign                         // for programs of other makers: no form token, and pages of other sites may ask, too
)

// webRoutes is the site.
func webRoutes() []webRoute {
	var all []webRoute
	for _, part := range [][]webRoute{webSessionRoutes(), webMailRoutes(), webComposeRoutes(), webEventRoutes(), webSettingsRoutes(), webContactRoutes(), webAutoconfigRoutes(),
		webAdminRoutes(), webMetricsRoutes(), webAPIRoutes(), webACMERoutes(), webSTSRoutes(), webDomainRoutes()} {
		all = append(all, part...)
	}
	return all
}

// webReq is one request being answered.
type webReq struct {
	*webApp
	w       http.ResponseWriter
	r       *http.Request
	lang    *webLang
	user    User // zero without a login
	session WebSession
	token   string // of the session, or of the browser before login; form tokens are made from it
	visitor bool   // the browser has not been told its token yet
	remote  netip.Addr
	proxied bool     // a proxy of [http] proxies asks for it
	room    int64    // octets of forms that this request holds
	looked  *webLook // once it was read
	spools  []*Spool // of what was opened inside a signature
	late    bool     // a letter, which may come from a page of an earlier login
}

// webError is an answer other than the page that was asked for.
type webError struct {
	status int
	text   string // English, a key of the words
}

func (e *webError) Error() string { return e.text }

func webFault(status int, text string) error { return &webError{status, text} }

// webErrDo answers a form whose button nobody knows.
var webErrDo = webFault(http.StatusBadRequest, "That button is not known here.")

// webHandler is the whole site. Call it once for a server: it also starts what sends letters when they are due.
func (s *Server) webHandler() http.Handler { return s.newWeb() }

func (s *Server) newWeb() *webApp {
	a := &webApp{
		s: s, log: s.log.With("proto", "http"), mux: http.NewServeMux(), cross: http.NewCrossOriginProtection(),
		key: make([]byte, 32), started: time.Now(), wake: make(chan struct{}, 1),
		forms: &webBudget{own: map[UserID]int64{}}, streams: &webStreams{}, codes: webNewCache[string, template.URL](webMaxCodes), zones: webNewCache[string, time.Location](webMaxZones),
		orders: webNewCache[webOrderKey, webOrder](webMaxOrders),
		pages:  map[string]*webLang{}, notes: map[string]*webNote{},
		second: map[string]webSecond{}, usedUp: map[UserID]webTOTP{}, rows: webNewCache[BlobID, webSummary](webMaxRows), found: webNewCache[string, webResult](webMaxSearches),
		sanitised: webNewCache[webSafeKey, webSafe](webSafeKept),
	}
	rand.Read(a.key)
	a.loadStatic()
	for _, rt := range webRoutes() {
		a.mux.HandleFunc(rt.pattern, func(w http.ResponseWriter, r *http.Request) { a.answer(w, r, rt) })
	}
	a.mux.HandleFunc("GET /static/{file}", a.serveStatic)
	a.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if allow := a.allowed(r); allow != "" {
			w.Header().Set("Allow", allow)
			http.Error(w, "This address takes "+allow+" only.", http.StatusMethodNotAllowed)
			return
		}
		a.answer(w, r, webRoute{pattern: "/", access: webPublic, handle: func(q *webReq) error { return ErrNotFound }})
	})
	s.crew.Keep(&s.wg, "letters", s.stop.Done(), a.sender)
	return a
}

// allowed says which methods an address takes, "" if there is nothing at it.
func (a *webApp) allowed(r *http.Request) string {
	var all []string
	for _, m := range []string{http.MethodGet, http.MethodPost} {
		ask := *r
		ask.Method = m
		if _, pattern := a.mux.Handler(&ask); pattern != "/" {
			all = append(all, m)
		}
	}
	return strings.Join(all, ", ")
}

// serveHTTP serves the site on a listener until the server stops. secure is for TLS from the first octet on.
func (s *Server) serveHTTP(h http.Handler, l net.Listener, secure bool) {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: webHeaderTimeout, IdleTimeout: webIdleTimeout, MaxHeaderBytes: webMaxHeader,
		ErrorLog:    slog.NewLogLogger(s.log.With("proto", "http").Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return s.stop },
	}
	if a, ok := h.(*webApp); ok {
		srv.ConnState = a.countConn
	}
	done := s.crew.Result("http shutdown", func() error {
		<-s.stop.Done()
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		if srv.Shutdown(ctx) != nil {
			srv.Close()
		}
		return nil
	})
	var err error
	if secure {
		srv.TLSConfig = s.tls.Config()
		err = srv.ServeTLS(l, "", "")
	} else {
		err = srv.Serve(l)
	}
	if !errors.Is(err, http.ErrServerClosed) && s.stop.Err() == nil {
		s.log.Error("http listener", "addr", l.Addr(), "err", err)
		return
	}
	<-done
}

// webConn is a connection and the network that it comes from.
type webConn struct {
	net.Conn
	from netip.Prefix
}

// countConn keeps one network, and all of them together, from taking every file descriptor. When there are too many, the
// oldest connection of the network with the most makes room, unless the newcomer's has more.
func (a *webApp) countConn(c net.Conn, st http.ConnState) {
	if st != http.StateNew && st != http.StateClosed && st != http.StateHijacked {
		return
	}
	if a.s.isProxy(remoteAddr(c)) { // it keeps many for others
		return
	}
	from := networkOf(remoteAddr(c))
	a.mu.Lock()
	defer a.mu.Unlock()
	if st != http.StateNew {
		a.conns = slices.DeleteFunc(a.conns, func(x webConn) bool { return x.Conn == c })
		return
	}
	count, most := map[netip.Prefix]int{}, 0
	for _, x := range a.conns {
		count[x.from]++
		most = max(most, count[x.from])
	}
	a.conns = append(a.conns, webConn{c, from})
	switch {
	case count[from] >= webMaxPerNetwork || (len(a.conns) > webMaxConns && count[from] >= most):
		c.Close()
	case len(a.conns) > webMaxConns:
		i := slices.IndexFunc(a.conns, func(x webConn) bool { return count[x.from] == most })
		a.log.Warn("connection dropped for another one", "remote", a.conns[i].from)
		if tc, ok := a.conns[i].Conn.(*tls.Conn); ok {
			tc.NetConn().Close() // TLS would take its time to say goodbye to somebody who doesn't listen
		} else {
			a.conns[i].Close()
		}
		a.conns = slices.Delete(a.conns, i, i+1)
	}
}

// ServeHTTP checks what holds for every address of the site and hands over.
func (a *webApp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			a.s.crew.Caught("page", p)
			a.log.Error("page", "path", r.URL.Path, "err", p)
			http.Error(w, "Internal error", http.StatusInternalServerError)
		}
	}()
	a.s.store.AwaitCheck()
	if !webIsACME(r.URL.Path) && !a.knownHost(r.Host) {
		http.Error(w, "This server has another name. Use its address or the name in mail.toml.", http.StatusMisdirectedRequest)
		return
	}
	ctl := http.NewResponseController(w)
	ctl.SetWriteDeadline(time.Time{}) // of the request before; each answer sets its own when it begins
	if r.Body != http.NoBody {
		ctl.SetReadDeadline(time.Now().Add(webStallTimeout))
	}
	h := w.Header()
	h.Set("Content-Security-Policy", webPagePolicy)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // no-referrer would make browsers send Origin: null with our own forms
	h.Set("X-DNS-Prefetch-Control", "off")  // a lookup of a link's host would tell the sender that the mail was opened
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	r.URL = webSmallPath(r.URL)
	a.mux.ServeHTTP(w, r)
}

// webPagePolicy is for our own pages: nothing but our own files, and no frame may hold them.
const webPagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"frame-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// knownHost refuses names that are not ours: a name of an attacker's may be pointed at this machine while his page is
// open (DNS rebinding), and then the browser would take his script for one of ours. Addresses can't be re-pointed.
func (a *webApp) knownHost(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(strings.Trim(host, "[]"), "."))
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	own := strings.ToLower(a.s.cfg.Hostname)
	short, _, _ := strings.Cut(own, ".")
	if host == "localhost" || host == own || host == short || webIsLocalName(host, short) {
		return true
	}
	for _, d := range a.s.cfg.DomainsNow() {
		ascii, _ := DomainToASCII(d)
		for _, p := range []string{"", "mail.", "autoconfig.", "autodiscover."} {
			if host == p+ascii {
				return true
			}
		}
		if host == "mta-sts."+ascii && a.s.cfg.servesSTS(d) {
			return true
		}
	}
	return a.s.tls.hasName(host)
}

// webIsLocalName says whether a host is the name under which mDNS announces us: HOSTNAME.local, or HOSTNAME-2.local and so on where
// another one has it. Any other name in .local may be pointed at us by whoever is in the house.
func webIsLocalName(host, short string) bool {
	name, ok := strings.CutSuffix(host, ".local")
	if !ok {
		return false
	}
	n, numbered := strings.CutPrefix(name, short+"-")
	_, err := strconv.ParseUint(n, 10, 16)
	return name == short || (numbered && err == nil)
}

// answer runs one route: who asks, from which site, with which form, then the handler, and what to say when it fails.
func (a *webApp) answer(w http.ResponseWriter, r *http.Request, rt webRoute) {
	q := &webReq{webApp: a, w: w, r: r, proxied: a.s.isProxy(webRemote(r)), remote: a.s.forwardedFor(webRemote(r), r.Header["X-Forwarded-For"])}
	if rt.access&webForeign == 0 && a.cross.Check(r) != nil {
		a.log.Warn("cross-site request refused", "path", r.URL.Path, "remote", r.RemoteAddr)
		http.Error(w, "This request came from another site and was refused.", http.StatusForbidden)
		return
	}
	err := q.s.store.Unreadable()
	if rt.access&webForeign != 0 || strings.HasSuffix(rt.pattern, "/healthz") {
		err = nil // programs get an answer of their own
	}
	if err == nil {
		err = q.findSession()
	}
	lang := *a.language(q.languageWanted())
	lang.zone = q.zone()
	q.lang = &lang
	if err == nil {
		err = q.admit(rt)
	}
	if errors.Is(err, webErrLogin) {
		q.redirect("/login?to=" + webEscape(r.URL.RequestURI()))
		return
	}
	defer q.giveRoom()
	defer q.closeSpools()
	if err == nil && r.Method == http.MethodPost && rt.access&webForeign == 0 {
		err = q.checkForm(rt)
	}
	if err == nil {
		err = rt.handle(q)
		if a.entered != nil {
			a.entered(rt.pattern, r.PostForm.Get("do"))
		}
	}
	if err != nil {
		q.fail(err)
	}
}

// webErrLogin sends a person, who can log in, to the page for that. Scripts and programs are told.
var webErrLogin = errors.New("a login is needed")

// admit sees that whoever asks may do so.
func (q *webReq) admit(rt webRoute) error {
	switch {
	case rt.access&webLate != 0 && strings.Contains(q.r.Header.Get("Accept"), "text/html"):
		q.late = true // scripts and programs are told
	case rt.access&(webLoggedIn|webAdmin) != 0 && q.user.ID == 0:
		if q.r.Method == http.MethodGet && strings.Contains(q.r.Header.Get("Accept"), "text/html") {
			return webErrLogin
		}
		return webErrOut
	case rt.access&webAdmin != 0 && !q.user.Admin:
		return ErrNotFound
	}
	return nil
}

// checkForm reads a form and compares its token. A form with files is left to its handler; other handlers never see one.
func (q *webReq) checkForm(rt webRoute) error {
	if strings.HasPrefix(q.r.Header.Get("Content-Type"), "multipart/") {
		if rt.access&webWithFiles != 0 {
			return nil
		}
		return q.checkToken("")
	}
	limit := int64(webMaxForm)
	if q.user.ID == 0 {
		limit = webMaxStrangersForm
	}
	q.r.Body = io.NopCloser(q.counted(http.MaxBytesReader(q.w, q.r.Body, limit)))
	err := q.r.ParseForm()
	http.NewResponseController(q.w).SetReadDeadline(time.Time{}) // the form is here; what it asks for may take its time
	var we *webError
	switch {
	case errors.As(err, &we):
		return err
	case err != nil:
		return webFault(http.StatusRequestEntityTooLarge, "That is too much text for one form.")
	}
	return q.checkToken(q.r.PostForm.Get("csrf"))
}

// fail shows an error: what the person can understand, or that something is wrong here.
func (q *webReq) fail(err error) {
	var we *webError
	var lacks *RightsError
	switch {
	case errors.As(err, &we):
	case errors.As(err, &lacks):
		we = &webError{http.StatusForbidden, "You may not do this in this folder."}
	case errors.Is(err, ErrNotFound):
		we = &webError{http.StatusNotFound, "There is nothing at this address."}
	case errors.Is(err, ErrQuota), errors.Is(err, ErrTooMany):
		we = &webError{http.StatusInsufficientStorage, "There is no room left for this."}
	case errors.Is(err, ErrDiskFull):
		we = &webError{http.StatusInsufficientStorage, "The disk of the server is full."}
	case errors.Is(err, ErrTooBig):
		we = &webError{http.StatusRequestEntityTooLarge, "That is too big."}
	case errors.Is(err, ErrContentDamaged):
		we = &webError{http.StatusServiceUnavailable, "This message is damaged on the disk of the server. The administrator finds in the log what can be done."}
	case errors.Is(err, ErrUnreadable):
		we = &webError{http.StatusServiceUnavailable, "The mail file can't be opened. The administrator finds the reason in the log; nothing was changed in the file."}
	case errors.Is(err, ErrReadOnly):
		we = &webError{http.StatusServiceUnavailable, "The mail file can only be read just now: nothing can be changed, taken in or sent."}
	case errors.Is(err, ErrMailboxName):
		we = &webError{http.StatusBadRequest, "That name can't be used for a folder."}
	case errors.Is(err, ErrExists):
		we = &webError{http.StatusConflict, "That exists already."}
	case errors.Is(err, context.Canceled), errors.Is(err, io.ErrUnexpectedEOF):
		return // the browser has gone
	default:
		q.s.crew.Complain("page", err, "path", q.r.URL.Path, "user", q.user.Name)
		we = &webError{http.StatusInternalServerError, "Something went wrong here. The log of the server says what."}
	}
	if strings.HasPrefix(q.r.Header.Get("Accept"), "application/json") || strings.HasPrefix(q.r.URL.Path, "/api/") {
		q.sendJSON(we.status, map[string]string{"error": q.lang.T(we.text)})
		return
	}
	q.status(we.status, "error", we.text, we)
}

func (q *webReq) redirect(to string) error {
	webSoon(q.w)
	q.w.Header().Set("Location", to)
	q.w.WriteHeader(http.StatusSeeOther)
	return nil
}

func webRemote(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.IPv6Unspecified()
	}
	return ap.Addr().Unmap().WithZone("")
}

// webNote is said once, on the next page after something was done.
type webNote struct {
	Text  string // translated
	Bad   bool
	Undo  []webUndo
	Sent  int64 // a letter that can still be called back
	Until int   // seconds for which it can
}

// note keeps what the next page of this session shall say.
func (q *webReq) note(n *webNote) {
	key := string(q.session.Hash)
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.notes) >= webMaxNotes {
		for k := range q.notes {
			delete(q.notes, k)
			break
		}
	}
	q.notes[key] = n
}

// say leaves a word for the next page.
func (q *webReq) say(text string, args ...any) { q.note(&webNote{Text: q.lang.F(text, args...)}) }

// sayBad does the same for something that was not done.
func (q *webReq) sayBad(text string) { q.note(&webNote{Text: q.lang.T(text), Bad: true}) }

// sayCount says how many messages or other things something was done to: one for 1, many for the rest.
func (q *webReq) sayCount(n int64, one, many string) { q.note(&webNote{Text: q.lang.N(n, one, many)}) }

func (q *webReq) takeNote() *webNote {
	if len(q.session.Hash) == 0 {
		return nil
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.notes[string(q.session.Hash)]
	delete(q.notes, string(q.session.Hash))
	return n
}

// sendJSON answers a script.
func (q *webReq) sendJSON(status int, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	q.send(status, "application/json", b)
	return nil
}

// send writes a finished answer, compressed if the browser takes that.
func (q *webReq) send(status int, kind string, body []byte) {
	webSoon(q.w)
	h := q.w.Header()
	h.Set("Content-Type", kind)
	if len(body) >= webGzipFrom && strings.Contains(q.r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		h.Add("Vary", "Accept-Encoding")
		q.w.WriteHeader(status)
		z := webGzip.Get().(*gzip.Writer)
		defer webGzip.Put(z)
		z.Reset(q.w)
		z.Write(body)
		z.Close()
		return
	}
	h.Set("Content-Length", fmt.Sprint(len(body)))
	q.w.WriteHeader(status)
	q.w.Write(body)
}
