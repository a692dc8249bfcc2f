package oracle

// Check names a promise that a history can break.
type Check string

// The checks of History.Check.
const (
	// Lost: an append was acknowledged, and an event of it is not stored as given.
	Lost Check = "lost"
	// Missed: a reader was not given an event that it selects.
	Missed Check = "missed"
	// Phantom: an event is stored that was refused, rolled back, or never sent.
	Phantom Check = "phantom"
	// Stray: a reader was given what is not stored so, or what it does not select.
	Stray Check = "stray"
	// Torn: of an append without an answer, a part is stored.
	Torn Check = "torn"
	// Unsettled: a reader was given an event of an append without an answer, which
	// is not stored, or stored otherwise.
	Unsettled Check = "unsettled"
	// Dense: the versions of a stream are not 1, 2, 3 and so on.
	Dense Check = "dense"
	// Contiguous: the events of a write are not next to each other in their stream.
	Contiguous Check = "contiguous"
	// Order: in the order of the positions, the versions of a stream do not grow.
	Order Check = "order"
	// Behind: a reader was given an event at or before its cursor, or out of order.
	Behind Check = "behind"
	// Reread: what a reader was given again is not what it was given before.
	Reread Check = "reread"
	// Unequal: two readers of the same selection were given different logs.
	Unequal Check = "unequal"
	// Linear: no order of the appends, conflicts and reads of a stream explains
	// what each was answered, or the search for one took too long.
	Linear Check = "linear"
	// Answer: the result of an append is not where its events are.
	Answer Check = "answer"
	// Expectation: an append was stored although its stream did not meet what it
	// expected, or refused although it did.
	Expectation Check = "expectation"
)

// The checks of the other functions.
const (
	// Effect: a read model is not the fold of the stored events.
	Effect Check = "effect"
	// Unsent: an event is stored, and no message of it was delivered.
	Unsent Check = "unsent"
	// Unstored: a message was delivered of an event that is not stored so.
	Unstored Check = "unstored"
	// Overtaken: the first message of an event came before that of an earlier one
	// of the same key.
	Overtaken Check = "overtaken"
	// Scattered: the messages of a key lie in more than one partition of a topic.
	Scattered Check = "scattered"
	// Duplicates: more messages came again than the test allows.
	Duplicates Check = "duplicates"
	// Skipped: of the events of a consumer, some are neither delivered nor parked
	// nor pending, or are parked without saying why.
	Skipped Check = "skipped"
	// Stalled: a reader has not caught up in time after the last fault.
	Stalled Check = "stalled"
	// Growth: goroutines, sessions, locks or files grow, or are left at the end.
	Growth Check = "growth"
	// Idle: a session was idle in a transaction for too long.
	Idle Check = "idle in transaction"
	// Chain: the store's own verification is not red exactly where it should be.
	Chain Check = "chain"
)

var numbers = map[Check]string{
	Lost: "O-1", Missed: "O-1",
	Phantom: "O-2", Stray: "O-2",
	Torn: "O-3", Unsettled: "O-3",
	Dense: "O-4", Contiguous: "O-4",
	Order: "O-5", Behind: "O-5", Reread: "O-5", Unequal: "O-5",
	Linear: "O-6", Answer: "O-6", Expectation: "O-6",
	Effect: "O-7",
	Unsent: "O-8", Unstored: "O-8", Overtaken: "O-8", Scattered: "O-8", Duplicates: "O-8",
	Skipped: "O-9",
	Stalled: "O-10",
	Growth:  "O-11", Idle: "O-11",
	Chain: "O-12",
}

// Number returns which of the twelve questions of the package's table the check
// belongs to, such as "O-1".
func (c Check) Number() string { return numbers[c] }

// Finding is one place where a run is not as promised.
type Finding struct {
	Check Check
	Text  string
}

// String is the number, the check and the text: "O-1 lost: event 1 of 2 ...".
func (f Finding) String() string { return f.Check.Number() + " " + string(f.Check) + ": " + f.Text }
