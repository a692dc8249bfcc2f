// Package kafka publishes to Apache Kafka, and consumes from it, with
// franz-go. It works with any broker that speaks the protocol.
//
// # Usage
//
//	client, err := kafka.NewClient(kgo.SeedBrokers("localhost:9092"))
//	relay := bus.NewRelay(db, kafka.NewPublisher(client))
//
//	consumer := kafka.NewConsumer("totals", []string{"annals.order"}, kgo.SeedBrokers("localhost:9092"))
//	err = Totals.Run(ctx, db, projection.From(consumer))
//
// The client of a Publisher is the user's, made by NewClient and used by nobody else to
// produce. What NewClient does not set stays as franz-go has it.
//
// # Ordering
//
// A key goes to one partition: the hash that Kafka's own client uses, modulo the number
// that Publisher.Pin was told, so that a topic that grows moves no key. A partition keeps
// the order in which it was produced to, also through retries (idempotent producer,
// KIP-98). One record batch of a partition is in flight at a time: see Publisher.Publish.
//
// # Failure
//
// Where a consumer has come is in the checkpoint of the projection, committed
// together with its effects. The consumer group only shares the partitions out;
// offsets committed to the group are neither read nor written. A member that is given a
// partition takes its term from whoever had it, so that one that does not know of its
// loss yet changes nothing any more. An offset that the broker no longer has is an error,
// never a jump.
//
// A record that is too large for its topic, or invalid, is the error of an event, which
// the relay parks. All else, such as a topic that is missing or not allowed, may pass,
// and the relay waits.
package kafka
