package avrointerop

import (
	"math/big"
	"time"
)

const (
	decimalType = `{"type":"bytes","logicalType":"decimal","precision":20,"scale":2}`
	decimalIn8  = `{"type":"fixed","name":"Cents","size":8,"logicalType":"decimal","precision":18,"scale":2}`
)

// Times are given in UTC and no finer than their schema: TestDifferences has the others.
func logicalTypes() []scenario {
	day := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	before := time.Date(1931, 5, 6, 0, 0, 0, 0, time.UTC)
	at := day.Add
	huge, _ := new(big.Rat).SetString("-123456789012345678.91")
	now := at(90*time.Minute + 123*time.Millisecond)
	return []scenario{
		one("decimal_bytes", decimalType, big.NewRat(-12345, 100)),
		one("decimal_bytes_zero", decimalType, new(big.Rat)),
		one("decimal_bytes_large", decimalType, huge),
		one("decimal_bytes_sign_byte", decimalType, big.NewRat(128, 100)),
		one("decimal_fixed", decimalIn8, big.NewRat(-12345, 100)),
		one("decimal_fixed_positive", decimalIn8, big.NewRat(999999, 100)),
		one("uuid", `{"type":"string","logicalType":"uuid"}`, "7a3f4a1e-5f58-4e7b-8a9d-0b1c2d3e4f50"),
		one("uuid_fixed", `{"type":"fixed","name":"ID","size":16,"logicalType":"uuid"}`, [16]byte{0: 0x7a, 15: 0x50}),
		one("date", `{"type":"int","logicalType":"date"}`, day),
		one("date_before_1970", `{"type":"int","logicalType":"date"}`, before),
		one("time_millis", `{"type":"int","logicalType":"time-millis"}`, 23*time.Hour+123*time.Millisecond),
		one("time_micros", `{"type":"long","logicalType":"time-micros"}`, 23*time.Hour+123456*time.Microsecond),
		one("timestamp_millis", `{"type":"long","logicalType":"timestamp-millis"}`, now),
		one("timestamp_millis_before_1970", `{"type":"long","logicalType":"timestamp-millis"}`, before.Add(time.Millisecond)),
		one("timestamp_millis_as_long", `{"type":"long","logicalType":"timestamp-millis"}`, int64(1700000000123)),
		one("timestamp_micros", `{"type":"long","logicalType":"timestamp-micros"}`, at(123456*time.Microsecond)),
		one("timestamp_micros_before_1970", `{"type":"long","logicalType":"timestamp-micros"}`, before.Add(time.Microsecond)),
		one("timestamp_micros_zero_time", `{"type":"long","logicalType":"timestamp-micros"}`, time.Time{}),
		one("local_timestamp_millis", `{"type":"long","logicalType":"local-timestamp-millis"}`, now),
		one("local_timestamp_micros", `{"type":"long","logicalType":"local-timestamp-micros"}`, at(123456*time.Microsecond)),
		one("optional_timestamp", `["null",{"type":"long","logicalType":"timestamp-micros"}]`, &now),
		one("duration_as_bytes", `{"type":"fixed","name":"Span","size":12,"logicalType":"duration"}`, [12]byte{0: 1, 4: 2, 8: 3}),
	}
}
