// The store: one SQLite file that holds everything which survives a restart.
package main

import (
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// What a store operation can fail with that its caller should know. Each protocol turns these into its own words
// in one function.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrQuota    = errors.New("over quota")
	ErrTooBig   = errors.New("message too big")
	ErrTooMany  = errors.New("too many") // more of something than there may be
	ErrDiskFull = errors.New("disk full")
	ErrReadOnly = errors.New("the store is read-only")
	ErrClosed   = errors.New("the store is closed")

	ErrUnreadable = errors.New("the file can't be opened")
)

const (
	walBytes      = 8 << 20               // zeros written into a new WAL, so that no commit has to grow it
	batchMessages = 256                   // closures that share a commit, at most
	batchBytes    = 4 << 20               // content that shares a commit, about (see Tx.wrote)
	batchTime     = 20 * time.Millisecond // work that shares a commit, about: the deliveries of 64 clients fit in
	patience      = time.Millisecond      // how long a transaction stays open for deliveries that are known to be coming, at least
	maxPatience   = 5 * time.Millisecond  // and at most; between them, half of what the last commit took
	maxStatements = 256                   // prepared statements kept for each connection
	clockStep     = time.Minute           // what the system's time may run ahead without having jumped
	clockEvery    = 10 * time.Minute      // how often a running store writes down the time
	dataVersion   = time.Second           // how often the file is asked whether another process wrote to it
)

// QueueTopic is what Watch takes to hear of changes to the outgoing queue instead of a user's mail.
const QueueTopic UserID = -1

// Store is the one SQLite file, in WAL mode with synchronous=FULL.
//
// One goroutine owns the only connection that writes. Write hands it a closure; it runs every closure that waits or that
// is known to be coming, each in a savepoint of its own, commits once and wakes them all (group commit): a commit costs a
// flush of the disk, and sixteen deliveries that share one are nearly sixteen times as fast. Each runs as soon as it has
// come, while the sessions prepare the next. A closure that fails is rolled back alone.
//
// Readers are a small pool of query-only connections with small page caches (the caches are not on Go's heap, so
// GOMEMLIMIT does not see them). Each Read sees a snapshot. Never read from a client's socket or write to one inside
// Read or Write, and never call Read, Write or Content.ReadAt inside them: the pool is small.
//
// The WAL is filled with zeros before first use and never truncated, because growing a file on the commit path costs
// three to four times as much as overwriting it on an SD card. Copying it into the database takes as long as many
// commits, so a goroutine of its own does that while the writer goes on (see checkpointer).
type Store struct {
	path    string
	log     *slog.Logger
	crew    *Crew
	opt     StoreOptions
	db      *sql.DB // for what is done seldom: checks and backups
	w       *dbConn
	ck      *dbConn // the checkpointer's
	readers chan *dbConn
	all     []*dbConn // readers, for Close

	jobs         chan *job
	stopped      chan struct{} // closed when the writer has ended
	quit         chan struct{} // closed by Close
	closing      sync.RWMutex  // held for reading while a job is handed over
	closed       bool
	bg           sync.WaitGroup
	inflight     atomic.Int64  // deliveries announced and not yet committed
	flush        atomic.Int64  // what the last commit took, in nanoseconds
	trouble      trouble       // why nothing can be written, normally nothing
	reading      bool          // the file was opened for reading only
	canBeWritten chan struct{} // see CanBeWritten
	firstCheck   chan struct{} // closed when the file is known to be whole or not; nil where there is nothing to check
	patient      time.Time     // until when AwaitCheck waits
	unreadable   error         // why the file could not be opened at all, normally nil
	wal          *os.File      // the log, for the salts in its header; the writer's
	salts        string        // of the log at the last commit
	logLong      time.Time     // since when the log is too long, the collector\'s
	gaveUp       time.Time     // when the reserve was, under trouble.mu
	freePages    atomic.Int64  // of the file
	spooled      atomic.Int64  // octets in the files of incoming spools
	pageSize     int64
	suspected    chan struct{} // the file may be damaged: it is to be checked
	dirty        atomic.Bool   // the collector may find something to do
	contentAdded atomic.Bool   // the text index may not have all content
	indexing     sync.Mutex    // held while blocks of the text index are made
	usersChanged atomic.Int64  // counts commits that changed users, aliases or preferences
	others       int64         // changes when others write to the file, see noticeOthers; the writer's

	walDue     chan struct{} // the checkpointer has something to do
	checkpoint sync.Mutex    // held while it does it

	mu       sync.Mutex // watchers, views, recent, tasks, staged, known, sound, looked
	watchers map[UserID]map[chan struct{}]bool
	views    map[*View]bool
	recent   map[MailboxID]UID
	tasks    map[int64]bool  // that are running, see AllOrNone
	passing  []WebSession    // that are not in the file
	staged   map[BlobID]bool // content that waits for its first reference
	sound    map[BlobID]bool // see Content.Sound
	looked   Looked
	known    map[Addr]User // see Known
	knownAt  int64         // what usersChanged was when they were found

	packer *packer                  // of content and of the text index
	flags  map[MailboxID]*flagTable // under mu
	listed sync.Pool                // of *listBatch
	coming *comingBudget            // of memory, for mail that has not come whole

	gates *gates // how much memory what is asked for may take

	clock clock
	built time.Time
}

// StoreOptions change a store for tests; the zero value is what the appliance uses.
type StoreOptions struct {
	Log          *slog.Logger
	Now          func() time.Time     // the system clock; nil is time.Now
	Uptime       func() time.Duration // since some moment, whatever happens to the system clock; nil is the monotonic clock
	CommitDelay  time.Duration        // an injected flush cost, added to every commit
	Readers      int                  // reading connections; 0 is 4
	NoIndex      bool                 // the text index is not kept; the mail itself is searched
	Coming       int64                // octets of memory for mail that is still coming; 0 is comingDefault
	Memory       int64                // octets that Go's heap may take; 0 is memoryUnknown
	Inject       func(name string)    // panics where the crew runs something under this name
	Service      bool                 // this is the appliance and not a verb beside it: it checks the file
	Alone        bool                 // no appliance has the file open: a log that is not the file's may be set aside
	Synchronised func() bool          // whether the system's clock is; nil asks the kernel
	LogCalm      time.Duration        // how long a log is too long before it is cut; 0 is logCalm
	StandIn      bool                 // with Service: be open even if the file can't be opened at all
	AtOnce       bool                 // the file is opened without waiting for its check, see AwaitCheck
}

type job struct {
	fn      func(*Tx) error
	between func(*dbConn) error // instead of fn: what is no part of a transaction
	err     error
	tx      *Tx
	done    chan struct{}
}

// OpenStore opens the file and creates or migrates it. A file that can't be written, or fails its check, can only be read, and the reason
// is in Damaged. With StandIn the appliance runs even if nothing of the file can be read: see Unreadable.
func OpenStore(path string, opt StoreOptions) (*Store, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Readers == 0 {
		opt.Readers = 4
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	sqlite.Fdatasync(true) // where there is none, fsync is used
	s := &Store{
		path: path, log: opt.Log, coming: newComingBudget(opt.Coming), packer: newPacker(), crew: NewCrew(opt.Log, opt.Inject), opt: opt,
		readers: make(chan *dbConn, opt.Readers),
		jobs:    make(chan *job, batchMessages), stopped: make(chan struct{}), quit: make(chan struct{}),
		walDue: make(chan struct{}, 1), suspected: make(chan struct{}, 1), gates: newGates(opt.Memory),
		watchers: map[UserID]map[chan struct{}]bool{}, views: map[*View]bool{}, recent: map[MailboxID]UID{}, known: map[Addr]User{}, flags: map[MailboxID]*flagTable{}, tasks: map[int64]bool{}, staged: map[BlobID]bool{},
	}
	if opt.Alone {
		aside, err := setAsideLog(path, time.Now())
		if err != nil {
			s.log.Error("store: the log", "err", err)
		}
		if aside != "" {
			s.log.Warn("store: the log beside the file was written for another file; it is not played and has another name now", "file", path, "log", aside)
		}
	}
	if err := s.open(); err != nil {
		s.disconnect()
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	if err := s.seeOthers(s.w); err != nil { // then the first look will take it for news
		s.log.Warn("store: whether others have written", "err", err)
	}
	s.crew.Keep(nil, "store writer", s.stopped, s.writer)
	s.crew.Keep(&s.bg, "store news of others", s.quit, s.pollOthers)
	s.crew.Keep(&s.bg, "store collector", s.quit, s.collector)
	s.crew.Keep(&s.bg, "store checkpointer", s.quit, s.checkpointer)
	s.crew.Keep(&s.bg, "store prover", s.quit, s.prover)
	if opt.Service {
		s.contentAdded.Store(true)
		s.crew.Keep(&s.bg, "store indexer", s.quit, s.indexer)
		s.startChecks()
		s.crew.Keep(&s.bg, "store clock", s.quit, s.watchClock)
		s.crew.Keep(&s.bg, "store expiry", s.quit, s.watchExpiry)
	}
	return s, nil
}

// Tx is a transaction, given to the closure of Read or Write. One from Read must not change anything.
type Tx struct {
	s            *Store
	c            *dbConn
	changed      map[UserID]account // users changed by this transaction
	touched      map[UserID]bool    // topics to wake after the commit
	unreferenced map[BlobID]bool    // content added here that no message or queue item refers to yet
	wrote        int64              // octets of content added
	usersChanged bool               // users, aliases or preferences were changed
	texts        [2][]byte          // memory for openTexts
}

// exec runs a statement and returns how many rows it has changed.
func (tx *Tx) exec(query string, args ...any) (int64, error) {
	err := tx.eachRow(query, args, func(*dbStmt) error { return nil })
	if err != nil {
		return 0, err
	}
	return tx.c.changes(), nil
}

// one reads a single row; no row is ErrNotFound.
func (tx *Tx) one(query string, args []any, dest ...any) error {
	return storeError(tx.c.one(query, args, dest...))
}

// each calls fn for every row, with a function that scans it.
func (tx *Tx) each(query string, args []any, fn func(scan func(...any) error) error) error {
	return tx.eachRow(query, args, func(row *dbStmt) error { return fn(row.scan) })
}

// eachRow calls fn for every row, which it reads from the statement, and not after it has returned. What takes many rows
// reads their columns one by one: places to scan into cost more than the columns.
func (tx *Tx) eachRow(query string, args []any, fn func(row *dbStmt) error) error {
	st, err := tx.c.stmt(query)
	if err != nil {
		return storeError(err)
	}
	defer st.done()
	err = st.bind(args)
	if err != nil {
		return storeError(err)
	}
	for {
		more, err := st.step()
		if err != nil {
			return storeError(err)
		}
		if !more {
			return nil
		}
		if err := fn(st); err != nil {
			return err
		}
	}
}

// Touch has everybody woken who watches the topic, once the transaction is committed.
func (tx *Tx) Touch(topic UserID) { tx.touched[topic] = true }

func storeError(err error) error {
	switch sqliteCode(err) {
	case 0:
		return err
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return diskError(err)
}

// reader takes a connection from the pool; its user puts it back.
func (s *Store) reader() (*dbConn, error) {
	s.closing.RLock()
	defer s.closing.RUnlock()
	if s.closed {
		return nil, ErrClosed
	}
	return <-s.readers, nil
}

// Read runs fn on a snapshot of the file. fn must not write, must not call Read, Write or ReadAt of content, and must not
// wait for anybody: there are few readers. It gets the Tx for as long as it runs.
func (s *Store) Read(fn func(*Tx) error) error {
	c, err := s.reader()
	if err != nil {
		return err
	}
	tx := &Tx{s: s, c: c, touched: map[UserID]bool{}}
	ended := false
	defer func() {
		if !ended { // fn has panicked: the next reader shall not find its snapshot open
			c.run(`ROLLBACK`)
		}
		s.readers <- c
	}()
	if _, err := tx.exec(`BEGIN`); err != nil {
		ended = true
		return err
	}
	err = fn(tx)
	_, end := tx.exec(`COMMIT`)
	ended = true
	s.suspect(err)
	return errors.Join(err, end)
}

// read is Read for a question with one answer. f may run only on the snapshot, as Read says.
func read[T any](s *Store, f func(*Tx) (T, error)) (T, error) {
	var v T
	err := s.Read(func(tx *Tx) error {
		var err error
		v, err = f(tx)
		return err
	})
	return v, err
}

// write is Write for a change with a result. f may run twice, as Write says; the result is that of the run that was
// committed.
func write[T any](s *Store, f func(*Tx) (T, error)) (T, error) {
	var v T
	err := s.Write(func(tx *Tx) error {
		var err error
		v, err = f(tx)
		return err
	})
	return v, err
}

// Write runs fn in a write transaction and returns after its commit, or after its rollback with fn's error. fn must not call
// Read, Write or ReadAt of content, and must not wait for anybody: everybody's mail waits for it. It may run twice, when the
// commit that it shared with others fails and each is tried again alone: what it sets outside must be set anew by each run,
// never appended to or counted up.
func (s *Store) Write(fn func(*Tx) error) error {
	err := s.Damaged()
	if err != nil {
		return err
	}
	return s.handOver(&job{fn: fn, done: make(chan struct{})})
}

// handOver gives a job to the writer and waits until it is done.
func (s *Store) handOver(j *job) error {
	s.closing.RLock()
	if s.closed {
		s.closing.RUnlock()
		return ErrClosed
	}
	s.jobs <- j
	s.closing.RUnlock()
	<-j.done
	return j.err
}

// onWriter runs fn on the writer's connection between commits, outside any transaction of ours.
func (s *Store) onWriter(fn func(*dbConn) error) error {
	return s.handOver(&job{between: fn, done: make(chan struct{})})
}

// errNothing rolls a transaction back that was never meant to change anything.
var errNothing = errors.New("nothing to commit")

// Setting returns a value from the settings table, or ErrNotFound.
func (tx *Tx) Setting(key string) ([]byte, error) {
	var v []byte
	err := tx.one(`SELECT value FROM settings WHERE key=?`, []any{key}, &v)
	return v, err
}

// SettingNames lists the settings whose names begin with prefix.
func (tx *Tx) SettingNames(prefix string) ([]string, error) {
	return column[string](tx, `SELECT key FROM settings WHERE substr(key,1,?)=? ORDER BY key`, len(prefix), prefix)
}

// SetSetting stores a value; nil removes it.
func (tx *Tx) SetSetting(key string, v []byte) error {
	if v == nil {
		_, err := tx.exec(`DELETE FROM settings WHERE key=?`, key)
		return err
	}
	_, err := tx.exec(`INSERT OR REPLACE INTO settings(key,value) VALUES(?,?)`, key, v)
	return err
}

// counter returns the next value of a persisted counter; the first is start+1.
func (tx *Tx) counter(key string, start int64) (int64, error) {
	var n int64
	err := tx.one(`INSERT INTO settings(key,value) VALUES(?,?+1) ON CONFLICT(key) DO UPDATE SET value=value+1 RETURNING value`,
		[]any{key, start}, &n)
	return n, err
}
