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
// moves after the broker has acknowledged. What was acknowledged before a record was
// refused is not sent again, if the Publisher tells: see PublishError.
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
// # Topics
//
// A Contract says what a topic is to be. A topic that is new to the relay is made by it,
// or taken if it exists and fits, and is filled from the log. What relay and broker have
// agreed on is stored (Contracts), and compared whenever a term begins: a topic that has
// another id or number of partitions, is compacted, or is gone, and a Contract with another
// number, stop the relay with a *TopicError, before it publishes anything. Other settings
// that differ are warnings.
//
// Somebody decides then, with Decide or the command it names. "annals relay adopt main
// shop.order" takes the topic as it is and goes on; "annals relay refill main shop.order"
// fills it from the beginning of the log. To adopt a topic that has grown moves keys: stop
// its consumers before, and build anew what they have built. A compacted topic is not
// adopted: order and events are lost in it.
//
// # Testing
//
// Package memory has a broker in process; package bustest is the suite that
// every broker passes.
package bus
