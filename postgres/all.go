package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
)

const (
	appendAllSQL = `
SELECT admitted, actuals, positions, outcomes, at_versions, at_positions, taken_ids
FROM {{schema}}.append_all_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`

	lookUpSQL = `
SELECT outcome, at_version, at_position, taken_id
FROM {{schema}}.look_up_v1($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)`
)

// AppendAll implements eventstore.Store in a transaction of its own. What Append
// says about a missing answer holds for all the writes together.
func (d *DB) AppendAll(ctx context.Context, writes ...eventstore.Write) ([]eventstore.Result, error) {
	prepared, err := eventstore.PrepareAll(writes)
	if err != nil {
		return nil, err
	}
	x := delivery{end: d.end(ctx), timeout: d.callTimeout}
	if err := d.admit(ctx, x.end, prepared...); err != nil {
		return nil, fmt.Errorf("append %s: %w", all(prepared), err)
	}
	for {
		res, err := d.attemptAll(ctx, prepared, x.end)
		if err == nil {
			d.Wake() //nolint:contextcheck // a notification is for all appends
			return inPlace(prepared, res), nil
		}
		if err := x.next(ctx, all(prepared), err); err != nil {
			return nil, err
		}
		for i := range prepared {
			prepared[i].Events = x.again(prepared[i].Events)
		}
	}
}

func (d *DB) attemptAll(ctx context.Context, writes []eventstore.PreparedWrite, end time.Time) ([]eventstore.Result, error) {
	ctx, cancel := limitAttempt(ctx, end)
	defer cancel()
	conn, err := d.pool.Acquire(ctx)
	if err != nil {
		return nil, voidError{err, ctx.Err() != nil}
	}
	defer conn.Release()
	res, err := d.appendAll(ctx, conn, writes)
	crash.At("postgres.all.answered")
	if isIDTaken(err) || errors.Is(err, errRefused) { // nothing was written, now or ever by this attempt
		res, err = d.lookUpAll(ctx, conn, writes)
		if err != nil && !isRefused(err) && !errors.Is(err, errAbsent) {
			return nil, voidError{err, ctx.Err() != nil}
		}
	}
	return res, err
}

// errRefused says that the state of a stream does not allow one of the writes.
var errRefused = errors.New("refused")

// appendAll makes one attempt to write all or none.
func (d *DB) appendAll(ctx context.Context, q querier, writes []eventstore.PreparedWrite) ([]eventstore.Result, error) {
	sql, args := d.batch(writes, true)
	return scanAll(q.QueryRow(ctx, sql, args...), writes)
}

// lookUpAll asks what has become of writes of which none was made now: they are
// the repeat of an AppendAll, or one of them is refused. If only some seem to be
// a repeat, it asks again: the first call may have been committed meanwhile, and
// then that shows all of them.
func (d *DB) lookUpAll(ctx context.Context, q querier, writes []eventstore.PreparedWrite) ([]eventstore.Result, error) {
	for last := false; ; last = true {
		res := make([]eventstore.Result, len(writes))
		repeated := -1
		var refusal error
		for i, w := range writes {
			args := appendArgs(w, true)
			args = append(args[:9:9], args[10]) // all but the metadata and the last
			var t told
			err := t.scan(q.QueryRow(ctx, d.sql(lookUpSQL), args...))
			if err != nil {
				return nil, err
			}
			if res[i], err = t.result(w); err == nil {
				repeated = i
			} else if refusal == nil || errors.Is(refusal, errAbsent) {
				refusal = err
			}
		}
		switch {
		case refusal == nil:
			return res, nil
		case repeated < 0 || last && isRefused(refusal):
			return nil, refusal
		case last: // appended before, but not in this company
			w := writes[repeated]
			return nil, &eventstore.IDReusedError{Stream: w.Stream, ID: w.Events[len(w.Events)-1].Metadata.ID, Version: res[repeated].Version}
		}
	}
}

func all(writes []eventstore.PreparedWrite) string {
	if len(writes) == 1 {
		return writes[0].Stream.String()
	}
	return fmt.Sprintf("%s and %d more", writes[0].Stream, len(writes)-1)
}

func inPlace(writes []eventstore.PreparedWrite, res []eventstore.Result) []eventstore.Result {
	out := make([]eventstore.Result, len(res))
	for i, w := range writes {
		out[w.Place] = res[i]
	}
	return out
}

// verdicts is what append_all_v1 returns.
type verdicts struct {
	admitted         []bool
	actuals          []int64
	positions        []int64 // of the admitted writes' events
	firsts           []int   // of each write: where its positions begin
	outcomes         []*string
	versions, places []*int64
	taken            []*[16]byte
}

// scanVerdicts finds out which positions belong to which write.
func scanVerdicts(row pgx.Row, writes []eventstore.PreparedWrite) (*verdicts, error) {
	v := &verdicts{firsts: make([]int, len(writes))}
	if err := row.Scan(&v.admitted, &v.actuals, &v.positions, &v.outcomes, &v.versions, &v.places, &v.taken); err != nil {
		return nil, err
	}
	next := 0
	for i, w := range writes {
		v.firsts[i] = next
		if v.admitted[i] {
			next += len(w.Events)
		}
	}
	return v, nil
}

// written is the result of a write that was admitted.
func (v *verdicts) written(i int, w eventstore.PreparedWrite) eventstore.Result {
	n := len(w.Events)
	return eventstore.Result{
		Version:  event.Version(v.actuals[i] + int64(n)),
		Position: event.Position(v.positions[v.firsts[i]+n-1]),
	}
}

// refused is the outcome of one that was not.
func (v *verdicts) refused(i int, w eventstore.PreparedWrite) (eventstore.Result, error) {
	t := told{*v.outcomes[i], v.versions[i], v.places[i], v.taken[i]}
	return t.result(w)
}

// scanAll is the results of writes made together.
func scanAll(row pgx.Row, writes []eventstore.PreparedWrite) ([]eventstore.Result, error) {
	v, err := scanVerdicts(row, writes)
	if err != nil {
		return nil, err
	}
	if slices.Contains(v.admitted, false) {
		return nil, errRefused // there are no positions then
	}
	res := make([]eventstore.Result, len(writes))
	for i, w := range writes {
		res[i] = v.written(i, w)
	}
	return res, nil
}

// batch is the one statement for several writes, sorted by stream.
func (d *DB) batch(writes []eventstore.PreparedWrite, together bool) (string, []any) {
	n, events := len(writes), 0
	for _, w := range writes {
		events += len(w.Events)
	}
	var (
		categories, ids, expects = make([]string, n), make([]string, n), make([]string, n)
		expecteds                = make([]int64, n)
		closing                  = make([]bool, n)
		counts                   = make([]int32, n)
		appends, places          = make([]int32, 0, events), make([]int32, 0, events)
		c                        = newColumns(events)
	)
	for i, w := range writes {
		kind, expected := w.Expect.Kind()
		categories[i], ids[i], expects[i], expecteds[i] = w.Stream.Category, w.Stream.ID, expectNames[kind], int64(expected)
		closing[i], counts[i] = closes(w.Events), int32(len(w.Events))
		for j := range w.Events {
			appends, places = append(appends, int32(i+1)), append(places, int32(j+1))
		}
		c.add(w.Events)
	}
	return d.sql(appendAllSQL), []any{
		categories, ids, expects, expecteds, closing, counts,
		appends, places, c.ids, c.names, c.schemas, c.contentTypes, c.payloads, c.metadatas, together,
	}
}
