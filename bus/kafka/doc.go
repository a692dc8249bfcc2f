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
// Each partition that a member has is delivered by itself, one delivery at a time, and
// as many partitions at once as WithConcurrency says. One that is slow, or waits for an
// outage to pass, holds up neither the others nor the group.
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
// partition, which has an offset and is no record: a reader that counts records does not
// come to the end offset. A Consumer of this package does. A relay that dies in a transaction holds such consumers up until
// another one opens the ledger, or for kgo.TransactionTimeout, 15 s by default.
//
// # Failure
//
// Where a consumer has come is in the checkpoint of the projection, committed
// together with its effects. The consumer group only shares the partitions out;
// offsets committed to the group are neither read nor written. A member that is given a
// partition takes its term from whoever had it, so that one that does not know of its
// loss yet changes nothing any more.
//
// When a partition moves to another member, its delivery is told to end, and what was
// fetched behind it is dropped. The group waits up to three seconds for a batch in flight;
// one that takes longer is fenced by the next owner's term. What such a batch has done
// elsewhere than in the database is done.
//
// An offset that the broker no longer has is a *bus.LostError, never a jump: one that
// was deleted before it was read, and, where the log of a partition was cut off in an
// unclean election of a leader, one that was read. A topic that has grown is a
// *worker.PartsError, and nothing of its new partitions is delivered. All three end a
// reader. A topic that is deleted and made again while it is read is ErrMadeAgain: the
// reader begins again, with the first record there is.
//
// A record that is too large for its topic, or invalid, is the error of an event, which
// the relay parks. All else, such as a topic that is missing or not allowed, may pass,
// and the relay waits.
package kafka
