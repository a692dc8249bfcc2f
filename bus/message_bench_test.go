package bus_test

import (
	"testing"

	"github.com/annals-go/annals/bus"
)

func BenchmarkMessageOf(b *testing.B) {
	r := recorded()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.MessageOf("shop.order", r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEventOf(b *testing.B) {
	m, err := bus.MessageOf("shop.order", recorded())
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := bus.EventOf(m); err != nil {
			b.Fatal(err)
		}
	}
}
