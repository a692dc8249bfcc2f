package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/sabotage"
	"github.com/annals-go/annals/worker"
)

// ledgerPart has, as its offset, the number of the last transaction of the ledger whose
// write was saved. No pair of category and topic has this name: categories have one.
const ledgerPart = "/"

// ErrOtherLedger says that the cursor of a ledger was written by the relay of another
// store, or in a history that this store has lost or never had. Give the ledger, or the
// relay, a name that no other store uses.
var ErrOtherLedger = errors.New("ledger is kept by another store")

// errUnsettled makes the loop begin again, with the ledger: it is not known what became
// of the last transaction, or its write was not saved.
var errUnsettled = fmt.Errorf("the last transaction is not settled: %w", worker.ErrFenced)

// books is what a run knows of its ledger.
//
// Messages are committed in the ledger first, with the write that belongs to them in the
// cursor, and the write is saved in the outbox after that. Between the two the ledger is
// right, and the outbox behind by one transaction; whoever begins next makes up for it.
// Nothing is ever published twice or left out, because
//
//   - who begins opens the ledger first, which ends whoever had it, and reads the outbox
//     after that: so nothing can be committed any more that it does not see;
//   - who commits has had its term confirmed since it opened the ledger: so the one before
//     it writes nothing to the outbox any more, and the one after it will open the ledger
//     before it writes. Only people write meanwhile, to what is parked: see amended;
//   - after a transaction, nothing is written or published before it is settled.
type books struct {
	ledger    Ledger // nil: none is kept
	settled   bool
	confirmed bool // the term, since the ledger was opened
}

// open opens the ledger, and brings the marks up to what it says. What it returns is to
// be saved; nil if the outbox knows all.
func (r *relayRun) open(ctx context.Context) (*cursor, error) {
	if r.ledger == nil {
		return nil, nil
	}
	r.settled, r.confirmed = false, false
	kept, err := r.ledger.Open(ctx, strings.TrimPrefix(r.name, relayKind))
	if err != nil {
		return nil, fmt.Errorf("open the ledger of %s: %w", r.name, err)
	}
	if r.marks, err = r.from.Checkpoint(ctx, r.name); err != nil {
		return nil, err
	}
	c, err := r.unsaved(ctx, kept)
	if err != nil || c == nil {
		return nil, err
	}
	for part, m := range c.write.Marks {
		m.Revision, m.Epoch = r.marks[part].Revision, r.marks[part].Epoch
		r.marks[part] = m
	}
	return c, nil
}

// unsaved returns what the outbox does not know of the last transaction.
func (r *relayRun) unsaved(ctx context.Context, kept []byte) (*cursor, error) {
	if kept == nil || sabotage.IgnoreCursor {
		return nil, nil
	}
	c, err := decodeCursor(kept)
	if err != nil {
		return nil, worker.Halt(fmt.Errorf("open the ledger of %s: %w", r.name, err))
	}
	if ours, err := r.wrote(ctx, c); err != nil || !ours {
		return nil, err
	}
	stored := r.marks[ledgerPart]
	switch {
	case c.number <= stored.Offset:
		return nil, nil
	case c.number > stored.Offset+1:
		// The cursor has the last write alone.
		r.worker.Logger.WarnContext(ctx, "the outbox has lost what was published, publishing it again", "relay", r.name, "transaction", stored.Offset, "ledger", c.number, "position", r.marks[logPart].Position)
		stored.Offset = c.number
		return &cursor{c.number, worker.Write{Marks: worker.Checkpoint{ledgerPart: stored}}}, nil
	}
	return &c, nil
}

// wrote reports whether a cursor was written by this relay in its present incarnation.
// Those of former ones do not count any more: Rewind has set the marks.
func (r *relayRun) wrote(ctx context.Context, c cursor) (bool, error) {
	text := r.marks[logPart].Lineage
	if text == "" { // it has never begun
		l, err := r.from.Lineage(ctx)
		if err != nil {
			return false, fmt.Errorf("open the ledger of %s: %w", r.name, err)
		}
		text = l.String()
	}
	ours, err := eventstore.ParseLineage(text)
	if err != nil {
		return false, worker.Halt(fmt.Errorf("open the ledger of %s: the mark: %w", r.name, err))
	}
	theirs, err := eventstore.ParseLineage(c.write.Marks[logPart].Lineage)
	if err != nil {
		return false, worker.Halt(fmt.Errorf("open the ledger of %s: the cursor: %w", r.name, err))
	}
	if theirs.Now().Incarnation == ours.Now().Incarnation {
		return true, nil
	}
	if _, former := ours.CommonWith(theirs.Now().Incarnation); former {
		return false, nil
	}
	return false, worker.Halt(fmt.Errorf("open the ledger of %s: its cursor is of incarnation %s, and the store of %s: %w: use another name for one of them", r.name, theirs.Now().Incarnation, ours.Now().Incarnation, ErrOtherLedger))
}

// settle saves what open has returned. It needs no term: whoever does it writes the same,
// and the revisions let only the first.
func (r *relayRun) settle(ctx context.Context, c *cursor) error {
	if c == nil {
		r.settled = true
		return nil
	}
	w, err := r.amended(ctx, c.write)
	if err != nil {
		return err
	}
	w.Marks = worker.Checkpoint{}
	for part := range c.write.Marks {
		w.Marks[part] = r.marks[part]
	}
	if err := r.from.Save(ctx, r.name, worker.Term{}, w); err != nil {
		return err
	}
	r.moved(w.Marks)
	r.worker.Logger.InfoContext(ctx, "the ledger was ahead of the outbox, which is up to date now", "relay", r.name, "transaction", c.number, "position", r.marks[logPart].Position)
	r.settled = true
	return nil
}

// amended is a write as it is to be made now that people may have changed what is parked:
// what they have discarded stays so, and so does whom and what they have noted.
func (r *relayRun) amended(ctx context.Context, w worker.Write) (worker.Write, error) {
	parked := map[worker.Key]*worker.Parked{}
	find := func(key worker.Key) (*worker.Parked, error) {
		if p, ok := parked[key]; ok {
			return p, nil
		}
		page, err := r.from.Parked(ctx, worker.ParkedQuery{Name: r.name, Part: &key.Part, Key: key.Key, Limit: 1})
		if err != nil {
			return nil, err
		}
		parked[key] = nil
		if len(page) > 0 && page[0].Key == key {
			parked[key] = &page[0]
		}
		return parked[key], nil
	}
	now := worker.Write{Items: w.Items, Done: w.Done}
	parks := map[worker.Key]bool{}
	for _, p := range w.Park {
		have, err := find(p.Key)
		switch {
		case err != nil:
			return now, err
		case have != nil:
			p.Owner, p.Note = have.Owner, have.Note
		case !slices.ContainsFunc(w.Items, func(i worker.Item) bool { return i.Key == p.Key }):
			continue // all of its events were discarded
		}
		now.Park, parks[p.Key] = append(now.Park, p), true
	}
	for _, i := range w.Items {
		have, err := find(i.Key)
		if err != nil {
			return now, err
		}
		if have == nil && !parks[i.Key] { // all that it came behind were discarded
			at := time.Now()
			now.Park = append(now.Park, worker.Parked{Key: i.Key, State: worker.Retrying, Since: at, Next: at, Error: discardedText, Version: r.worker.Version})
			parks[i.Key] = true
		}
	}
	for _, key := range w.Free {
		have, err := find(key)
		if err != nil {
			return now, err
		}
		if have != nil {
			now.Free = append(now.Free, key)
		}
	}
	return now, nil
}

// discardedText is the error of a key that is parked for events alone whose predecessors
// are gone.
const discardedText = "the events before these were discarded, and these are next"

// send publishes. With a ledger it commits the write together with the messages, and the
// write gets the number of the transaction.
func (r *relayRun) send(ctx context.Context, term worker.Term, messages []Message, w worker.Write) error {
	if r.ledger == nil {
		return r.to.Publish(ctx, messages)
	}
	if !r.confirmed {
		if err := r.from.Save(ctx, r.name, term, worker.Write{}); err != nil {
			return err
		}
		r.confirmed = true
	}
	m := w.Marks[ledgerPart]
	m.Offset++
	w.Marks[ledgerPart] = m
	kept, err := cursor{m.Offset, w}.encode()
	if err != nil {
		return err
	}
	r.settled = false
	err = r.ledger.Commit(ctx, messages, kept)
	r.settled = worker.IsPermanent(err)
	return err
}
