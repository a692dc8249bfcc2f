package avrointerop

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	hamba "github.com/hamba/avro/v2"
)

// write returns the bytes of a record whose field v has the type, or the error.
func write[T any](typ string, v T) func(library) string {
	return func(l library) string {
		s := one("", typ, v)
		data, err := l.encode(s.writer, s.value)
		if err != nil {
			return "error: " + err.Error()
		}
		return hex.EncodeToString(data)
	}
}

// read returns the field v of a record that is read from the bytes, or the error.
func read[T any](writer, reader, digits string) func(library) string {
	return func(l library) string {
		data, err := hex.DecodeString(digits)
		if err != nil {
			return err.Error()
		}
		into := new(struct {
			V T `avro:"v"`
		})
		if err := l.decode(record(field("v", writer)), record(field("v", reader)), data, into); err != nil {
			return "error: " + err.Error()
		}
		v := reflect.ValueOf(into.V)
		if v.Kind() == reflect.Pointer && !v.IsNil() && v.Type() != reflect.TypeFor[*big.Rat]() {
			v = v.Elem()
		}
		return fmt.Sprint(v)
	}
}

// TestDifferences says what services meet when one has hamba/avro and the other codec/avro.
// An error is pinned by a part of it.
func TestDifferences(t *testing.T) {
	t.Parallel()
	const (
		date     = `{"type":"int","logicalType":"date"}`
		millis   = `{"type":"long","logicalType":"timestamp-millis"}`
		nanos    = `{"type":"long","logicalType":"timestamp-nanos"}`
		local    = `{"type":"long","logicalType":"local-timestamp-millis"}`
		clock    = `{"type":"int","logicalType":"time-millis"}`
		cents    = `{"type":"bytes","logicalType":"decimal","precision":10,"scale":2}`
		mills    = `{"type":"bytes","logicalType":"decimal","precision":10,"scale":3}`
		span     = `{"type":"fixed","name":"Span","size":12,"logicalType":"duration"}`
		optional = `["null","string"]`
	)
	east := time.FixedZone("east", 3600)
	for _, d := range []struct {
		what        string // and who is right, where the specification says so
		do          func(library) string
		ours, hamba string
	}{
		// Same values, other bytes; each reads what the other has written.
		{"arrays: hamba adds the size of a block in bytes", write(`{"type":"array","items":"int"}`, []int32{1, 2}), "04020400", "0304020400"},
		{"maps: so it does", write(`{"type":"map","values":"int"}`, map[string]int32{"a": 1}), "0202610200", "010602610200"},

		// Same input, another value. Where services of both write such fields, give them times in UTC.
		{"a date with a zone: ours is the day there, hamba's the day in UTC", write(date, time.Date(2026, 1, 1, 0, 30, 0, 0, east)), "ccbf02", "cabf02"},
		{"a date before 1970 that has a time of day: hamba writes the next day", write(date, time.Date(1960, 1, 2, 3, 0, 0, 0, time.UTC)), "8739", "8539"},
		{"a local timestamp: ours is what the clock there shows, as in Java, hamba's the instant", write(local, time.Date(1970, 1, 1, 1, 0, 0, 0, east)), "80bab703", "00"},
		{"a local timestamp that is read: both give the wall clock, hamba in the zone of the machine", func(l library) string {
			return read[time.Time](local, local, "80bab703")(l)[:len("1970-01-01 01:00:00")]
		}, "1970-01-01 01:00:00", "1970-01-01 01:00:00"},
		{"a decimal of too many digits behind the point: hamba cuts them off", write(cents, big.NewRat(1, 3)), "error: decimal value 1/3 cannot be represented at scale 2 without rounding", "0221"},
		{"a time of day beyond 24 days: hamba writes another one", write(clock, 1000*time.Hour), "error: duration 1000h0m0s overflows int32", "ffefe29605"},
		{"timestamps are cut off, towards the past, by both", write(millis, time.UnixMicro(-1)), "01", "01"},
		{"the scale of a decimal has changed: hamba reads a tenth", func(l library) string { return read[*big.Rat](cents, mills, "0219c8")(l) }, "error: the writer has decimal(10,2), the reader decimal(10,3)", "1/40"},

		// What one takes and the other does not.
		{"string in a field of bytes", write(`"bytes"`, "x"), "error: bytes wants []byte", "error: V: avro: string is unsupported for Avro bytes"},
		{"a slice for a fixed", write(tokenType, []byte{1, 2, 3, 4}), "error: wants an array of as many bytes", "error: V: avro: []uint8 is unsupported for Avro fixed"},
		{"float64 in a field of float", write(`"float"`, 0.1), "error: float wants float32, got float64", "error: V: avro: float64 is unsupported for Avro float"},
		{"long into int32: ours reads what fits", read[int32](`"long"`, `"long"`, "0a"), "5", "error: V: avro: int32 is unsupported for Avro long"},
		{"long into int32, which it does not fit", read[int32](`"long"`, `"long"`, "808080808040"), "error: value 1099511627776 overflows int32", "error: V: avro: int32 is unsupported for Avro long"},
		{"double into float32", read[float32](`"double"`, `"double"`, "000000000000f83f"), "error: double wants float64, got float32", "error: V: avro: float32 is unsupported for Avro double"},
		{"an optional string into a string, which cannot say null", read[string](optional, optional, "00"), "error: null has no place in string: use *string", "error: V: avro: string is unsupported for Avro union"},
		{"a type that became optional, into a pointer: the most common change", read[*string](`"string"`, optional, "0278"), "x", "error: V: avro: *string is unsupported for Avro string"},
		{"an optional decimal into *big.Rat: hamba reads zero", read[*big.Rat](`["null",`+cents+`]`, `["null",`+cents+`]`, "0204cfc7"), "-2469/20", "0/1"},
		{"timestamp-nanos, which is newer than hamba", read[time.Time](nanos, nanos, "02"), "1970-01-01 00:00:00.000000001 +0000 UTC", "error: V: avro: time.Time is unsupported for Avro long"},
		{"a union of records into any: ours gives the record, hamba names it", read[any](`["null",`+placeType+`]`, `["null",`+placeType+`]`, "0202610262"), "map[street:a zip:b]", "map[annals.interop.Place:map[street:a zip:b]]"},
		{"a duration of hamba's own type; ours takes [12]byte", write(span, hamba.LogicalDuration{Months: 1, Days: 2, Milliseconds: 3}), "error: fixed (duration) of 12 bytes wants an array of as many bytes", "010000000200000003000000"},
		{"null in the default of a record", func(l library) string {
			where := field("v", addressType, `"default":{"street":"s","zip":null}`)
			var into struct {
				V address `avro:"v"`
			}
			err := l.decode(record(field("id", `"string"`)), record(where), []byte{0}, &into)
			return fmt.Sprint(into.V.Street, " ", err)
		}, "s <nil>", " V: decode default: zip: avro: unable to resolve type avro.nullDefaultType"},
		{"time.Time in a union that has string before a timestamp, as any: give a union of ours one of the two", write[any](`["null","string",`+millis+`]`, time.UnixMilli(1).UTC()), "error: any holds time.Time, which would come back as another value (string)", "0402"},
		{"text that is not UTF-8: hamba writes it", write(`"string"`, "\xff"), "error: field v: text is not valid UTF-8", "02ff"},
		{"a symbol that the enum does not have: neither writes it", write(statusType, "LOST"), "error: unknown symbol \"LOST\"", "error: V: avro: unknown enum symbol: LOST"},
		{"a decimal of too many digits: neither writes it", write(`{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}`, big.NewRat(1234567, 100)), "error: decimal value has 7 digits, exceeds schema precision 4", "error: V: avro: cannot encode 12345.67"},
	} {
		t.Run(d.what, func(t *testing.T) {
			t.Parallel()
			for _, l := range []library{newOffice(t).annals(t), hambas()} {
				want := d.ours
				if l.name == "hamba" {
					want = d.hamba
				}
				got := d.do(l)
				part, failure := strings.CutPrefix(want, "error: ")
				if got != want && (!failure || !strings.HasPrefix(got, "error: ") || !strings.Contains(got, part)) {
					t.Errorf("%s: got %s, want %s", l.name, got, want)
				}
			}
		})
	}
}
