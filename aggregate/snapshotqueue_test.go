package aggregate

import (
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

// What comes later under one key is put together with what waits.
func TestQueueMergesJobs(t *testing.T) {
	t.Parallel()
	key := snapshotKey{stream: event.Stream{Category: "account", ID: "a"}}
	at := func(ignored, snapshot event.Version) job {
		return job{key, eventstore.Snapshot{Version: ignored}, eventstore.Snapshot{Version: snapshot, State: make([]byte, snapshot)}}
	}
	for _, test := range []struct{ have, next, want job }{
		{at(0, 5), at(0, 7), at(0, 7)},
		{at(0, 7), at(0, 5), at(0, 7)}, // of a load that took longer
		{at(9, 5), at(0, 7), at(9, 7)},
		{at(0, 7), at(9, 0), at(9, 7)},
		{at(0, 7), at(9, 5), at(9, 5)}, // the stream went back meanwhile
		{at(9, 0), at(8, 0), at(8, 0)},
	} {
		var q queue
		q.init(1, 100)
		q.open()
		for _, j := range []job{test.have, test.next} {
			if !q.put(j) {
				t.Errorf("%+v is not let in", j)
			}
		}
		if want := len(test.want.snapshot.State); q.held != want {
			t.Errorf("%d bytes are held, want %d", q.held, want)
		}
		got, ok := q.take()
		if !ok || got.ignored.Version != test.want.ignored.Version || got.snapshot.Version != test.want.snapshot.Version || q.held != 0 {
			t.Errorf("%+v and %+v: %+v, %d bytes held, want %+v", test.have, test.next, got, q.held, test.want)
		}
		if v := q.lately(key, 100); v != got.snapshot.Version && v != test.have.snapshot.Version {
			t.Errorf("lately %d", v)
		}
	}
}

// What is remembered is bounded, and forgotten when it is stored.
func TestQueueForgets(t *testing.T) {
	t.Parallel()
	var q queue
	q.init(1, 1)
	key := func(i int) snapshotKey {
		return snapshotKey{fingerprint: eventstore.Fingerprint{byte(i), byte(i >> 8)}}
	}
	for i := range 2 * rememberedKeys {
		q.tried(key(i), 7)
	}
	if n := len(q.last); n > rememberedKeys {
		t.Errorf("%d keys are remembered, at most %d", n, rememberedKeys)
	}
	last := key(2*rememberedKeys - 1)
	if up, back := q.lately(last, 7), q.lately(last, 6); up != 7 || back != 0 {
		t.Errorf("lately %d, and %d before it, want 7 and 0", up, back)
	}
	q.arrived(job{key: last, snapshot: eventstore.Snapshot{Version: 6}})
	if q.lately(last, 7) != 7 {
		t.Error("a newer one is still on its way")
	}
	q.arrived(job{key: last, snapshot: eventstore.Snapshot{Version: 7}})
	if q.lately(last, 7) != 0 {
		t.Error("it has arrived")
	}
}
