package quickstart_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
	"github.com/annals-go/annals/examples/quickstart"
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
	source, err := os.ReadFile("workers.go")
	if err != nil {
		t.Fatal(err)
	}
	_, code, _ := strings.Cut(string(source), "// [workers]\n")
	code, _, _ = strings.Cut(code, "\n// [/workers]")
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(readme), "<!-- workers -->\n```go\n")
	shown, _, _ = strings.Cut(shown, "```\n")
	if diff := cmp.Diff(strings.TrimSpace(code), strings.TrimSpace(shown)); diff != "" {
		t.Errorf("README.md differs from workers.go (-code +README):\n%s", diff)
	}
}
