package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/transfer"
)

// The server draws the positions, in the order of the rows, and the trigger
// takes the mark of the chunk before the first. With new times the server gives
// these too.
// Lock: the mark, until commit; the unique keys of the rows. Promises: P4, P5.
const (
	copySQL      = `COPY {{schema}}.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum, recorded_at) FROM STDIN BINARY`
	copyTimesSQL = `COPY {{schema}}.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum) FROM STDIN BINARY`
)

// chunk is what is committed together: rows in the binary form of COPY.
type chunk struct {
	rows   []byte
	ends   []int // of each row
	places []place
	sums   summer
	err    error // of the file, behind the chunk before
}

// copyHeader is that of the binary form, without flags and extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (c *chunk) reset() {
	c.rows, c.ends, c.places = append(c.rows[:0], copyHeader...), c.ends[:0], c.places[:0]
}

func (c *chunk) add(r *transfer.Row, times, sum bool) {
	columns := 11
	if times {
		columns++
	}
	b := binary.BigEndian.AppendUint16(c.rows, uint16(columns))
	b = appendField(b, r.Stream.Category)
	b = appendField(b, r.Stream.ID)
	b = binary.BigEndian.AppendUint32(b, 8)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Version))
	b = appendField(b, r.ID[:])
	b = appendField(b, r.Name)
	b = binary.BigEndian.AppendUint32(b, 2)
	b = binary.BigEndian.AppendUint16(b, uint16(r.Schema))
	b = appendField(b, r.ContentType)
	b = appendField(b, r.Payload)
	b = appendField(b, r.Metadata)
	closes := byte(0)
	if r.Closes {
		closes = 1
	}
	b = append(b, 0, 0, 0, 1, closes)
	b = c.sums.append(binary.BigEndian.AppendUint32(b, 8), r)
	if times {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(r.RecordedTime.UnixMicro()-microseconds2000))
	}
	c.rows, c.ends = b, append(c.ends, len(b))
	c.places = append(c.places, placeOf(r, sum))
}

func appendField[T ~string | ~[]byte](b []byte, value T) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

// without takes rows out.
func (c *chunk) without(skip []bool) (rows []byte, skipped int64) {
	rows, begin := append([]byte(nil), copyHeader...), len(copyHeader)
	for n, end := range c.ends {
		if skip[n] {
			skipped++
		} else {
			rows = append(rows, c.rows[begin:end]...)
		}
		begin = end
	}
	return rows, skipped
}

// store reads the file ahead of the server: while one chunk is on its way, the
// next one is made ready.
func (i *importer) store(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	full, empty := make(chan *chunk), make(chan *chunk, 2)
	empty <- &chunk{}
	empty <- &chunk{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(full)
		i.read(ctx, full, empty)
	}()
	defer func() {
		cancel()
		<-done
	}()
	for c := range full {
		if c.err != nil {
			return c.err
		}
		if err := i.commit(ctx, c); err != nil {
			return err
		}
		empty <- c
		i.db.Wake() //nolint:contextcheck // a notification is for all appends
		i.tell()
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if i.events != i.file.Events {
		return transfer.ErrChanged
	}
	return nil
}

// read hands on chunks that end where the file is known to be as it was checked.
func (i *importer) read(ctx context.Context, full chan<- *chunk, empty <-chan *chunk) {
	next := func() *chunk {
		select {
		case c := <-empty:
			c.reset()
			return c
		case <-ctx.Done():
			return nil
		}
	}
	hand := func(c *chunk) bool {
		select {
		case full <- c:
			return true
		case <-ctx.Done():
			return false
		}
	}
	c := next()
	for r, err := range i.file.Rows(ctx, i.events) {
		if c == nil {
			return
		}
		if err != nil {
			hand(&chunk{err: err})
			return
		}
		c.add(r, !i.config.newTimes, i.config.skip)
		if r.Checked {
			if !hand(c) {
				return
			}
			c = next()
		}
	}
}

// commit stores a chunk together with the note of the import.
func (i *importer) commit(ctx context.Context, c *chunk) error {
	ctx, cancel := context.WithTimeout(ctx, i.config.timeout)
	defer cancel()
	conn, err := i.db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.ReadCommitted})
	if err != nil {
		return err
	}
	defer rollback(ctx, tx)
	events := i.events + int64(len(c.places))
	skipped, err := i.write(ctx, tx, c, events)
	if err != nil {
		rollback(ctx, tx)
		return i.explain(ctx, conn, c, err)
	}
	crash.At("postgres.import.copied")
	if err := tx.Commit(ctx); err != nil {
		if isRejected(err) {
			return i.explain(ctx, conn, c, err)
		}
		return fmt.Errorf("%w: import the same file again: %w", eventstore.ErrOutcomeUnknown, err)
	}
	crash.At("postgres.import.committed")
	i.events = events
	i.result.Stored += int64(len(c.places)) - skipped
	i.result.Skipped += skipped
	return nil
}

func (i *importer) write(ctx context.Context, tx pgx.Tx, c *chunk, events int64) (skipped int64, err error) {
	rows, want, first := c.rows, int64(len(c.places)), 0
	if i.config.skip {
		same, _, err := i.storedAt(ctx, tx, c.places) // what is different runs into the unique key
		if err != nil {
			return 0, err
		}
		rows, skipped = c.without(same)
		want -= skipped
		first = max(0, slices.Index(same, false))
	}
	tag, err := tx.Exec(ctx, i.db.sql(noteImportSQL), i.file.SHA256[:], i.file.Header.Store, i.events, events, skipped, i.file.Events)
	if err != nil {
		return 0, err
	}
	if tag.RowsAffected() != 1 {
		return 0, ErrImportBusy
	}
	if want == 0 {
		return skipped, nil
	}
	sql := copySQL
	if i.config.newTimes {
		sql = copyTimesSQL
	} else {
		latest, _, err := i.latestTime(ctx, tx)
		if err == nil {
			err = behind(c.places[first].at, latest)
		}
		if err != nil {
			return 0, err
		}
	}
	tag, err = tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(append(rows, 0xff, 0xff)), i.db.sql(sql))
	if err != nil {
		return 0, err
	}
	if tag.RowsAffected() != want {
		return 0, fmt.Errorf("%d of %d events were stored: a trigger or rule on the events table swallows rows, remove it", tag.RowsAffected(), want)
	}
	return skipped, nil
}

// explain says which stream an append has taken from a chunk, if that is why it
// failed.
func (i *importer) explain(ctx context.Context, q rowQuerier, c *chunk, err error) error {
	var back *ImportTimeError
	if errors.As(err, &back) {
		back.Imported = i.events
	}
	if !isTaken(err) {
		return err
	}
	same, different, lookErr := i.storedAt(ctx, q, c.places)
	if lookErr != nil {
		return fmt.Errorf("%w: %w", eventstore.ErrConflict, err)
	}
	for n, p := range c.places {
		if different[n] || same[n] && !i.config.skip {
			return &StreamExistsError{Stream: p.stream, FileVersion: p.version, Different: true, Imported: i.events}
		}
	}
	return fmt.Errorf("%w: %w", eventstore.ErrConflict, err)
}
