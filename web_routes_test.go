package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// webEntered is what the tests of this run have entered: routes, and behind a blank the button (do=…).
var webEntered = &enteredRoutes{all: map[string]bool{}}

type enteredRoutes struct {
	mu  sync.Mutex
	all map[string]bool
}

func (e *enteredRoutes) note(route, do string) {
	do, _, numbered := strings.Cut(do, ":")
	if numbered {
		do += ":"
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all[route] = true
	e.all[strings.TrimSpace(route+" "+do)] = true
}

// missing lists the routes and buttons that no test has entered.
func (e *enteredRoutes) missing() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var missing []string
	for _, want := range webWanted() {
		if !e.all[want] {
			missing = append(missing, want)
		}
	}
	return missing
}

// webWanted lists every route, and every button that its handler, or what that calls, asks for by name.
func webWanted() []string {
	code := webReadSource()
	var all []string
	for _, rt := range webRoutes() {
		all = append(all, rt.pattern)
		for _, do := range code.buttons(code.handlers[rt.pattern]) {
			all = append(all, rt.pattern+" "+do)
		}
		if rt.pattern == "POST /act" {
			for do := range webActions {
				all = append(all, rt.pattern+" "+do)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// webSource is what the sources of the pages say about handlers and buttons.
type webSource struct {
	handlers map[string]string   // pattern → method
	calls    map[string][]string // method or function → what it calls
	names    map[string][]string // method or function → the values of do that it compares with
}

func webReadSource() webSource {
	c := webSource{map[string]string{}, map[string][]string{}, map[string][]string{}}
	files, _ := filepath.Glob("web*.go")
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			panic(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Body != nil {
				c.read(fn)
			}
		}
	}
	return c
}

// read notes a function's rows of routes, its calls, and its comparisons with the button.
func (c *webSource) read(fn *ast.FuncDecl) {
	me := fn.Name.Name
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CompositeLit:
			if len(n.Elts) == 3 {
				if method, ok := n.Elts[2].(*ast.SelectorExpr); ok {
					if text, ok := webLiteral(n.Elts[0]); ok {
						c.handlers[text] = method.Sel.Name
					}
				}
			}
		case *ast.CallExpr:
			switch f := n.Fun.(type) {
			case *ast.Ident:
				c.calls[me] = append(c.calls[me], f.Name)
			case *ast.SelectorExpr:
				c.calls[me] = append(c.calls[me], f.Sel.Name)
				if text, ok := webPrefix(n); ok {
					c.names[me] = append(c.names[me], text)
				}
			}
		case *ast.SwitchStmt:
			if webIsDo(n.Tag) {
				for _, s := range n.Body.List {
					for _, e := range s.(*ast.CaseClause).List {
						if text, ok := webLiteral(e); ok {
							c.names[me] = append(c.names[me], text)
						}
					}
				}
			}
		case *ast.BinaryExpr:
			if text, ok := webLiteral(n.Y); ok && webIsDo(n.X) && (n.Op == token.EQL || n.Op == token.NEQ) && text != "" {
				c.names[me] = append(c.names[me], text)
			}
		}
		return true
	})
}

// webIsDo says whether an expression is the button: the variable do, or what the form says.
func webIsDo(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == "do"
	case *ast.CallExpr:
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Get" && len(e.Args) == 1 {
			text, _ := webLiteral(e.Args[0])
			return text == "do"
		}
	}
	return false
}

// webPrefix finds strings.HasPrefix(do, "…:") and strings.CutPrefix of it.
func webPrefix(call *ast.CallExpr) (string, bool) {
	f := call.Fun.(*ast.SelectorExpr)
	if len(call.Args) != 2 || !webIsDo(call.Args[0]) || (f.Sel.Name != "HasPrefix" && f.Sel.Name != "CutPrefix") {
		return "", false
	}
	return webLiteral(call.Args[1])
}

func webLiteral(e ast.Expr) (string, bool) {
	l, ok := e.(*ast.BasicLit)
	if !ok || l.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(l.Value)
	return text, err == nil
}

// buttons are the values of do that a handler knows, itself or by what it calls.
func (c *webSource) buttons(handler string) []string {
	var all []string
	seen := map[string]bool{}
	todo := []string{handler}
	for len(todo) > 0 {
		fn := todo[0]
		todo = todo[1:]
		if seen[fn] || fn == "settings" || fn == "page" {
			continue
		}
		seen[fn] = true
		all = append(all, c.names[fn]...)
		todo = append(todo, c.calls[fn]...)
	}
	return all
}

// TestRoutes sees that every form refuses a button that it does not know, and that what TestMain asks for at the end, that
// every route and every button has been entered by some test, can be known at all.
func TestRoutes(t *testing.T) {
	code := webReadSource()
	s := startServer(t)
	s.admin(t, "ann")
	ann := newWebClient(t, s).login("ann")
	forms := 0
	for _, rt := range webRoutes() {
		if code.handlers[rt.pattern] == "" && !strings.Contains(strings.ToLower(rt.pattern), "/autodiscover") {
			t.Errorf("%s: its handler is not found in the sources", rt.pattern)
		}
		path, post := strings.CutPrefix(rt.pattern, "POST ")
		if !post || len(code.buttons(code.handlers[rt.pattern])) == 0 {
			continue
		}
		forms++
		path = strings.ReplaceAll(path, "{id}", "2")
		ann.get("/folders")
		ann.post(path, "do", "strange", "m", ann.find(`href="/box/(\d+)"`)+".1", "box", ann.find(`href="/box/(\d+)"`), "name", "x", "address", "bob@home.arpa", "match", "x")
		if ann.code != 400 {
			t.Errorf("%s with an unknown button: %d", rt.pattern, ann.code)
		}
	}
	if forms < 10 {
		t.Errorf("only %d forms with buttons were found", forms)
	}
	webEntered.mu.Lock()
	defer webEntered.mu.Unlock()
	for known := range webEntered.all {
		if strings.HasSuffix(known, " strange") {
			delete(webEntered.all, known)
		}
	}
}
