// Package aggregate loads the state of a stream, asks a command for its
// decision, and appends what it decided.
//
// # Usage
//
//	orders := aggregate.New[Order](db, "order", Codec)
//	res, err := orders.Execute(ctx, "o-1", Place{Cents: 1250})
//
// A state evolves by events and is never the truth: what is stored are events,
// and a snapshot of a state is a cache. Its zero value is that of an aggregate
// without events. A command carries its decision, so a command that
// is not one of this aggregate does not compile.
//
// # Ordering
//
// A decision is appended only if the stream has not changed since the state was
// loaded. If it has, the state is loaded and the command asked again, so Decide
// must be pure: no I/O, no clock, no randomness, no change of anything.
//
// # Failure
//
// An error of Decide is returned as it is, and nothing was appended. For the
// errors of the store see eventstore.Store. The ids of the events are drawn before
// they are appended, so the store itself resolves an append whose answer is lost,
// by sending it again. ErrOutcomeUnknown means that it could not in the time it
// had. It is returned as it is, because a new attempt would decide again and draw
// new ids: execute again only a command that decides nothing when what it asks
// for is already so.
//
// A stream that lacks events that its state depends on is an error, ErrIncomplete,
// and never a state of the rest.
//
// # Snapshots
//
// Streams of hundreds of events load faster from a snapshot:
//
//	snapshots := aggregate.NewSnapshotter(db, aggregate.JSONState[Order]())
//	orders := aggregate.New[Order](db, "order", Codec).WithSnapshots(snapshots)
//	go snapshots.Run(ctx)
//
// A load begins at the newest snapshot and folds the events behind it. When it
// has folded 100 (WithEvery), or took 50 ms (WithSlowLoad), it asks for the next
// snapshot, which Run writes; no command waits for that.
//
// A snapshot is never trusted alone. It is used if its checksum matches, if it
// ends with an event that the stream has at that place, and if its fingerprint
// is that of this program: a digest of the structure of the state and of all
// shapes of the events. Otherwise the load folds all events, tells the hooks why,
// and puts a sound one in its place. So a new field of the state, a new step of
// an upcaster, a restored database or a damaged row cost time and nothing else.
//
// What a fingerprint cannot see is code. When Evolve or an upcaster gives another
// state for the same events and no type has changed, WithEdition has to change
// with it:
//
//	aggregate.NewSnapshotter(db, aggregate.JSONState[Order](), aggregate.WithEdition("2"))
//
// Forgetting it means that a total which the old code folded wrongly stays wrong
// in every stream that has a snapshot, although all tests of Evolve pass.
//
// encoding/json leaves out unexported fields without a word, so JSONState panics
// when it is given a state that would not come back whole. Export the fields, or
// give the state MarshalJSON and UnmarshalJSON, or a StateCodec of its own.
//
// Old programs leave their snapshots behind. Delete them when none of them runs
// any more:
//
//	db.DeleteSnapshots(ctx, eventstore.SnapshotQuery{
//		Category: "order",
//		Except:   []eventstore.Fingerprint{orders.Fingerprint()},
//	})
//
// # Testing
//
// Package aggregatetest states decisions as given, when, then.
package aggregate
