package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestBrowser leads a real browser through the pages: testdata/browser/flow.mjs. It needs Chromium, Node and
// `npm ci --prefix testdata/browser`. Pictures for people to look at go to the folder that SCREENSHOTS names.
func TestBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED: the browser test takes a minute")
	}
	chromium := ""
	for _, name := range []string{os.Getenv("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); name != "" && err == nil {
			chromium = p
			break
		}
	}
	node, err := exec.LookPath("node")
	if _, merr := os.Stat("testdata/browser/node_modules/playwright-core"); chromium == "" || err != nil || merr != nil {
		t.Skip("SKIPPED: NO BROWSER TEST WAS RUN. It needs chromium, node and `npm ci --prefix testdata/browser`.")
	}
	s := startServer(t)
	err = s.store.Write(func(tx *Tx) error { // a first start has no users
		all, err := tx.Users()
		for _, u := range all {
			if err == nil {
				err = tx.RemoveUser(u.ID)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	link, err := webSetupLink(s.cfg, s.store)
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.addr["http"]
	_, code, _ := strings.Cut(link, "#")
	out := os.Getenv("SCREENSHOTS")
	if out == "" {
		out = t.TempDir()
	}
	cmd := exec.Command(node, "testdata/browser/flow.mjs", base, base+"/setup#"+code, out, "testdata/html")
	cmd.Env = append(os.Environ(), "CHROMIUM="+chromium)
	b, err := cmd.CombinedOutput()
	t.Logf("%s", b)
	if err != nil || !strings.HasSuffix(strings.TrimSpace(string(b)), "ok") {
		t.Fatal("the browser found something: ", err)
	}
}
