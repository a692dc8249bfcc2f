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
// A consumer parks as a relay does: a message that fails for good, with all later ones of
// its key. It keeps their bytes, because the topic forgets. So it does with an event of its
// families that cannot be decoded or is damaged; that waits, where it can be told, with its
// stream. Garbage of other producers has keys of its own, and never holds up a stream: see
// WithForeign. A message that comes after what is remembered of its time was forgotten is
// parked too, with ErrForgotten: it may have taken effect. A message that is parked and
// retried takes effect once, too. WithDeadLetter has a copy of what waits sent to a topic.
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
