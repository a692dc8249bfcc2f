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
// Of several relays of one name, in any process, one has the term and publishes; the
// others stand by. One that was frozen and does not know that its term is over may
// publish once more what its successor publishes too. It moves no checkpoint.
//
// While the broker fails, the relay pauses and goes on by itself. An event that cannot
// be mapped, or that the broker refuses for good, such as one that is too large, is
// parked with all later ones of its stream, and the others are published. After a fix it
// is published, and they behind it, in order: see worker.Amender. They are then behind
// newer events of other streams. WithStop stops the relay instead.
//
// A relay whose log was set back, and has lost what it published, stops with a
// *worker.DivergedError, and so do the consumers that were given it, once
// Relay.Rewind has begun a new incarnation. Messages name theirs: HeaderLineage.
//
// # Exactly once
//
// With a Ledger in the place of its Publisher, such as that of package kafka, a relay
// publishes each batch in a transaction of the broker, together with a cursor, and makes
// up in the outbox for what is only in the ledger when it begins. Each event is then in its
// topic once, as seen by readers of what is committed; not so by others, nor after Rewind,
// after a topic was filled again, when the cursor is lost, or when the store has lost
// commits. See docs/adr/0017-exactly-once-into-the-topic.md.
//
// Choose it for consumers that are not yours and cannot tell repeats. Those with an inbox,
// and projections, pass over repeats anyway, and a batch without a transaction is visible
// sooner.
//
// # Testing
//
// Package memory has a broker in process; package bustest is the suite that
// every broker passes.
package bus
