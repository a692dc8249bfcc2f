package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/transfer"
)

// imports measures the import of a file that was checked, with the rights of the
// role of imports, beside one COPY of the same rows into a table with the same
// columns, keys and indexes, and no trigger. A further row has the check too, as
// annals import does it. Each round imports new streams; files and rows are made
// before the clock starts.
func imports(events func(*lab) int, b bar) workload {
	return workload{
		name: "import/file-of-streams", unit: "events/s", measure: perSecond, bar: b,
		open: func(ctx context.Context, l *lab) (*trial, error) { return openImports(ctx, l, events(l)) },
	}
}

func openImports(ctx context.Context, l *lab, events int) (_ *trial, err error) {
	db, err := l.create(ctx)
	if err != nil {
		return nil, err
	}
	defer db.dropUnless(ctx, &err)
	_, pool, err := db.annals(ctx, 2)
	if err != nil {
		return nil, err
	}
	store, dropRoles, err := db.as(ctx, postgres.RoleImport, 2)
	if dropRoles != nil {
		defer func() {
			if err != nil {
				db.drop(ctx)
				dropRoles(ctx)
			}
		}()
	}
	if err != nil {
		return nil, err
	}
	other, otherPool, err := db.annals(ctx, 2, postgres.WithSchema("checked"))
	if err != nil {
		return nil, err
	}
	raw, err := db.pool(ctx, 2)
	if err != nil {
		return nil, err
	}
	// Identity, checks, defaults and all indexes; triggers are not copied.
	if _, err := raw.Exec(ctx, `CREATE TABLE events_copied (LIKE annals.events INCLUDING ALL)`); err != nil {
		return nil, err
	}
	ours := &importSide{events: events, store: store}
	whole := &importSide{events: events, store: other, check: true}
	hand := &copySide{events: events, pool: raw}
	return &trial{
		sides: []side{{run: ours.run}, {run: hand.run}, {label: "check and import", ours: true, run: whole.run}},
		close: func() {
			db.drop(ctx)
			dropRoles(ctx)
		},
		finish: func(ctx context.Context) ([]string, error) {
			for _, t := range []struct {
				pool  *pgxpool.Pool
				table string
				runs  int
			}{{pool, "annals.events", ours.runs}, {otherPool, "checked.events", whole.runs}, {raw, "events_copied", hand.runs}} {
				if err := holds(ctx, t.pool, t.table, int64(t.runs*events)); err != nil {
					return nil, err
				}
			}
			return nil, nil
		},
	}, settle(ctx, raw)
}

// importSide imports a file in each round.
type importSide struct {
	events int
	runs   int
	store  *postgres.DB
	check  bool // is a part of what is measured
}

func (s *importSide) run(ctx context.Context, _ time.Duration) (sample, error) {
	var text bytes.Buffer
	if _, err := transfer.Write(ctx, &text, &written{events: s.events, run: s.runs}); err != nil {
		return sample{}, err
	}
	s.runs++
	source := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil }
	start := time.Now()
	file, err := transfer.Check(ctx, source)
	if err != nil {
		return sample{}, err
	}
	if !s.check {
		start = time.Now()
	}
	res, err := s.store.Import(ctx, file)
	if err != nil {
		return sample{}, err
	}
	return sample{n: int(res.Stored), took: time.Since(start)}, nil
}

// written is the log that the file of a run has.
type written struct {
	eventstore.Log
	events, run int
}

func (w *written) Head(context.Context) (event.Position, error) {
	return event.Position(w.events), nil
}

func (w *written) ReadLog(_ context.Context, q eventstore.LogQuery) (eventstore.Page, error) {
	page := eventstore.Page{After: q.After, Next: min(q.After+1000, event.Position(w.events))}
	for i := int(q.After); i < int(page.Next); i++ {
		page.Events = append(page.Events, w.event(i))
	}
	return page, nil
}

// event is one of streams of 20, which take turns.
func (w *written) event(i int) event.Recorded {
	streams := max(1, w.events/streamLength)
	return event.Recorded{
		Raw: event.Raw{
			Name: "bench.measured", Schema: 1, ContentType: "application/json", Payload: payload(i),
			Metadata: event.Metadata{ID: event.NewID(), Actor: "bench"},
		},
		Stream:       event.Stream{Category: "bench", ID: fmt.Sprintf("%03d-%07d", w.run, i%streams)},
		Version:      event.Version(1 + i/streams),
		Position:     event.Position(i + 1),
		RecordedTime: time.Date(2026, 1, w.run+1, 0, 0, 0, i*1000, time.UTC),
	}
}

// copySide copies the same rows in each round, in one COPY.
type copySide struct {
	events int
	runs   int
	pool   *pgxpool.Pool
}

func (s *copySide) run(ctx context.Context, _ time.Duration) (sample, error) {
	w := &written{events: s.events, run: s.runs}
	s.runs++
	rows := make([][]any, s.events)
	for i := range rows {
		e := w.event(i)
		metadata, err := json.Marshal(e.Metadata)
		if err != nil {
			return sample{}, err
		}
		rows[i] = []any{
			e.Stream.Category, e.Stream.ID, int64(e.Version), [16]byte(e.Metadata.ID), e.Name, int16(e.Schema), e.ContentType, e.Payload, metadata, e.Closes, e.RecordedTime,
		}
	}
	columns := []string{"category", "stream_id", "version", "event_id", "name", "schema_version", "content_type", "payload", "metadata", "closes", "recorded_at"}
	start := time.Now()
	n, err := s.pool.CopyFrom(ctx, pgx.Identifier{"events_copied"}, columns, pgx.CopyFromRows(rows))
	if err != nil {
		return sample{}, err
	}
	return sample{n: int(n), took: time.Since(start)}, nil
}
