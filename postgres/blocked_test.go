package postgres_test

import (
	"testing"

	"github.com/annals-go/annals/eventstore"
)

// A reader that stood at a hole looks at one event until the hole is gone, and
// then gets a page like any other, also when it reads it again.
func TestPageAfterAHoleIsWhole(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	a := s.begin()
	s.append(s.db.Tx(a), "a")
	for range 5 {
		s.append(s.db, "b")
	}
	read := func(want int) {
		t.Helper()
		page, err := s.db.ReadLog(s.ctx, eventstore.LogQuery{Limit: 10})
		s.end(err)
		if len(page.Events) != want {
			t.Errorf("%d events, want %d", len(page.Events), want)
		}
	}
	read(0)
	read(0)
	s.commit(a)
	read(6)
	read(6)
}
