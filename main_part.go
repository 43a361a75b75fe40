// Files in foreign places, such as a stick: written under a name of their own and renamed when they are whole, never through a link.
package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const partEnd = ".part"

// writePart writes a file that appears under its name when all of it is on the disk. A link or anything else than a file that has
// the name is left alone, and an error; a file is replaced if replace says so. After an error nothing is left behind.
func writePart(path string, replace bool, write func(io.Writer) error) error {
	sweepParts(path)
	if err := freeName(path, replace); err != nil {
		return err
	}
	tmp := path + "." + strings.ToLower(rand.Text()) + partEnd
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = freeName(path, replace)
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// freeName says whether a file may be written under a name.
func freeName(path string, replace bool) error {
	fi, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !fi.Mode().IsRegular():
		return fmt.Errorf("%s is a link or no file; nothing is written there", path)
	case !replace:
		return fmt.Errorf("%s is there already; name a new file", path)
	}
	return nil
}

// sweepParts removes what an earlier writePart of the same name has left behind when it was killed.
func sweepParts(path string) {
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"+partEnd))
	if err != nil {
		return // the folder's name is no pattern
	}
	for _, n := range names {
		random, ok := strings.CutPrefix(strings.TrimSuffix(n, partEnd), path+".")
		fi, err := os.Lstat(n)
		if ok && err == nil && fi.Mode().IsRegular() && len(random) == len(rand.Text()) {
			os.Remove(n)
		}
	}
}

// openPlain opens a file to read it, and nothing else: not a link, a pipe or a device.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s is a link; name the file itself", path)
	}
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
