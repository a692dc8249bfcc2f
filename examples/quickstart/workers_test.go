package quickstart_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/examples/quickstart"
	"github.com/annals-go/annals/internal/guidetest"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

func TestWork(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t, `CREATE TABLE totals (order_id text PRIMARY KEY, cents bigint NOT NULL)`)
	db := postgres.New(pool)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := aggregate.New[quickstart.Order](db, "order", quickstart.Codec).Execute(ctx, "o-1", quickstart.Place{Cents: 1250}); err != nil {
		t.Fatal(err)
	}
	mux, alarms := http.NewServeMux(), &quickstart.Alarms{}
	ended := make(chan error, 1)
	go func() { ended <- quickstart.Work(ctx, db, mux, alarms) }()
	awaitTotal(ctx, t, pool, 1250)
	live := func() int {
		answer := httptest.NewRecorder()
		mux.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/livez", nil))
		return answer.Code
	}
	if got := live(); got != http.StatusOK {
		t.Errorf("/livez answers %d, want 200", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Work = %v, want nil after its context has ended", err)
	}
	if got := live(); got != http.StatusServiceUnavailable {
		t.Errorf("/livez answers %d after the end, want 503", got)
	}
	if alarms.Parked.Load() != 0 || alarms.Paused.Load() != 0 {
		t.Errorf("alarms %d and %d, want none", alarms.Parked.Load(), alarms.Paused.Load())
	}
}

// What the guide shows is what is compiled and run here.
func TestWorkersInREADME(t *testing.T) {
	t.Parallel()
	guidetest.Fenced(t, "../../README.md", "workers.go", "workers")
}
