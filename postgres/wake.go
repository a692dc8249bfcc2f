package postgres

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
)

// signal says that the log has grown. It is a hint, and readers poll as well.
type signal struct {
	mu        sync.Mutex
	grown     chan struct{} // closed when it has grown
	notifying bool
	again     bool // it has grown since the last notification

	listener chan struct{} // held by the Listen that has the connection

	// blocked is one more than the cursor of a reader that stands at a hole, which
	// an open append may still fill.
	blocked atomic.Int64
}

func (s *signal) block(at event.Position)          { s.blocked.Store(int64(at) + 1) }
func (s *signal) unblock(at event.Position)        { s.blocked.CompareAndSwap(int64(at)+1, 0) }
func (s *signal) isBlocked(at event.Position) bool { return s.blocked.Load() == int64(at)+1 }

// A session that listens holds the lock that says so. Its key is of two numbers,
// which are apart from the keys of one that marks of appends are. A notification is a commit, so none is sent to nobody.
// Lock: listenSQL, for the session.
const (
	listenSQL = `SELECT pg_advisory_lock_shared(1634627180, {{namespace}})`

	notifySQL = `
SELECT pg_notify($1, '')
WHERE EXISTS (
    SELECT
    FROM pg_locks l
    WHERE l.locktype = 'advisory'
      AND l.objsubid = 2
      AND l.classid = 1634627180
      AND l.objid = {{namespace}}
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
)`
)

const (
	// notifyEvery is how often others are told at most: a notification takes an
	// instance-wide lock at commit, which many of them would queue for.
	notifyEvery = 10 * time.Millisecond
	// notifyNobody is how often it is looked whether somebody listens by now.
	notifyNobody = 100 * time.Millisecond
	blockedPoll  = time.Millisecond
	listenAgain  = time.Second // after an error, and longer each time
)

// channel is what notifications are sent to: one for each store of a database.
func (c config) channel() string { return "annals_" + c.schema }

// Wait implements eventstore.Log: it ends when this process has appended, or
// Listen has heard of another one, and after the poll interval. A reader that
// stands at a hole waits for the end of an open append, which nothing tells of:
// it looks again after a moment, and not at each append behind the hole.
func (d *DB) Wait(ctx context.Context, after event.Position) error {
	d.signal.mu.Lock()
	grown := d.signal.grown
	d.signal.mu.Unlock()
	poll := d.poll
	if d.signal.isBlocked(after) {
		poll, grown = min(poll, blockedPoll), nil
	}
	timer := time.NewTimer(poll)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-grown:
	case <-timer.C:
	}
	return ctx.Err()
}

// Wake tells the readers, of this process and of those that listen, that the
// log has grown. Append does so itself; after a transaction of the caller that
// has appended, call it to spare readers the wait for their next poll. It
// returns at once and promises nothing.
func (d *DB) Wake() {
	d.signal.mu.Lock()
	defer d.signal.mu.Unlock()
	d.signal.wakeLocked()
	if d.quiet {
		return
	}
	d.signal.again = true
	if !d.signal.notifying {
		d.signal.notifying = true
		go d.notify()
	}
}

func (s *signal) wakeLocked() {
	close(s.grown)
	s.grown = make(chan struct{})
}

// notify sends notifications until the log has not grown for a moment. It is
// not part of any append: in the transaction of an append a notification costs
// half of the throughput. A lost one costs a poll interval.
func (d *DB) notify() {
	for {
		d.signal.mu.Lock()
		if !d.signal.again {
			d.signal.notifying = false
			d.signal.mu.Unlock()
			return
		}
		d.signal.again = false
		d.signal.mu.Unlock()

		ctx, cancel := d.limit(context.Background())
		sent, _ := d.pool.Exec(ctx, d.sql(notifySQL), d.channel())
		cancel()
		wait := notifyEvery
		if sent.RowsAffected() == 0 {
			wait = notifyNobody
		}
		<-time.After(wait)
	}
}

// Listen implements eventstore.Listener on a connection of its own, apart from
// the pool and made with its configuration. However many calls there are, one
// of them holds a connection and the others stand by. It connects again when
// the connection breaks, and returns nil when ctx ends. Through a pooler in
// transaction mode and on a replica no notification arrives, and readers poll;
// WithoutNotify spares the attempt.
func (d *DB) Listen(ctx context.Context) error {
	if d.quiet {
		<-ctx.Done()
		return nil
	}
	select {
	case d.signal.listener <- struct{}{}:
		defer func() { <-d.signal.listener }()
	case <-ctx.Done():
		return nil
	}
	for wait := listenAgain; ctx.Err() == nil; wait = min(2*wait, 30*time.Second) {
		heard, err := d.listen(ctx)
		if heard {
			wait = listenAgain
		}
		if ctx.Err() == nil && !hasCode(err, codeReadOnly) {
			d.log.WarnContext(ctx, "cannot listen, readers poll", "schema", d.schema, "wait", wait, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

func (d *DB) listen(ctx context.Context) (heard bool, err error) {
	conn, err := d.connectListener(ctx)
	if conn == nil {
		return false, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if err != nil {
		return false, err
	}
	for {
		// The first time for what was appended before it listened.
		d.signal.mu.Lock()
		d.signal.wakeLocked()
		d.signal.mu.Unlock()
		if err := d.hear(ctx, conn); err != nil {
			return true, err
		}
	}
}

// connectListener may return a connection beside an error.
func (d *DB) connectListener(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := d.limit(ctx)
	defer cancel()
	config := d.pool.Config()        // a copy
	if config.BeforeConnect != nil { // which may set a password that has changed
		if err := config.BeforeConnect(ctx, config.ConnConfig); err != nil {
			return nil, late(ctx, err)
		}
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, late(ctx, err)
	}
	_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{d.channel()}.Sanitize())
	if err == nil {
		_, err = conn.Exec(ctx, d.sql(listenSQL))
	}
	return conn, late(ctx, err)
}

// hear waits for a notification. When none has come for a while it asks whether
// the server is still there: a connection that was cut off may say nothing.
func (d *DB) hear(ctx context.Context, conn *pgx.Conn) error {
	for {
		wait, cancel := d.limit(ctx)
		_, err := conn.WaitForNotification(wait)
		quiet := err != nil && wait.Err() != nil && ctx.Err() == nil && !conn.IsClosed()
		cancel()
		if !quiet {
			return err
		}
		ping, cancel := d.limit(ctx)
		err = late(ping, conn.Ping(ping))
		cancel()
		if err != nil {
			return err
		}
	}
}
