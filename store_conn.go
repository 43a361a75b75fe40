// Connections to the file, on SQLite's own functions.
package main

import (
	"fmt"
	"strings"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// dbConn is a connection to the file with its prepared statements. One goroutine at a time may use it: it has no lock.
//
// It is not one of database/sql, which takes several locks for each statement, asks for the names and types of all columns
// each time, and makes two copies of whatever is read; a FETCH of 400 MB of mail allocated 886 MB through it. What is done
// seldom (checks, backups, restoring) goes by database/sql and its driver all the same.
type dbConn struct {
	tls   *libc.TLS
	db    uintptr
	stmts map[string]*dbStmt
}

// sqliteError is what SQLite answers that is no result. Its code is an extended one.
type sqliteError struct {
	code int
	text string
}

func (e *sqliteError) Error() string { return e.text }

// Code is that of SQLite, as the driver's errors have it.
func (e *sqliteError) Code() int { return e.code }

// sqliteCode is the extended code of an error of SQLite, 0 for any other.
func sqliteCode(err error) int {
	for err != nil {
		if e, ok := err.(interface{ Code() int }); ok {
			return e.Code()
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if code := sqliteCode(e); code != 0 {
					return code
				}
			}
			return 0
		default:
			return 0
		}
	}
	return 0
}

// openConn opens the file that storeDSN names, or ":memory:". Parameters that begin with "_" become pragmas, in their order
// but for the time to wait for locks, which comes first; the others are SQLite's. It must be closed.
func openConn(dsn string) (*dbConn, error) {
	c := &dbConn{tls: libc.NewTLS(), stmts: map[string]*dbStmt{}}
	name, err := libc.CString(dsn)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	out := c.tls.Alloc(wordSize)
	defer c.tls.Free(wordSize)
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, out, sqlite3.SQLITE_OPEN_READWRITE|sqlite3.SQLITE_OPEN_CREATE|sqlite3.SQLITE_OPEN_NOMUTEX|sqlite3.SQLITE_OPEN_URI, 0)
	c.db = *(*uintptr)(atAddress(out))
	if rc == sqlite3.SQLITE_OK {
		rc = sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	}
	if rc != sqlite3.SQLITE_OK {
		err = c.fault(rc)
	}
	for _, pragma := range dsnPragmas(dsn) {
		if err == nil {
			err = c.run(pragma)
		}
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// dsnPragmas are the statements that the parameters of a DSN stand for.
func dsnPragmas(dsn string) []string {
	_, params, _ := strings.Cut(dsn, "?")
	var all []string
	for p := range strings.SplitSeq(params, "&") {
		key, value, _ := strings.Cut(p, "=")
		switch {
		case key == "_pragma":
			all = append(all, "PRAGMA "+value)
		case key == "_busy_timeout":
			all = append([]string{"PRAGMA busy_timeout=" + value}, all...)
		case strings.HasPrefix(key, "_"):
			all = append(all, "PRAGMA "+key[1:]+"="+value)
		}
	}
	return all
}

// wordSize is enough for any pointer.
const wordSize = 8

// atAddress is memory of SQLite's, which Go's collector knows nothing of. The address goes through a variable of ours because
// it is none of Go's: there is no pointer that it could have been computed from.
func atAddress(p uintptr) unsafe.Pointer { return *(*unsafe.Pointer)(unsafe.Pointer(&p)) }

// octetsAt is n octets of memory of SQLite's, good for as long as SQLite says.
func octetsAt(p uintptr, n int) []byte {
	if p == 0 || n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(atAddress(p)), n)
}

// fault is the error of a result code, with what the connection says of it.
func (c *dbConn) fault(rc int32) error {
	text := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if more := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); more != text {
			text += ": " + more
		}
	}
	return &sqliteError{int(rc), fmt.Sprintf("%s (%d)", text, rc)}
}

// stmt returns the prepared statement of a query, which must be one statement; done must be called when its rows have been
// read. A query that is under way on this connection is prepared once more.
func (c *dbConn) stmt(query string) (st *dbStmt, err error) {
	st = c.stmts[query]
	if st != nil && !st.busy {
		st.busy = true
		return st, nil
	}
	text, err := libc.CString(query)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, text)
	fresh, _, err := c.prepare(text, sqlite3.SQLITE_PREPARE_PERSISTENT)
	if err != nil {
		return nil, err
	}
	if fresh.p == 0 {
		return nil, fmt.Errorf("no statement: %.50q", query)
	}
	fresh.busy = true
	if st == nil {
		c.makeRoom()
		c.stmts[query], fresh.kept = fresh, true
	}
	return fresh, nil
}

// makeRoom forgets a statement where there are too many.
func (c *dbConn) makeRoom() {
	if len(c.stmts) < maxStatements {
		return
	}
	for q, old := range c.stmts {
		if !old.busy {
			old.close()
			delete(c.stmts, q)
			return
		}
	}
}

// prepare compiles the first statement of a text and returns where the rest begins. There is none in a text of comments.
func (c *dbConn) prepare(text uintptr, flags uint32) (*dbStmt, uintptr, error) {
	out := c.tls.Alloc(2 * wordSize)
	defer c.tls.Free(2 * wordSize)
	rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, text, -1, flags, out, out+wordSize)
	if rc != sqlite3.SQLITE_OK {
		return nil, 0, c.fault(rc)
	}
	st := &dbStmt{c: c, p: *(*uintptr)(atAddress(out))}
	if st.p != 0 {
		st.params = int(sqlite3.Xsqlite3_bind_parameter_count(c.tls, st.p))
		st.columns = int(sqlite3.Xsqlite3_column_count(c.tls, st.p))
	}
	return st, *(*uintptr)(atAddress(out + wordSize)), nil
}

// run executes statements, however many, which share the arguments out, and passes over their rows. They are not kept.
func (c *dbConn) run(script string, args ...any) error {
	text, err := libc.CString(script)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, text)
	for at := text; ; {
		st, rest, err := c.prepare(at, 0)
		if err != nil || st.p == 0 {
			return err
		}
		if n := min(st.params, len(args)); err == nil {
			err = st.bind(args[:n])
			args = args[n:]
		}
		for more := err == nil; more; {
			more, err = st.step()
		}
		st.close()
		if err != nil {
			return err
		}
		at = rest
	}
}

// one reads the single row of a query; no row is ErrNotFound.
func (c *dbConn) one(query string, args []any, dest ...any) error {
	st, err := c.stmt(query)
	if err != nil {
		return err
	}
	defer st.done()
	err = st.bind(args)
	if err != nil {
		return err
	}
	more, err := st.step()
	if err == nil && !more {
		err = ErrNotFound
	}
	if err == nil {
		err = st.scan(dest...)
	}
	if err == nil { // an UPDATE with RETURNING is done when its last row has been asked for
		_, err = st.step()
	}
	return err
}

// changes is how many rows the last statement has changed.
func (c *dbConn) changes() int64 { return int64(sqlite3.Xsqlite3_changes(c.tls, c.db)) }

// keepLog says whether the log is to stay when this connection is the last that is closed. What is not a file has none.
func (c *dbConn) keepLog(keep bool) error {
	name, err := libc.CString("main")
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, name)
	mode := c.tls.Alloc(wordSize)
	defer c.tls.Free(wordSize)
	on := (*int32)(atAddress(mode))
	*on = 0
	if keep {
		*on = 1
	}
	rc := sqlite3.Xsqlite3_file_control(c.tls, c.db, name, sqlite3.SQLITE_FCNTL_PERSIST_WAL, mode)
	if rc == sqlite3.SQLITE_OK || rc == sqlite3.SQLITE_NOTFOUND {
		return nil
	}
	return c.fault(rc)
}

// Close ends the connection and its statements. A second time does nothing.
func (c *dbConn) Close() error {
	if c.tls == nil {
		return nil
	}
	for _, st := range c.stmts {
		st.close()
	}
	var err error
	if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
		err = c.fault(rc)
	}
	c.tls.Close()
	c.tls, c.db, c.stmts = nil, 0, nil
	return err
}
