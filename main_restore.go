// The verbs backup and restore: a copy of the file, and a copy back in its place.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

func (c *command) backup(args []string) error {
	if len(args) != 1 {
		return usageError{}
	}
	_, st, err := c.open()
	if err != nil {
		return err
	}
	defer st.Close()
	if _, err := os.Stat(filepath.Dir(args[0])); err != nil {
		return fmt.Errorf("%w; name a file in a folder that is there", err)
	}
	if err := st.Backup(args[0]); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is a whole copy; to go back to it, stop postino and run `postino restore %s`.\n", args[0], args[0])
	return nil
}

func (c *command) restore(args []string) error {
	if len(args) != 1 {
		return usageError{}
	}
	cfg, err := c.load()
	if err != nil {
		return err
	}
	path := cfg.Path(cfg.Database)
	lock, err := serveLock(path)
	if err != nil {
		return err
	}
	defer lock.Close()
	if same, err := sameFile(path, args[0]); same || err != nil {
		return errors.Join(err, fmt.Errorf("%s is the file that postino runs on; name a backup", args[0]))
	}
	cut := []string{settingCA, settingAccount, settingPublic}
	for _, d := range cfg.DomainsNow() {
		ascii, err := DomainToASCII(d)
		if err == nil {
			cut = append(cut, dkimSetting+ascii)
		}
	}
	r, err := Restore(path, args[0], time.Now(), cut...)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is %s now: %d users, %d messages.\n", path, args[0], r.Users, r.Messages)
	if r.Aside != "" {
		fmt.Fprintf(c.out, "The file of before is %s; remove it when you are sure.\n", r.Aside)
	}
	if r.Waiting > 0 {
		fmt.Fprintf(c.out, "%d messages wait in its queue and may have gone out since: `postino queue list` before the start shows them, `postino queue rm` takes them out.\n", r.Waiting)
	}
	fmt.Fprintln(c.out, "Mail programs will fetch their folders anew.")
	return nil
}

func sameFile(a, b string) (bool, error) {
	x, err := os.Stat(a)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	y, err := os.Stat(b)
	if err != nil {
		return false, err
	}
	return os.SameFile(x, y), nil
}

// aloneOn says whether no appliance runs on the file. Until release is called none can be started.
func aloneOn(path string) (release func(), alone bool) {
	f, err := os.OpenFile(path+"-lock", os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return func() {}, errors.Is(err, os.ErrNotExist)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	return func() { f.Close() }, err == nil
}
