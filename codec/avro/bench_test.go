package avro_test

import (
	"testing"

	"github.com/annals-go/annals/codec/avro"
)

// benchmarked is a format with an order event, and payloads of it: one written with the
// schema of today, and one with an earlier schema that lacks a field, has one more and an
// int for a long.
func benchmarked(tb testing.TB) (f *avro.Format, today, earlier []byte) {
	tb.Helper()
	r := &registry{}
	f = avro.New(r, avro.WithRegistration())
	if err := f.Declare("order.placed", 1, orderType, true); err != nil {
		tb.Fatal(err)
	}
	today, err := f.Marshal("order.placed", 1, ordered())
	if err != nil {
		tb.Fatal(err)
	}
	id := r.add("order.Placed", earlierOrder)
	return f, today, written(tb, id, earlierOrder, earlierValue())
}

func BenchmarkAvroEncode(b *testing.B) {
	f, _, _ := benchmarked(b)
	e := ordered()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Marshal("order.placed", 1, e); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkDecode(b *testing.B, f *avro.Format, payload []byte) {
	b.Helper()
	b.ReportAllocs()
	for b.Loop() {
		var into Ordered
		if err := f.Unmarshal("order.placed", 1, payload, &into); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAvroDecode(b *testing.B) {
	f, today, _ := benchmarked(b)
	benchmarkDecode(b, f, today)
}

func BenchmarkAvroDecodeResolved(b *testing.B) {
	f, _, earlier := benchmarked(b)
	benchmarkDecode(b, f, earlier)
}
