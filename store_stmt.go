// Statements: what goes into their parameters, and what their columns become.
package main

import (
	"database/sql"
	"database/sql/driver"
	"fmt"
	"reflect"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// dbStmt is a prepared statement, of one connection.
type dbStmt struct {
	c               *dbConn
	p               uintptr
	params, columns int
	busy            bool
	kept            bool // among the connection's; any other goes when it is done

	small uintptr   // memory for short arguments, kept from run to run
	used  int       // octets of it
	held  []uintptr // memory of longer ones, until the run is done
}

const stmtSmall = 512 // octets of short arguments of one run, at most

// bind sets all parameters, for one run.
func (st *dbStmt) bind(args []any) error {
	if len(args) != st.params {
		return fmt.Errorf("%d arguments for %d parameters", len(args), st.params)
	}
	for i, arg := range args {
		if err := st.bindOne(int32(i+1), arg); err != nil {
			return err
		}
	}
	return nil
}

func (st *dbStmt) bindOne(i int32, arg any) error {
	switch v := arg.(type) {
	case nil:
		return st.bound(sqlite3.Xsqlite3_bind_null(st.c.tls, st.p, i))
	case int64:
		return st.bindInt(i, v)
	case int:
		return st.bindInt(i, int64(v))
	case UID:
		return st.bindInt(i, int64(v))
	case ModSeq:
		return st.bindInt(i, int64(v))
	case MailboxID:
		return st.bindInt(i, int64(v))
	case BlobID:
		return st.bindInt(i, int64(v))
	case UserID:
		return st.bindInt(i, int64(v))
	case FlagBits:
		return st.bindInt(i, int64(v))
	case bool:
		if v {
			return st.bindInt(i, 1)
		}
		return st.bindInt(i, 0)
	case string:
		return st.bindText(i, v)
	case []byte:
		return st.bindBlob(i, v)
	}
	return st.bindOther(i, arg)
}

// bindOther is for what has its own idea of how it is stored, for pointers, and for types made of simple ones.
func (st *dbStmt) bindOther(i int32, arg any) error {
	v := reflect.ValueOf(arg)
	if v.Kind() == reflect.Pointer && v.IsNil() {
		return st.bindOne(i, nil)
	}
	if own, ok := arg.(driver.Valuer); ok {
		x, err := own.Value()
		if err != nil {
			return err
		}
		return st.bindOne(i, x)
	}
	switch v.Kind() {
	case reflect.Pointer:
		return st.bindOne(i, v.Elem().Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return st.bindInt(i, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return st.bindInt(i, int64(v.Uint()))
	case reflect.Bool:
		return st.bindOne(i, v.Bool())
	case reflect.Float32, reflect.Float64:
		return st.bound(sqlite3.Xsqlite3_bind_double(st.c.tls, st.p, i, v.Float()))
	case reflect.String:
		return st.bindText(i, v.String())
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			return st.bindBlob(i, v.Bytes())
		}
	}
	return fmt.Errorf("argument %d: a %T can't be stored", i, arg)
}

func (st *dbStmt) bindInt(i int32, v int64) error {
	return st.bound(sqlite3.Xsqlite3_bind_int64(st.c.tls, st.p, i, v))
}

func (st *dbStmt) bindText(i int32, v string) error {
	p, err := st.hold(len(v))
	if err != nil {
		return err
	}
	copy(octetsAt(p, len(v)), v)
	return st.bound(sqlite3.Xsqlite3_bind_text(st.c.tls, st.p, i, p, int32(len(v)), 0))
}

// bindBlob stores nil as NULL.
func (st *dbStmt) bindBlob(i int32, v []byte) error {
	if v == nil {
		return st.bindOne(i, nil)
	}
	p, err := st.hold(len(v))
	if err != nil {
		return err
	}
	copy(octetsAt(p, len(v)), v)
	return st.bound(sqlite3.Xsqlite3_bind_blob(st.c.tls, st.p, i, p, int32(len(v)), 0))
}

// hold gives memory that SQLite can see, until the statement is done.
func (st *dbStmt) hold(n int) (uintptr, error) {
	if st.small == 0 {
		st.small = sqlite3.Xsqlite3_malloc64(st.c.tls, stmtSmall)
	}
	if st.small != 0 && st.used+n <= stmtSmall {
		p := st.small + uintptr(st.used)
		st.used += n
		return p, nil
	}
	p := sqlite3.Xsqlite3_malloc64(st.c.tls, uint64(max(n, 1)))
	if p == 0 {
		return 0, st.c.fault(sqlite3.SQLITE_NOMEM)
	}
	st.held = append(st.held, p)
	return p, nil
}

func (st *dbStmt) bound(rc int32) error {
	if rc != sqlite3.SQLITE_OK {
		return st.c.fault(rc)
	}
	return nil
}

// step goes to the next row, and says whether there is one.
func (st *dbStmt) step() (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(st.c.tls, st.p); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		return false, nil
	default:
		return false, st.c.fault(rc)
	}
}

// done ends a run, wherever it stands.
func (st *dbStmt) done() {
	if !st.kept {
		st.close()
		return
	}
	sqlite3.Xsqlite3_reset(st.c.tls, st.p)
	st.letGo()
	st.busy = false
}

func (st *dbStmt) letGo() {
	for _, p := range st.held {
		sqlite3.Xsqlite3_free(st.c.tls, p)
	}
	st.held, st.used = st.held[:0], 0
}

func (st *dbStmt) close() {
	sqlite3.Xsqlite3_finalize(st.c.tls, st.p)
	st.letGo()
	sqlite3.Xsqlite3_free(st.c.tls, st.small)
	st.p, st.small = 0, 0
}

// int is a column of the row as a number, 0 for NULL.
func (st *dbStmt) int(i int) int64 { return sqlite3.Xsqlite3_column_int64(st.c.tls, st.p, int32(i)) }

// isNull says whether a column of the row is NULL.
func (st *dbStmt) isNull(i int) bool {
	return sqlite3.Xsqlite3_column_type(st.c.tls, st.p, int32(i)) == sqlite3.SQLITE_NULL
}

// octets is a column of the row as it is in SQLite's memory, good until the next step; nil for NULL and for nothing.
func (st *dbStmt) octets(i int) []byte {
	p := sqlite3.Xsqlite3_column_blob(st.c.tls, st.p, int32(i))
	return octetsAt(p, int(sqlite3.Xsqlite3_column_bytes(st.c.tls, st.p, int32(i))))
}

// text is a column of the row as text, "" for NULL.
func (st *dbStmt) text(i int) string {
	p := sqlite3.Xsqlite3_column_text(st.c.tls, st.p, int32(i))
	return string(octetsAt(p, int(sqlite3.Xsqlite3_column_bytes(st.c.tls, st.p, int32(i)))))
}

// bytes is a copy of a column of the row; nil for NULL and for nothing.
func (st *dbStmt) bytes(i int) []byte {
	b := st.octets(i)
	if len(b) == 0 {
		return nil
	}
	return append(make([]byte, 0, len(b)), b...)
}

// scan has all columns of the row go into what dest points at. NULL goes into slices, pointers, any and what reads it itself;
// a sql.RawBytes is good until the next row.
func (st *dbStmt) scan(dest ...any) error {
	if len(dest) != st.columns {
		return fmt.Errorf("%d places for %d columns", len(dest), st.columns)
	}
	for i, d := range dest {
		if err := st.scanOne(i, d); err != nil {
			return err
		}
	}
	return nil
}

func (st *dbStmt) scanOne(i int, dest any) error {
	switch d := dest.(type) {
	case *any:
		*d = st.any(i)
		return nil
	case *[]byte:
		*d = st.bytes(i)
		return nil
	case *sql.RawBytes:
		*d = st.octets(i)
		return nil
	case sql.Scanner:
		return d.Scan(st.any(i))
	}
	null := st.isNull(i)
	switch d := dest.(type) {
	case *int64:
		*d = st.int(i)
	case *int:
		*d = int(st.int(i))
	case *string:
		*d = st.text(i)
	case *bool:
		*d = st.int(i) != 0
	case *UID:
		*d = UID(st.int(i))
	case *ModSeq:
		*d = ModSeq(st.int(i))
	default:
		return st.scanOther(i, dest, null)
	}
	return st.notNull(i, null)
}

// scanOther is for types made of simple ones, and for pointers.
func (st *dbStmt) scanOther(i int, dest any, null bool) error {
	v := reflect.ValueOf(dest)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		return fmt.Errorf("column %d: %T is no place", i, dest)
	}
	v = v.Elem()
	switch v.Kind() {
	case reflect.Pointer:
		if null {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return st.scanOne(i, v.Interface())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(st.int(i))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(uint64(st.int(i)))
	case reflect.Float32, reflect.Float64:
		v.SetFloat(sqlite3.Xsqlite3_column_double(st.c.tls, st.p, int32(i)))
	case reflect.Bool:
		v.SetBool(st.int(i) != 0)
	case reflect.String:
		v.SetString(st.text(i))
	case reflect.Slice:
		if v.Type().Elem().Kind() != reflect.Uint8 {
			return fmt.Errorf("column %d can't go into a %T", i, dest)
		}
		v.SetBytes(st.bytes(i))
		return nil
	default:
		return fmt.Errorf("column %d can't go into a %T", i, dest)
	}
	return st.notNull(i, null)
}

func (st *dbStmt) notNull(i int, null bool) error {
	if null {
		return fmt.Errorf("column %s is NULL", libc.GoString(sqlite3.Xsqlite3_column_name(st.c.tls, st.p, int32(i))))
	}
	return nil
}

// any is a column of the row as what it is: int64, float64, string, []byte or nil.
func (st *dbStmt) any(i int) any {
	switch sqlite3.Xsqlite3_column_type(st.c.tls, st.p, int32(i)) {
	case sqlite3.SQLITE_INTEGER:
		return st.int(i)
	case sqlite3.SQLITE_FLOAT:
		return sqlite3.Xsqlite3_column_double(st.c.tls, st.p, int32(i))
	case sqlite3.SQLITE_TEXT:
		return st.text(i)
	case sqlite3.SQLITE_BLOB:
		return st.bytes(i)
	}
	return nil
}
