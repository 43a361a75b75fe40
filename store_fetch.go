// What was fetched from accounts elsewhere: the names that messages have there.
package main

// Fetched returns those of names that are remembered for an account. names may be many; the answer has no more than they.
func (tx *Tx) Fetched(account string, names []string) (map[string]bool, error) {
	found := map[string]bool{}
	for _, name := range names {
		var n int
		err := tx.one(`SELECT count(*) FROM fetched WHERE account=? AND uid=?`, []any{account, name}, &n)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			found[name] = true
		}
	}
	return found, nil
}

// EachFetched calls fn with each name remembered for an account that begins with prefix, in their order, until fn returns an
// error.
func (tx *Tx) EachFetched(account, prefix string, fn func(name string) error) error {
	query := `SELECT uid FROM fetched WHERE account=? AND uid>=? ORDER BY uid`
	err := tx.each(query, []any{account, prefix}, func(scan func(...any) error) error {
		var name string
		if err := scan(&name); err != nil {
			return err
		}
		if len(name) < len(prefix) || name[:len(prefix)] != prefix {
			return errNothing // the names with this prefix are over
		}
		return fn(name)
	})
	if err == errNothing {
		return nil
	}
	return err
}

// SetFetched remembers a name.
func (tx *Tx) SetFetched(account, name string) error {
	_, err := tx.exec(`INSERT OR IGNORE INTO fetched(account,uid) VALUES(?,?)`, account, name)
	return err
}

// ForgetFetched forgets a name.
func (tx *Tx) ForgetFetched(account, name string) error {
	_, err := tx.exec(`DELETE FROM fetched WHERE account=? AND uid=?`, account, name)
	return err
}
