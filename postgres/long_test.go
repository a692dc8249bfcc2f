package postgres_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/annals-go/annals/eventstore"
)

// Memory does not grow with what is read: a stream of two million events, both
// ways, and the log of it.
func TestFaultLongStreamIsReadInBoundedMemory(t *testing.T) {
	s := newScript(t) // alone: it measures the process
	const events, most = 2_000_000, 64 << 20
	ctx, cancel := context.WithTimeout(context.WithoutCancel(s.ctx), 10*time.Minute)
	defer cancel()
	s.ctx = ctx
	s.exec(`
INSERT INTO annals.events (category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata)
SELECT 'order', 'long', n, gen_random_uuid(), 'order.noted', 1, 'text/plain', convert_to(repeat('x', 100), 'UTF8'), '{}'
FROM generate_series(1, $1::bigint) n`, events)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	watch := func(what string, n int) {
		if n%100_000 != 0 {
			return
		}
		runtime.ReadMemStats(&now)
		if grown := int64(now.HeapInuse) - int64(before.HeapInuse); grown > most {
			t.Fatalf("%s: %d MiB after %d events, want at most %d", what, grown>>20, n, most>>20)
		}
	}
	for _, q := range []eventstore.StreamQuery{{}, {Backward: true}} {
		n := 0
		for _, err := range s.db.ReadStream(s.ctx, order("long"), q) {
			s.end(err)
			n++
			watch("read stream", n)
		}
		if n != events {
			t.Errorf("%+v: %d events, want %d", q, n, events)
		}
	}
	n := 0
	for _, err := range eventstore.All(s.ctx, s.db, eventstore.LogQuery{}) {
		s.end(err)
		n++
		watch("read log", n)
	}
	if n != events {
		t.Errorf("%d events of the log, want %d", n, events)
	}
}
