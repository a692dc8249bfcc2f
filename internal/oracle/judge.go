package oracle

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/annals-go/annals/event"
)

// Effects holds a read model against the fold of the stored events: apply adds
// the effect of one event to a model that starts empty. Take effects that show
// when they happen twice, such as a count.
func Effects[K comparable, V comparable](name string, committed []Event, apply func(model map[K]V, e Event), got map[K]V) []Finding {
	want := map[K]V{}
	for _, e := range committed {
		apply(want, e)
	}
	var r report
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, k := range slices.SortedFunc(maps.Keys(keys), func(a, b K) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }) {
		w, expected := want[k]
		g, there := got[k]
		switch {
		case !there:
			r.find(Effect, "%s: %v is not there, want %v", name, k, w)
		case !expected:
			r.find(Effect, "%s: %v is %v, want nothing", name, k, g)
		case g != w:
			r.find(Effect, "%s: %v is %v, want %v", name, k, g, w)
		}
	}
	return r.told()
}

// Message is what a broker has of an event.
type Message struct {
	Topic     string
	Partition int32
	Key       string
	ID        event.ID
	Version   event.Version
}

// Published holds what a broker was given, in the order in which each of its partitions
// has it, against the stored events that should be there: all that selects returns true
// for, nil for all. It finds what is missing, what comes from nowhere, keys of which one
// message came first before an earlier one, and keys that lie in two partitions of a
// topic, where no order holds. It returns how many messages came again, as a part of all, and finds
// that to be too many above most.
func Published(committed []Event, selects func(Event) bool, messages []Message, most float64) (again float64, findings []Finding) {
	var r report
	stored := make(map[event.ID]Event, len(committed))
	for _, e := range committed {
		if selects == nil || selects(e) {
			stored[e.ID] = e
		}
	}
	first := map[event.ID]bool{}
	last, in := map[[2]string]event.Version{}, map[[2]string]int32{}
	repeats := 0
	for _, m := range messages {
		switch e, ok := stored[m.ID]; {
		case !ok:
			r.find(Unstored, "%s: message of version %d of %s with id %s", m.Topic, m.Version, m.Key, m.ID)
		case e.Version != m.Version:
			r.find(Unstored, "%s: message of %s@%d says version %d", m.Topic, e.Stream, e.Version, m.Version)
		}
		key := [2]string{m.Topic, m.Key}
		if p, known := in[key]; !known {
			in[key] = m.Partition
		} else if p != m.Partition {
			r.find(Scattered, "%s: version %d of %s lies in partition %d, others in %d", m.Topic, m.Version, m.Key, m.Partition, p)
		}
		if first[m.ID] {
			repeats++
			continue
		}
		first[m.ID] = true
		if m.Version <= last[key] {
			r.find(Overtaken, "%s: the first message of version %d of %s comes behind that of version %d", m.Topic, m.Version, m.Key, last[key])
		}
		last[key] = max(last[key], m.Version)
	}
	for _, e := range committed {
		if _, selected := stored[e.ID]; selected && !first[e.ID] {
			r.find(Unsent, "%s@%d at position %d with id %s", e.Stream, e.Version, e.Position, e.ID)
		}
	}
	if len(messages) > 0 {
		again = float64(repeats) / float64(len(messages))
	}
	if again > most {
		r.find(Duplicates, "%d of %d messages, %.3f, at most %.3f", repeats, len(messages), again, most)
	}
	return again, r.told()
}

// Account is what has become of the events of a consumer, all of it at one moment.
type Account struct {
	Name               string
	Events             []event.ID // that it covers
	Delivered, Pending []event.ID // events that have taken effect, and that wait for their turn
	Parked             []Parked
}

// Parked is an event that a consumer has put aside.
type Parked struct {
	ID          event.ID
	Key, Reason string
}

// Accounted finds consumers of which events have gone missing without a word: each
// event is either delivered, or parked, or pending.
func Accounted(accounts ...Account) []Finding {
	var r report
	for _, a := range accounts {
		r.account(a)
	}
	return r.told()
}

func (r *report) account(a Account) {
	is := make(map[event.ID][]string, len(a.Events))
	for _, id := range a.Delivered {
		is[id] = append(is[id], "delivered")
	}
	for _, p := range a.Parked {
		is[p.ID] = append(is[p.ID], "parked")
		if p.Key == "" || p.Reason == "" {
			r.find(Skipped, "%s: event %s is parked with key %q and reason %q, want both", a.Name, p.ID, p.Key, p.Reason)
		}
	}
	for _, id := range a.Pending {
		is[id] = append(is[id], "pending")
	}
	for _, id := range a.Events {
		switch became := is[id]; len(became) {
		case 0:
			r.find(Skipped, "%s: event %s is neither delivered nor parked nor pending", a.Name, id)
		case 1:
		default:
			r.find(Skipped, "%s: event %s is %s, want one of them", a.Name, id, strings.Join(became, " and "))
		}
		delete(is, id)
	}
	for _, id := range slices.SortedFunc(maps.Keys(is), func(a, b event.ID) int { return strings.Compare(a.String(), b.String()) }) {
		r.find(Skipped, "%s: event %s is %s, and is none of its events", a.Name, id, strings.Join(is[id], " and "))
	}
}

// Lag is how far a reader was behind the head of the log at a time.
type Lag struct {
	Name string
	At   time.Time
	Lag  int64 // in positions
}

// Progress finds readers that had not caught up within a time after the last
// fault was over, and returns how long the slowest of the others took. The lags
// come in the order of their times, of readers that nobody has helped.
func Progress(healed time.Time, within time.Duration, lags ...Lag) (took time.Duration, findings []Finding) {
	var r report
	last, caught := map[string]Lag{}, map[string]time.Duration{}
	for _, l := range lags {
		last[l.Name] = l
		if after := l.At.Sub(healed); l.Lag <= 0 && after >= 0 {
			if _, before := caught[l.Name]; !before {
				caught[l.Name] = after
			}
		}
	}
	if len(last) == 0 {
		r.find(Stalled, "nobody was looked at")
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		after, ok := caught[name]
		switch {
		case !ok:
			r.find(Stalled, "%s is %d behind after %v, want 0 within %v", name, last[name].Lag, last[name].At.Sub(healed).Round(time.Millisecond), within)
		case after > within:
			r.find(Stalled, "%s caught up after %v, want within %v", name, after.Round(time.Millisecond), within)
		default:
			took = max(took, after)
		}
	}
	return took, r.told()
}

// Flipped judges the store's own verification: it must be silent at first, and
// name just the event that flip has changed after it. Verify returns the places,
// such as "order-o-1@2", that it calls damaged.
func Flipped(ctx context.Context, verify func(context.Context) ([]string, error), flip func(context.Context) (place string, err error)) []Finding {
	var r report
	red, err := verify(ctx)
	if err != nil || len(red) > 0 {
		r.find(Chain, "before a change: %v, %v, want nothing", red, err)
	}
	place, err := flip(ctx)
	if err != nil {
		r.find(Chain, "change an event: %v", err)
		return r.told()
	}
	if red, err = verify(ctx); err != nil || len(red) != 1 || red[0] != place {
		r.find(Chain, "after a change of %s: %v, %v, want just that", place, red, err)
	}
	return r.told()
}
