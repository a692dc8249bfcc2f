// Package bus carries the log to the outside world and back: the relay
// publishes events to a broker, a consumer hands them to a projection.
//
// # Usage
//
//	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain("shop"))
//	go relay.Run(ctx)
//
// The events table is the outbox: the relay is a reader of the log with a
// checkpoint, so nothing is written twice and nothing is deleted.
//
// # Ordering
//
// The key of a message is the id of its stream, so a stream lies in one
// partition, and the relay publishes in the order of the log. For one key the
// first delivery of an event never precedes that of the one before it.
// Nothing can be concluded about the order of two keys.
//
// # Failure
//
// Delivery is at least once: after a crash, or while two relays overlap, events
// are published again, with the same event id and position. The checkpoint
// moves after the broker has acknowledged, and names the incarnation of each
// topic: a topic that is new, or was deleted and made again, is filled from the
// log.
//
// A relay whose log was set back, and has lost what it published, stops with a
// *worker.DivergedError, and so do the consumers that were given it, once
// Relay.Rewind has begun a new incarnation. Messages name theirs: HeaderLineage.
//
// # Testing
//
// Package memory has a broker in process; package bustest is the suite that
// every broker passes.
package bus
