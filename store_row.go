// Rows: how the columns of a table become the fields of a struct, and fields columns.
package main

import (
	"database/sql/driver"
	"fmt"
	"strings"
	"time"
)

// Each table has one list of its columns, and beside it one function that points at the fields in the same order:
// contactColumns and contactRow. A SELECT scans into what the function returns, and an INSERT takes the same pointers as its
// values.

// rows reads all rows of a query. dest gives the places that a row's columns go to.
func rows[T any](tx *Tx, query string, args []any, dest func(*T) []any) ([]T, error) {
	var all []T
	err := tx.each(query, args, func(scan func(...any) error) error {
		var v T
		if err := scan(dest(&v)...); err != nil {
			return err
		}
		all = append(all, v)
		return nil
	})
	return all, err
}

// column reads all rows of a query for one column.
func column[T any](tx *Tx, query string, args ...any) ([]T, error) {
	return rows(tx, query, args, func(v *T) []any { return []any{v} })
}

// ints reads a column of integers.
func (tx *Tx) ints(query string, args ...any) ([]int64, error) {
	return column[int64](tx, query, args...)
}

// changeOne runs a statement that is about a row which must be there: ErrNotFound if it changed nothing.
func (tx *Tx) changeOne(query string, args ...any) error {
	n, err := tx.exec(query, args...)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// insertInto is an INSERT of one value for each of the columns.
func insertInto(table, columns string) string {
	return `INSERT INTO ` + table + `(` + columns + `) VALUES(?` + strings.Repeat(`,?`, strings.Count(columns, `,`)) + `)`
}

// unixTime is how times are kept: seconds since 1970, the zero time as 0.
type unixTime time.Time

func (t *unixTime) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("time is %T", v)
	}
	*t = unixTime{}
	if n != 0 {
		*t = unixTime(time.Unix(n, 0))
	}
	return nil
}

func (t *unixTime) Value() (driver.Value, error) {
	if at := time.Time(*t); !at.IsZero() {
		return at.Unix(), nil
	}
	return int64(0), nil
}

// seconds is how durations are kept.
type seconds time.Duration

func (d *seconds) Scan(v any) error {
	n, ok := v.(int64)
	if !ok {
		return fmt.Errorf("duration is %T", v)
	}
	*d = seconds(time.Duration(n) * time.Second)
	return nil
}

func (d *seconds) Value() (driver.Value, error) { return int64(time.Duration(*d) / time.Second), nil }
