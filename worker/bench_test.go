package worker_test

import (
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// What the digest of a mark costs for each event.
func BenchmarkDigest(b *testing.B) {
	events := make([]event.Recorded, 1000)
	for i := range events {
		events[i] = event.Recorded{
			Raw:    event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: make([]byte, 300), Metadata: event.Metadata{ID: event.NewID()}},
			Stream: event.Stream{Category: "order", ID: "o-1"}, Version: event.Version(i + 1), Position: event.Position(i + 1),
		}
	}
	b.ReportAllocs()
	var d worker.Digest
	for range b.N {
		d = d.Next(events...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(events)), "ns/event")
}
