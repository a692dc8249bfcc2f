// Package kafka publishes to Apache Kafka, and consumes from it, with
// franz-go. It works with any broker that speaks the protocol.
//
// # Usage
//
//	client, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.ManualFlushing())
//	relay := bus.NewRelay(db, kafka.NewPublisher(client))
//
//	consumer := kafka.NewConsumer("totals", []string{"annals.order"}, kgo.SeedBrokers("localhost:9092"))
//	err = Totals.Run(ctx, db, projection.From(consumer))
//
// The client of a Publisher is the user's, made with kgo.ManualFlushing and used
// by nobody else to produce. Keep franz-go's other defaults for producing:
// idempotent, acks from all in-sync replicas, unlimited retries, the default
// partitioner. Set kgo.MetadataMinAge to half a second or so, for quick recovery
// when a partition moves.
//
// # Ordering
//
// A key goes to one partition, and a partition keeps the order in which it was
// produced to, also through retries (idempotent producer, KIP-98). One record
// batch of a partition is in flight at a time: see Publisher.Publish.
//
// # Exactly once
//
//	ledger, err := kafka.NewLedger("shop", kgo.SeedBrokers("localhost:9092"))
//	relay := bus.NewRelay(db, ledger, bus.WithDomain("shop"))
//
// A Ledger publishes each batch in a transaction; package bus says when to choose it. A
// transaction takes a round trip more, and its records are visible together at its end.
// Consumers must read what is committed (isolation.level=read_committed; those of this
// package do): others see what was aborted too. Each transaction leaves a marker in each
// partition, so that a lag by offsets stays above 0, and readers that count offsets are
// not done when they are. A relay that dies in a transaction holds such consumers up until
// another one opens the ledger, or for kgo.TransactionTimeout, 15 s by default.
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
