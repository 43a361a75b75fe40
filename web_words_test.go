package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// webTexts are functions whose string arguments people read, and which of them: from the first or from the second on.
var webTexts = map[string]int{"T": 0, "F": 0, "N": 1, "say": 0, "webFault": 1, "page": 1, "guidePage": 1, "again": 0}

// TestWebWords sees that every text of the pages is there in Chinese, with the same blanks to fill in.
func TestWebWords(t *testing.T) {
	used := map[string]string{"Incoming mail": "web_autoconfig.go", "Outgoing mail": "web_autoconfig.go"}
	for _, m := range specialMailboxes[1:] {
		used[m.name] = "the folders that everybody has"
	}
	inTemplate := regexp.MustCompile(`\b(?:t|f|n [^"{}]*?)\s*"((?:[^"\\]|\\.)*)"(?:\s+"((?:[^"\\]|\\.)*)")?`)
	files, _ := filepath.Glob("web/*.html")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, action := range regexp.MustCompile(`\{\{[^}]*\}\}`).FindAllString(string(b), -1) {
			for _, m := range inTemplate.FindAllStringSubmatch(action, -1) {
				for _, s := range m[1:] {
					if s != "" {
						used[s] = f
					}
				}
			}
		}
	}
	sources, _ := filepath.Glob("web*.go")
	for _, f := range sources {
		if !strings.HasSuffix(f, "_test.go") && f != "web_words.go" {
			webTextsOf(t, f, used)
		}
	}
	if len(used) < 300 {
		t.Fatalf("only %d texts were found", len(used))
	}
	blanks := regexp.MustCompile(`%[a-z]`)
	for text, where := range used {
		zh, ok := webChinese[text]
		if !ok {
			t.Errorf("%s: %q is not there in Chinese", where, text)
		} else if strings.Join(blanks.FindAllString(text, -1), "") != strings.Join(blanks.FindAllString(zh, -1), "") {
			t.Errorf("%q has other blanks in Chinese: %q", text, zh)
		}
	}
	for text := range webChinese {
		if used[text] == "" {
			t.Errorf("%q is nowhere used", text)
		}
	}
}

// webTextsOf collects the texts of a source file: arguments of webTexts, and literals in tables and fields that are
// translated later.
func webTextsOf(t *testing.T, file string, used map[string]string) {
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	add := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil && s != "" {
				used[s] = file
			}
		}
	}
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.CallExpr:
			name := ""
			switch fn := n.Fun.(type) {
			case *ast.Ident:
				name = fn.Name
			case *ast.SelectorExpr:
				name = fn.Sel.Name
			}
			from, ok := webTexts[name]
			if name == "status" {
				from, ok = 2, true
			}
			if name == "again" && len(n.Args) == 2 && file == "web_session.go" {
				from = 1
			}
			if name == "say" && len(n.Args) == 3 { // the lights of the overview
				from = 1
			}
			for i, a := range n.Args {
				if ok && i >= from && (i == from || name == "N" || name == "say") {
					add(a)
				}
			}
		case *ast.CompositeLit:
			webTextsIn(n, add)
		case *ast.AssignStmt:
			if s, ok := n.Lhs[0].(*ast.SelectorExpr); ok && (s.Sel.Name == "Error" || s.Sel.Name == "Title") {
				add(n.Rhs[0])
			}
		case *ast.FuncDecl:
			if n.Name.Name == "webReason" {
				ast.Inspect(n, func(n ast.Node) bool {
					if r, ok := n.(*ast.ReturnStmt); ok {
						add(r.Results[0])
					}
					return true
				})
			}
		}
		return true
	})
}

// webTextsIn collects from tables: {"read", "Texts"}, Error: "Text", and {status, "Text"}.
func webTextsIn(n *ast.CompositeLit, add func(ast.Expr)) {
	kind := ""
	switch x := n.Type.(type) {
	case *ast.Ident:
		kind = x.Name
	case *ast.ArrayType:
		if id, ok := x.Elt.(*ast.Ident); ok && id.Name == "string" {
			kind = "strings"
		}
		if _, ok := x.Elt.(*ast.ArrayType); ok {
			for _, e := range n.Elts { // the tabs
				if c, ok := e.(*ast.CompositeLit); ok && len(c.Elts) == 2 {
					if l, ok := c.Elts[0].(*ast.BasicLit); ok && (l.Value == `""` || l.Value == strings.ToLower(l.Value)) {
						if r, ok := c.Elts[1].(*ast.BasicLit); ok && r.Kind == token.STRING && r.Value[1] >= 'A' && r.Value[1] <= 'Z' {
							add(r)
						}
					}
					if l, ok := c.Elts[0].(*ast.BasicLit); ok && l.Value == `"From"` {
						add(c.Elts[0])
					}
				}
			}
		}
		if s, ok := x.Elt.(*ast.StructType); ok && len(s.Fields.List) == 2 && len(n.Elts) == 3 { // webLevels
			for _, e := range n.Elts {
				if c, ok := e.(*ast.CompositeLit); ok && len(c.Elts) == 2 {
					add(c.Elts[0])
				}
			}
		}
	}
	for i, e := range n.Elts {
		kv, ok := e.(*ast.KeyValueExpr)
		if ok {
			if id, isID := kv.Key.(*ast.Ident); isID && (id.Name == "Error" || id.Name == "Title") {
				add(kv.Value)
			}
			continue
		}
		if kind == "webError" && i == 1 {
			add(e)
		}
		if kind == "strings" && len(n.Elts) == 2 {
			if l, isLit := e.(*ast.BasicLit); isLit && strings.Contains(l.Value, "%s") {
				add(e)
			}
		}
	}
}
