// Changes to mail.toml by the page and by verbs: one value is written anew, and all else stays as people wrote it.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// SetDomains writes the domains into mail.toml. Nothing is written that could not be read again.
func (c *Config) SetDomains(domains []string) error {
	return c.write(configChange{"", "domains", configList(domains)})
}

// SetACME writes what is asked of the public CA into mail.toml.
func (c *Config) SetACME(a ACME) error {
	return c.write(configChange{"tls", "acme", strconv.Quote(a.Directory)}, configChange{"tls", "acme_contact", strconv.Quote(a.Contact)},
		configChange{"tls", "acme_names", configList(a.Names)}, configChange{"tls", "acme_challenge", strconv.Quote(a.Challenge)})
}

// configList is a list as TOML has it. Domains and names have nothing that TOML quotes in another way than Go.
func configList(all []string) string {
	quoted := make([]string, len(all))
	for i, s := range all {
		quoted[i] = `"` + s + `"`
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// configChange is a key of a table and its new value as TOML.
type configChange struct{ table, key, value string }

// write reads the file as it is now, changes it, sees that it can be read and says what was meant, and puts it in its place at once.
func (c *Config) write(changes ...configChange) error {
	if c.file == "" {
		return errors.New("this appliance was started without a file of configuration")
	}
	path, err := filepath.EvalSymlinks(c.file)
	if err != nil {
		return err
	}
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	text := string(old)
	wanted := []string{}
	for _, x := range changes {
		text = configSet(text, x)
		wanted = append(wanted, strings.TrimPrefix(x.table+"."+x.key, ".")+" = "+x.value)
	}
	fresh, err := parseConfig(text)
	if err != nil {
		return fmt.Errorf("with %s, %s can't be used: %w", strings.Join(wanted, ", "), c.file, err)
	}
	for _, x := range changes {
		if configSet(text, x) != text || !fresh.says(x) {
			return fmt.Errorf("%s says this in a way that only people can change; write there: %s", c.file, strings.Join(wanted, ", "))
		}
	}
	err = writeWhole(path, []byte(text))
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		return fmt.Errorf("%s can't be written by postino (%w); write there: %s", c.file, err, strings.Join(wanted, ", "))
	}
	if err != nil {
		return err
	}
	fresh, err = LoadConfig(c.file)
	if err != nil {
		return err
	}
	c.Adopt(fresh)
	return nil
}

// says says whether the configuration has a change's value.
func (c *Config) says(x configChange) bool {
	a := c.TLS.ACME
	now := map[string]string{"domains": configList(c.Domains), "acme": strconv.Quote(a.Directory), "acme_contact": strconv.Quote(a.Contact),
		"acme_names": configList(a.Names), "acme_challenge": strconv.Quote(a.Challenge)}
	return now[x.key] == x.value
}

// writeWhole replaces a file by another content: after a power cut there is the old one or the new one. Mode and owner stay.
func writeWhole(path string, content []byte) error {
	st, err := os.Stat(path)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".mail-*.toml")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		f.Chown(int(sys.Uid), int(sys.Gid)) // only root may, and only root has to
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(st.Mode().Perm())
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// configSet writes a value in the place of the one that a key has, with the comment behind it kept; a key that is not there
// becomes the first line of its table, and a table that is not there the last of the file.
func configSet(text string, x configChange) string {
	lines := strings.SplitAfter(text, "\n")
	end := "\n"
	if strings.Contains(text, "\r\n") {
		end = "\r\n"
	}
	here, at, place := "", 0, -1
	if x.table == "" {
		place = 0
	}
	for i := 0; i < len(lines); i++ {
		line := strings.TrimSpace(lines[i])
		if strings.HasPrefix(line, "[") {
			name, _, _ := strings.Cut(strings.TrimLeft(line, "["), "]")
			here = strings.Trim(strings.TrimSpace(name), `"'`)
			if here == x.table && place < 0 {
				place = i + 1
			}
		}
		name, _, isKey := strings.Cut(line, "=")
		if !isKey || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			at += len(lines[i])
			continue
		}
		from := at + strings.Index(lines[i], "=") + 1
		length := configValue(text[from:])
		if here == x.table && strings.Trim(strings.TrimSpace(name), `"'`) == x.key {
			rest := text[from+length:]
			return text[:from] + " " + x.value + rest
		}
		for at+len(lines[i]) < from+length { // the lines of a long value
			at += len(lines[i])
			i++
		}
		at += len(lines[i])
	}
	line := x.key + " = " + x.value + end
	if place >= 0 {
		if x.table == "" {
			return line + text
		}
		head := strings.Join(lines[:place], "")
		return configEnded(head, end) + line + strings.Join(lines[place:], "")
	}
	return configEnded(text, end) + end + "[" + x.table + "]" + end + line
}

// configEnded is a text whose last line is whole.
func configEnded(text, end string) string {
	if text == "" || strings.HasSuffix(text, "\n") {
		return text
	}
	return text + end
}

// configValue is the length of the value that a text begins with, with the blanks in front of it and none behind: until the line
// ends, or a comment begins, outside of brackets and quotes.
func configValue(s string) int {
	depth, last := 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\'':
			quote := string(c)
			if strings.HasPrefix(s[i:], strings.Repeat(quote, 3)) {
				quote = strings.Repeat(quote, 3)
			}
			i += len(quote)
			for i < len(s) && !strings.HasPrefix(s[i:], quote) {
				if s[i] == '\\' && c == '"' {
					i++
				}
				i++
			}
			i = min(i+len(quote)-1, len(s)-1)
		case c == '#':
			if depth == 0 {
				return last
			}
			n := strings.IndexByte(s[i:], '\n')
			if n < 0 {
				return last
			}
			i += n
			continue
		case c == '[' || c == '{':
			depth++
		case c == ']' || c == '}':
			depth--
		case c == '\n' && depth <= 0:
			return last
		}
		if !slices.Contains([]byte(" \t\r\n"), s[i]) {
			last = i + 1
		}
	}
	return last
}
