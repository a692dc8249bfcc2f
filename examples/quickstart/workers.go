package quickstart

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

// [workers]

// ErrBusy is what a service answers that the handlers call, when it has too much to do.
var ErrBusy = errors.New("service is busy")

// Alarms count what somebody should look at.
type Alarms struct{ Parked, Paused atomic.Int64 }

// Work keeps Totals up to date until ctx ends, and answers whether it is alive. Run as
// many processes of it as you like: they share the segments among themselves.
func Work(ctx context.Context, db *postgres.DB, mux *http.ServeMux, alarms *Alarms) error {
	var health worker.Health
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		if err := health.Check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return Totals.Run(ctx, db,
		projection.WithSegments(4), // for the life of the read model
		projection.WithHealth(&health),
		projection.WithRetry(worker.Retry{Classify: func(err error) worker.Class {
			if errors.Is(err, ErrBusy) {
				return worker.ClassSystemic // no event's fault: wait, and park nothing
			}
			return worker.Unclassified // as the store and the defaults say
		}}),
		projection.WithHooks(worker.Hooks{
			Parked: func(worker.KeyParked) { alarms.Parked.Add(1) },
			Paused: func(worker.Pause) { alarms.Paused.Add(1) },
		}),
	)
}

// [/workers]
