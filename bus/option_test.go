package bus_test

import (
	"fmt"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

func TestRelayOptionsPanic(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]bus.RelayOption{
		"bus: option WithBatch: 0: want 1 to 10000":                     bus.WithBatch(0),
		"bus: option WithTimeout: 0s: want at least 1ms":                bus.WithTimeout(0),
		"bus: option WithName: empty":                                   bus.WithName(""),
		"bus: option WithMapper: the mapper is nil":                     bus.WithMapper(nil),
		"bus: option WithLogger: the logger is nil":                     bus.WithLogger(nil),
		"bus: option WithLease: 1ns: want at least 10ms":                bus.WithLease(1),
		"bus: option WithVersion: empty":                                bus.WithVersion(""),
		"bus: option WithRetry: retry: Attempts is -1, want at least 0": bus.WithRetry(worker.Retry{Attempts: -1}),
		`bus: option WithDomain: "a b": want words of letters, digits, dashes and underscores, joined by dots, at most 128 bytes`: bus.WithDomain("a b"),
	} {
		func() {
			defer func() {
				if got := fmt.Sprint(recover()); got != want {
					t.Errorf("panic %q, want %q", got, want)
				}
			}()
			bus.NewRelay(memory.New(), memory.NewBroker(1), o)
		}()
	}
}
