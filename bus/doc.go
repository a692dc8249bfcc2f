// Package bus carries the log to the outside world and back: the relay
// publishes events to a broker, a consumer has messages take effect, or hands events to a
// projection.
//
// # Usage
//
//	relay := bus.NewRelay(db, kafka.NewPublisher(client), bus.WithDomain("shop"))
//	go relay.Run(ctx)
//
//	var Billing = bus.NewConsumer("billing",
//		bus.On(public.Codec, func(ctx context.Context, tx pgx.Tx, e event.Of[public.Event]) error { ... }),
//		bus.OnMessage(bus.HasHeader("tenant", "acme"), func(ctx context.Context, tx pgx.Tx, m bus.Received) error { ... }))
//	go Billing.Run(ctx, db, kafka.NewConsumer("billing", []string{"shop.order"}, seeds))
//
// The events table is the outbox: the relay is a reader of the log with a
// checkpoint, so nothing is written twice and nothing is deleted.
//
// A consumer has an inbox: what a message effects in the database, that it was there, and
// how far the partition was read change in one transaction. So it takes effect once,
// however often it comes, and in whatever topic: see WithIdentity. Only messages that a
// route takes are remembered, for WithMemory. One group, in several processes, is a work
// queue; consumers of several names, with a group each, are publish and subscribe.
//
// # Messages
//
// A Mapper says what is published of an event. By default that is its payload as it is
// stored, in the topic of its category, with headers from which EventOf makes the event
// again, and those of CloudEvents for consumers that know nothing of Annals. Translate
// publishes integration messages instead, through a codec of their own; Categories, Filter
// and Drop combine mappers; TopicPerName gives up the order of streams for topics of one
// kind of event.
//
// # Ordering
//
// The key of a message is the id of its stream, so a stream lies in one
// partition, and the relay publishes in the order of the log. For one key the
// first delivery of an event never precedes that of the one before it.
// Nothing can be concluded about the order of two keys.
//
// A consumer takes the messages of one key in the order of their partition: those of one
// stream, and of others those of one record key, or of one partition if they have none. It
// goes by offsets, and asks the inbox about repeats, so that events which a relay had
// parked, and which come late, take effect if they are new. A topic of another number of
// partitions stops it with a *worker.PartsError, because what came of a key before and
// what comes after are in two partitions now, and would be taken in any order. While the
// relay has not adopted the topic, nothing new comes: worker.RewindParts has the consumer
// read all of it again, and what took effect does not do so twice. A topic that was made
// again is read from its beginning; what is parked of the one before has to be retried or
// discarded first (worker.ErrUnsettled).
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
// A consumer parks as a relay does: a message that fails for good, with all later ones of
// its key. It keeps their bytes, because the topic forgets. So it does with an event of its
// families that cannot be decoded or is damaged; that waits with its stream if it has the
// headers for its id, name, position and category, whatever is in them. Garbage of other
// producers has keys of its own, and never holds up a stream: see WithForeign. A message that comes after what is remembered of its time was forgotten is
// parked too, with ErrForgotten: it may have taken effect. So is one that went behind a
// parked key, and whose turn comes so late: the inbox is asked about each of them, and
// knows only of the first, which has failed before, that it is new. WithDeadLetter has a copy of what waits sent to a topic.
//
// A relay whose log was set back, and has lost what it published, stops with a
// *worker.DivergedError, and so do the consumers that were given it, once
// Relay.Rewind has begun a new incarnation. Messages name theirs: HeaderLineage.
//
// # Replay
//
// Relay.Replay publishes a part of the log again, to where it went or to another topic,
// slowly if need be. Its messages are repeats: they have the ids and positions of the
// first ones, and HeaderReplay.
//
// # Backlog
//
// A Guard is a gate for appends: while the relay is far behind it slows them down, and
// then refuses them with a *BacklogError, so that what an outage leaves behind can be
// worked off.
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
// shop.order --yes" takes the topic as it is and goes on; "annals relay refill main
// shop.order --yes" fills it from the beginning of the log. To adopt a topic that has grown moves keys: stop
// its consumers before, and build anew what they have built. A compacted topic is not
// adopted: order and events are lost in it.
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
