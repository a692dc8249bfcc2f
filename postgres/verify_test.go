package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/transfer"
	"github.com/annals-go/annals/worker"
)

type counted struct{ N int }

var notesCodec = codec.JSON(codec.Types[counted]{"order.noted": counted{}})

// given is a projection that writes nothing.
var given = projection.New("reader", projection.On(notesCodec, func(context.Context, pgx.Tx, event.Of[counted]) error { return nil }))

// verified is a store with 90 events in 9 streams that a reader has been given in
// batches of 10, then with the damage done to it, and what Verify finds.
func verified(t *testing.T, damage string, elsewhere ...*postgres.DB) (postgres.Verified, []string) {
	t.Helper()
	pool := postgrestest.Pool(t)
	db := fill(t, pool, 90)
	if err := given.CatchUp(t.Context(), db, projection.WithBatch(10)); err != nil {
		t.Fatal(err)
	}
	for _, e := range elsewhere {
		if err := given.CatchUp(t.Context(), worker.Join(db, e), projection.WithBatch(40)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pool.Exec(t.Context(), damage); err != nil {
		t.Fatal(err)
	}
	return verify(t, db, elsewhere...)
}

func fill(t *testing.T, pool *pgxpool.Pool, n int) *postgres.DB {
	t.Helper()
	db := postgres.New(pool)
	for i := range n {
		e := event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: fmt.Appendf(nil, `{"N":%d}`, i)}
		if _, err := db.Append(t.Context(), event.Stream{Category: "order", ID: fmt.Sprint(i % 9)}, eventstore.Any(), e); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

func verify(t *testing.T, db *postgres.DB, elsewhere ...*postgres.DB) (postgres.Verified, []string) {
	t.Helper()
	found := []string{}
	v, err := db.Verify(t.Context(), postgres.Verification{
		Elsewhere: elsewhere,
		Found: func(f postgres.Finding) {
			found = append(found, strings.TrimSpace(fmt.Sprintf("%s %s@%d at %d %s: %s", f.Fault, f.Stream, f.Version, f.Position, f.Name, f.Text)))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	return v, found
}

func TestVerifyASoundStore(t *testing.T) {
	t.Parallel()
	got, found := verified(t, `SELECT`, postgres.New(postgrestest.Pool(t)))
	if want := (postgres.Verified{UpTo: 90, Events: 90, Streams: 9, Checkpoints: 2}); len(found) != 0 || got != want {
		t.Errorf("Verify = %+v, want %+v, found %v", got, want, found)
	}
	got, found = verify(t, postgres.New(postgrestest.Pool(t)))
	if len(found) != 0 || got != (postgres.Verified{}) {
		t.Errorf("Verify of an empty store = %+v, found %v", got, found)
	}
}

// Each damage is found, and nothing but the damage.
func TestVerifyFindsDamage(t *testing.T) {
	t.Parallel()
	const triggers = `ALTER TABLE annals.events DISABLE TRIGGER USER; `
	for name, tt := range map[string]struct {
		damage string
		want   []string
	}{
		"a bit of a payload": {
			`UPDATE annals.events SET payload = set_bit(payload, 0, 0) WHERE position = 57`,
			[]string{"checksum order-2@7 at 57 : the event is not what was appended", "given -@0 at 51 projection/reader: the events at positions 51 to 70 are not what this reader was given"},
		},
		"an event is gone": {
			`DELETE FROM annals.events WHERE position = 44`,
			[]string{
				"given -@0 at 11 projection/reader: the events at positions 11 to 50 are not what this reader was given",
				"versions order-7@6 at 53 : version 6 comes after version 4",
			},
		},
		"the newest events are gone": {
			`DELETE FROM annals.events WHERE position > 85`,
			[]string{"ahead -@0 at 90 projection/reader: this reader was given position 90, the log is final up to 85"},
		},
		"an event was put in": {
			`DELETE FROM annals.events WHERE position = 90;
			INSERT INTO annals.events (position, category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
			OVERRIDING SYSTEM VALUE VALUES (90, 'order', '8', 10, gen_random_uuid(), 'order.noted', 1, 'application/json', '{"N":89}', '{}')`,
			[]string{
				"checksum order-8@10 at 90 : the event was not appended by Annals",
				"given -@0 at 81 projection/reader: the events at positions 81 to 90 are not what this reader was given",
			},
		},
		"two events have changed places": {
			triggers + `UPDATE annals.events SET version = 100 WHERE position = 80;
			UPDATE annals.events SET version = 9 WHERE position = 89;
			UPDATE annals.events SET version = 10 WHERE position = 80`,
			[]string{
				"checksum order-7@10 at 80 : the event is not what was appended",
				"checksum order-7@9 at 89 : the event is not what was appended",
				"given -@0 at 71 projection/reader: the events at positions 71 to 80 are not what this reader was given",
				"order order-7@10 at 80 : position 80 comes after position 89 of version 9",
			},
		},
		"a stream goes on behind its end": {
			`UPDATE annals.events SET closes = true WHERE position = 81`,
			[]string{"checksum order-8@9 at 81 : the event is not what was appended", "closed order-8@10 at 90 : version 9 had closed the stream", "given -@0 at 81 projection/reader: the events at positions 81 to 90 are not what this reader was given"},
		},
		"a checkpoint that was changed": {
			`UPDATE annals.checkpoints SET digest = '\x00112233445566778899aabbccddeeff', trail = ''`,
			[]string{
				`altered -@0 at 90 projection/reader: checkpoint projection/reader: part "": the mark at position 90 was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force`,
				"given -@0 at 1 projection/reader: the events at positions 1 to 90 are not what this reader was given",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v, found := verified(t, tt.damage)
			if diff := cmp.Diff(tt.want, found); diff != "" || v.Findings != int64(len(found)) {
				t.Errorf("Verify, with %d findings (-want +got):\n%s", v.Findings, diff)
			}
		})
	}
}

// A mark that was set by hand is believed, and followed from there on.
func TestVerifyFromAMarkSetByHand(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := fill(t, pool, 50)
	if err := db.Save(t.Context(), given.Name(), worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": {Position: 33}}}); err != nil {
		t.Fatal(err)
	}
	if err := given.CatchUp(t.Context(), db, projection.WithBatch(5)); err != nil {
		t.Fatal(err)
	}
	if _, found := verify(t, db); len(found) != 0 {
		t.Errorf("found %v", found)
	}
	if _, err := pool.Exec(t.Context(), `UPDATE annals.events SET payload = '' WHERE position IN (33, 34)`); err != nil {
		t.Fatal(err)
	}
	if _, found := verify(t, db); len(found) != 3 || !strings.Contains(found[2], "positions 34 to 43 ") {
		t.Errorf("found %v, want positions 34 to 43", found)
	}
}

// A change of any column of the appended event shows at exactly that event.
func TestVerifyFindsAChangeOfAnyColumn(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	db := fill(t, pool, 20)
	for column, change := range map[string]string{
		"category": "'cart'", "stream_id": "'x'", "version": "1000", "event_id": "gen_random_uuid()", "name": "'order.placed'", "schema_version": "2",
		"content_type": "'text/plain'", "payload": "payload || '\\x00'", "metadata": "metadata || ' '", "closes": "NOT closes", "checksum": "'\\x0011223344556677'",
	} {
		if _, err := pool.Exec(t.Context(), "CREATE TABLE backup AS TABLE annals.events; UPDATE annals.events SET "+column+" = "+change+" WHERE position = 7"); err != nil {
			t.Fatal(err)
		}
		_, found := verify(t, db)
		if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, "checksum ") && strings.Contains(f, " at 7 ") }) {
			t.Errorf("%s: found %v, want position 7", column, found)
		}
		if _, err := pool.Exec(t.Context(), `TRUNCATE annals.events; INSERT INTO annals.events OVERRIDING SYSTEM VALUE SELECT * FROM backup; DROP TABLE backup`); err != nil {
			t.Fatal(err)
		}
	}
	if _, found := verify(t, db); len(found) != 0 {
		t.Errorf("found %v", found)
	}
}

// Every way to append leaves the checksum that the client computes too.
func TestChecksumsOfAppends(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	for _, db := range []*postgres.DB{postgres.New(pool), postgres.New(pool, postgres.WithoutGroups())} {
		for i := range 3 {
			s := event.Stream{Category: "order", ID: fmt.Sprintf("\u00e9 %d %p", i, db)}
			events := make([]event.Raw, i+1)
			for j := range events {
				events[j] = event.Raw{Name: "order.noted", Schema: j + 1, ContentType: "text/plain", Payload: []byte{0, 0xff, byte(j)}, Closes: i == 2 && j == 2, Metadata: event.Metadata{Actor: "1\x1f2"}}
			}
			if _, err := db.Append(t.Context(), s, eventstore.None(), events...); err != nil {
				t.Fatal(err)
			}
			all := s
			all.ID += " all"
			if _, err := db.AppendAll(t.Context(), eventstore.Write{Stream: all, Expect: eventstore.None(), Events: events}); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows, err := pool.Query(t.Context(), `SELECT category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, checksum FROM annals.events`)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for rows.Next() {
		var (
			e             event.Recorded
			metadata, sum []byte
		)
		if err := rows.Scan(&e.Stream.Category, &e.Stream.ID, (*int64)(&e.Version), (*[16]byte)(&e.Metadata.ID), &e.Name, &e.Schema, &e.ContentType, &e.Payload, &metadata, &e.Closes, &sum); err != nil {
			t.Fatal(err)
		}
		n++
		if got := postgres.Checksum(&transfer.Row{
			Stream: e.Stream, Version: e.Version, ID: e.Metadata.ID, Name: e.Name, Schema: e.Schema, ContentType: e.ContentType, Payload: e.Payload, Metadata: metadata, Closes: e.Closes,
		}); !bytes.Equal(got, sum) {
			t.Errorf("%s: checksum %x, stored is %x", e, got, sum)
		}
	}
	if err := rows.Err(); err != nil || n != 24 {
		t.Errorf("%d events, %v, want 24", n, err)
	}
}
