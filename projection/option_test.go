package projection_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

func TestOptionErrors(t *testing.T) {
	t.Parallel()
	l := &ledger{DB: memory.New()}
	for text, opts := range map[string][]projection.Option{
		"option WithBatch: 0: want 1 to 10000":                     {projection.WithBatch(0)},
		"option WithBatch: 10001: want 1 to 10000":                 {projection.WithBatch(10_001)},
		"option WithTimeout: 0s: want at least 1ms":                {projection.WithTimeout(0)},
		"option WithRetry: retry: Attempts is -1, want at least 0": {projection.WithRetry(worker.Retry{Attempts: -1})},
		"option WithLogger: the logger is nil":                     {projection.WithLogger(nil)},
		"option WithSegments: 0: want 1 to 256":                    {projection.WithSegments(0)},
		"option WithSegments: 257: want 1 to 256":                  {projection.WithSegments(257)},
		"option WithSegments: a source has partitions of its own":  {projection.WithSegments(2), projection.From(script{})},
		"option WithKey: the function is nil":                      {projection.WithKey(nil)},
		"option WithLease: 9ms: want at least 10ms":                {projection.WithLease(9 * time.Millisecond)},
		"option WithVersion: empty":                                {projection.WithVersion("")},
		"option From: the source is nil":                           {projection.From(nil)},
	} {
		text = "run projection/totals: " + text
		if err := l.projection("totals").Run(t.Context(), l.DB, opts...); err == nil || err.Error() != text {
			t.Errorf("Run = %v, want %s", err, text)
		}
		if err := l.projection("totals").CatchUp(t.Context(), l.DB, opts...); err == nil || err.Error() != text {
			t.Errorf("CatchUp = %v, want %s", err, text)
		}
	}
	defer func() {
		if got, text := fmt.Sprint(recover()), `projection: New("") with 0 handlers: want a name and a handler`; got != text {
			t.Errorf("panic %q, want %q", got, text)
		}
	}()
	projection.New[*memory.Tx]("")
}
