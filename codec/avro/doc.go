// Package avro stores events as Avro, in the wire format of Confluent: a zero byte, the
// id of the schema that the event was written with (four bytes, big endian), and the
// binary encoding. Every program that has the registry can read them, from the log or
// from Kafka.
//
// # Usage
//
//	registry, err := avro.NewClient(sr.URLs("https://registry.example.com"), sr.BasicAuth(user, password))
//	format := avro.New(registry)
//	var Codec = codec.New[Event](format, codec.Types[Event]{
//		"order.placed": Placed{},
//	}, upcast.Step("order.placed", 1, func(v placedV1) Placed { ... }))
//	err = format.Prepare(ctx) // when the service starts
package avro
