package transfer_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/annals-go/annals/transfer"
)

// benchFile has events of 256 bytes.
func benchFile(events int) string {
	var lines []string
	for i := range events {
		lines = append(lines, line(i+1, fmt.Sprintf("order-%d", i%500), i/500+1, `{"n":`, `{"text":"`+strings.Repeat("x", 235)+`","n":`, `"metadata":{}`, `"metadata":{"actor":"ada"}`))
	}
	return file(lines...)
}

func BenchmarkCheck(b *testing.B) {
	const events = 20_000
	source := text(benchFile(events))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := transfer.Check(b.Context(), source); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}

func BenchmarkRows(b *testing.B) {
	const events = 20_000
	f, err := transfer.Check(b.Context(), text(benchFile(events)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, err := range f.Rows(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/events, "ns/event")
}
