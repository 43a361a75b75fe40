package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The verbs go back to a backup, keep what was there, refuse what is no backup and never touch a file that is in use.
func TestVerbRestore(t *testing.T) {
	t.Parallel()
	c := newTestCommand(t, "")
	path := filepath.Join(c.dir, "mail.db")
	backup := filepath.Join(c.dir, "backup.db")
	c.want(0, "", "secret\n", "user", "add", "ann@home.arpa")
	c.want(0, "postino restore", "", "backup", backup)
	c.want(0, "", "secret\n", "user", "add", "bob@home.arpa")
	c.want(2, "usage", "", "restore")
	c.want(1, "no such file", "", "restore", filepath.Join(c.dir, "none.db"))
	c.want(1, "name a backup", "", "restore", path)
	text := filepath.Join(c.dir, "text")
	os.WriteFile(text, []byte("hello"), 0o600)
	c.want(1, "another program", "", "restore", text)
	damaged := filepath.Join(c.dir, "damaged.db")
	b, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	clear(b[len(b)/2/4096*4096:][:8192])
	os.WriteFile(damaged, b, 0o600)
	c.want(1, "damaged|nothing was changed|postino rescue", "", "restore", damaged)

	lock, err := serveLock(path)
	if err != nil || lock == nil {
		t.Fatal(err)
	}
	c.want(1, "in use", "", "restore", backup)
	lock.Close()
	c.want(0, "bob@home.arpa", "", "user", "list")
	c.want(0, "1 users|before-restore", "", "restore", backup)
	if _, out := c.run("", "user", "list"); !strings.Contains(out, "ann") || strings.Contains(out, "bob") {
		t.Errorf("after the restore: %s", out)
	}
	aside, _ := filepath.Glob(path + ".before-restore-*")
	if len(aside) != 1 {
		t.Errorf("the file of before: %v", aside)
	}
}
