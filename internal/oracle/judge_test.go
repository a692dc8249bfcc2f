package oracle

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

func wantFindings(t *testing.T, what string, found []Finding, want ...string) {
	t.Helper()
	got := []string{}
	for _, f := range found {
		got = append(got, f.String())
	}
	if diff := cmp.Diff(append([]string{}, want...), got); diff != "" {
		t.Errorf("%s: (-want +got)\n%s", what, diff)
	}
}

func TestEffects(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	r.append(writeTo(orders, eventstore.Any(), 3))
	r.append(writeTo(event.Stream{Category: "order", ID: "o-2"}, eventstore.Any(), 1))
	count := func(m map[string]int, e Event) { m[e.Stream.String()]++ }
	for what, c := range map[string]struct {
		got  map[string]int
		want []string
	}{
		"as promised":                   {map[string]int{"order-o-1": 3, "order-o-2": 1}, nil},
		"an event was applied twice":    {map[string]int{"order-o-1": 4, "order-o-2": 1}, []string{"O-7 effect: counts: order-o-1 is 4, want 3"}},
		"an event was not applied":      {map[string]int{"order-o-1": 3}, []string{"O-7 effect: counts: order-o-2 is not there, want 1"}},
		"an effect comes from nowhere":  {map[string]int{"order-o-1": 3, "order-o-2": 1, "x": 7}, []string{"O-7 effect: counts: x is 7, want nothing"}},
		"a count of nothing is there":   {map[string]int{"order-o-1": 3, "order-o-2": 1, "x": 0}, []string{"O-7 effect: counts: x is 0, want nothing"}},
		"nothing was applied, ever":     {nil, []string{"O-7 effect: counts: order-o-1 is not there, want 3", "O-7 effect: counts: order-o-2 is not there, want 1"}},
		"one missed, another one twice": {map[string]int{"order-o-1": 2, "order-o-2": 2}, []string{"O-7 effect: counts: order-o-1 is 2, want 3", "O-7 effect: counts: order-o-2 is 2, want 1"}},
	} {
		wantFindings(t, what, Effects("counts", r.committed(), count, c.got), c.want...)
	}
}

func TestPublished(t *testing.T) {
	t.Parallel()
	r := newRun(t)
	events := r.append(writeTo(orders, eventstore.Any(), 3))
	committed := r.committed()
	message := func(i int) Message {
		return Message{"annals.order", 3, "o-1", events[i-1].Metadata.ID, event.Version(i)}
	}
	one, two, three := message(1), message(2), message(3)
	foreign, wrong, moved := message(3), message(2), message(3)
	foreign.ID, wrong.Version, moved.Partition = event.ID{15: 1}, 4, 5
	idOf := func(i int) string { return events[i-1].Metadata.ID.String() }
	for what, c := range map[string]struct {
		messages []Message
		want     []string
	}{
		"as promised":               {[]Message{one, two, three}, nil},
		"some again":                {[]Message{one, two, one, two, three}, nil},
		"one was not sent":          {[]Message{one, two}, []string{"O-8 unsent: order-o-1@3 at position 3 with id " + idOf(3)}},
		"one was overtaken":         {[]Message{one, three, two, three}, []string{"O-8 overtaken: annals.order: the first message of version 2 of o-1 comes behind that of version 3"}},
		"one is not stored":         {[]Message{one, two, three, foreign}, []string{"O-8 unstored: annals.order: message of version 3 of o-1 with id 00000000-0000-0000-0000-000000000001", "O-8 overtaken: annals.order: the first message of version 3 of o-1 comes behind that of version 3"}},
		"one says another place":    {[]Message{one, wrong, three}, []string{"O-8 unstored: annals.order: message of order-o-1@2 says version 4", "O-8 overtaken: annals.order: the first message of version 3 of o-1 comes behind that of version 4"}},
		"one lies elsewhere":        {[]Message{one, two, moved}, []string{"O-8 scattered: annals.order: version 3 of o-1 lies in partition 5, others in 3"}},
		"a repeat lies elsewhere":   {[]Message{one, two, three, moved}, []string{"O-8 scattered: annals.order: version 3 of o-1 lies in partition 5, others in 3"}},
		"nothing was sent":          {nil, []string{"O-8 unsent: order-o-1@1 at position 1 with id " + idOf(1), "O-8 unsent: order-o-1@2 at position 2 with id " + idOf(2), "O-8 unsent: order-o-1@3 at position 3 with id " + idOf(3)}},
		"more than half came again": {[]Message{one, one, one, one, two, two, three}, []string{"O-8 duplicates: 4 of 7 messages, 0.571, at most 0.500"}},
	} {
		_, found := Published(committed, nil, c.messages, 0.5)
		wantFindings(t, what, found, c.want...)
	}
	again, found := Published(committed, func(e Event) bool { return e.Version < 3 }, []Message{one, two, one, two}, 0.5)
	if again != 0.5 || len(found) != 0 {
		t.Errorf("Published = %v, %v, want a half, and nothing", again, found)
	}
}

func TestAccounted(t *testing.T) {
	t.Parallel()
	one, two, three := event.ID{15: 1}, event.ID{15: 2}, event.ID{15: 3}
	ids := func(all ...event.ID) []event.ID { return all }
	fine := []Parked{{three, "o-1", "cannot be decoded"}}
	all := ids(one, two, three)
	const text = "O-9 skipped: totals: event 00000000-0000-0000-0000-00000000000"
	for what, c := range map[string]struct {
		account Account
		want    []string
	}{
		"as promised": {Account{"totals", all, ids(one), ids(two), fine}, nil},
		"one is gone": {Account{"totals", all, ids(one), nil, fine}, []string{text + "2 is neither delivered nor parked nor pending"}},
		"two gone":    {Account{"totals", all, nil, nil, fine}, []string{text + "1 is neither delivered nor parked nor pending", text + "2 is neither delivered nor parked nor pending"}},
		"gone, another twice: the sum is right": {Account{"totals", all, ids(one, one), nil, fine}, []string{
			text + "1 is delivered and delivered, want one of them", text + "2 is neither delivered nor parked nor pending"}},
		"behind the mark and delivered": {Account{"totals", all, ids(one, two), ids(two), fine}, []string{text + "2 is delivered and pending, want one of them"}},
		"delivered though parked":       {Account{"totals", all, all, nil, fine}, []string{text + "3 is delivered and parked, want one of them"}},
		"from nowhere":                  {Account{"totals", ids(one), ids(one, two), nil, nil}, []string{text + "2 is delivered, and is none of its events"}},
		"parked without a reason": {Account{"totals", ids(one), nil, nil, []Parked{{one, "o-1", ""}}}, []string{
			text + `1 is parked with key "o-1" and reason "", want both`}},
		"parked without a key": {Account{"totals", ids(one), nil, nil, []Parked{{one, "", "why"}}}, []string{
			text + `1 is parked with key "" and reason "why", want both`}},
	} {
		wantFindings(t, what, Accounted(c.account), c.want...)
	}
}

func TestProgress(t *testing.T) {
	t.Parallel()
	healed := time.Now()
	at := func(name string, after time.Duration, lag int64) Lag { return Lag{name, healed.Add(after), lag} }
	const within = 15 * time.Second
	for what, c := range map[string]struct {
		lags []Lag
		took time.Duration
		want []string
	}{
		"as promised":             {[]Lag{at("a", -time.Second, 9), at("a", 1e9, 7), at("b", 1e9, 0), at("a", 3e9, 0), at("a", 20e9, 5)}, 3 * time.Second, nil},
		"only before the heal":    {[]Lag{at("a", -time.Second, 0), at("a", 16e9, 7)}, 0, []string{"O-10 stalled: a is 7 behind after 16s, want 0 within 15s"}},
		"too late":                {[]Lag{at("a", 16e9, 0)}, 0, []string{"O-10 stalled: a caught up after 16s, want within 15s"}},
		"one of two":              {[]Lag{at("a", 1e9, 0), at("b", 15e9, 1)}, time.Second, []string{"O-10 stalled: b is 1 behind after 15s, want 0 within 15s"}},
		"nobody was looked after": {nil, 0, []string{"O-10 stalled: nobody was looked at"}},
	} {
		took, found := Progress(healed, within, c.lags...)
		if took != c.took {
			t.Errorf("%s: took %v, want %v", what, took, c.took)
		}
		wantFindings(t, what, found, c.want...)
	}
}

func TestHygiene(t *testing.T) {
	t.Parallel()
	usual := Sample{Goroutines: 40, Sessions: 20, Locks: 4, TempFiles: 1, Idle: time.Second}
	quiet := Sample{Goroutines: 10, Sessions: 20, Locks: 1}
	run := func(change func([]Sample)) []Sample {
		samples := slices.Repeat([]Sample{usual}, 20)
		samples[19] = Sample{Goroutines: 8, Sessions: 12, Locks: 1}
		change(samples)
		return samples
	}
	grow := func(of func(*Sample) *int) func([]Sample) {
		return func(samples []Sample) {
			for i := range 19 {
				*of(&samples[i]) += 3 * i
			}
		}
	}
	for what, c := range map[string]struct {
		change func([]Sample)
		want   []string
	}{
		"as promised":     {func([]Sample) {}, nil},
		"goroutines grow": {grow(func(s *Sample) *int { return &s.Goroutines }), []string{"O-11 growth: goroutines: 46.0 in the first quarter, 73.2 in the last"}},
		"sessions grow":   {grow(func(s *Sample) *int { return &s.Sessions }), []string{"O-11 growth: sessions: 26.0 in the first quarter, 58.0 in the last"}},
		"locks grow":      {grow(func(s *Sample) *int { return &s.Locks }), []string{"O-11 growth: advisory locks: 10.0 in the first quarter, 43.0 in the last"}},
		"files grow":      {grow(func(s *Sample) *int { return &s.TempFiles }), []string{"O-11 growth: temporary files: 7.0 in the first quarter, 40.4 in the last"}},
		"a lock is left":  {func(s []Sample) { s[19].Locks = 2 }, []string{"O-11 growth: advisory locks: 2 at the end, at most 1"}},
		"a file is left":  {func(s []Sample) { s[19].TempFiles = 1 }, []string{"O-11 growth: temporary files: 1 at the end, at most 0"}},
		"an idle transaction": {func(s []Sample) { s[7].Idle = 6 * time.Second }, []string{
			"O-11 idle in transaction: for 6s, at most 5s"}},
		"too few samples": {nil, []string{"O-11 growth: 7 samples, want at least 8"}},
	} {
		samples := make([]Sample, 7)
		if c.change != nil {
			samples = run(c.change)
		}
		wantFindings(t, what, Hygiene(samples, quiet), c.want...)
	}
}

func TestBounded(t *testing.T) {
	t.Parallel()
	wantFindings(t, "at the limit", Bounded("megabytes", 200, 200))
	wantFindings(t, "above it", Bounded("megabytes", 201, 200), "O-11 growth: megabytes: 201, at most 200")
}

func TestFlipped(t *testing.T) {
	t.Parallel()
	none, other, hit := []string{}, []string{"order-o-1@3"}, []string{"order-o-1@2"}
	for what, c := range map[string]struct {
		before, after []string
		err           error
		want          []string
	}{
		"as promised":            {none, hit, nil, nil},
		"red before":             {other, hit, nil, []string{"O-12 chain: before a change: [order-o-1@3], <nil>, want nothing"}},
		"green after":            {none, none, nil, []string{"O-12 chain: after a change of order-o-1@2: [], <nil>, want just that"}},
		"red at another event":   {none, other, nil, []string{"O-12 chain: after a change of order-o-1@2: [order-o-1@3], <nil>, want just that"}},
		"nothing can be changed": {none, hit, errors.New("no rights"), []string{"O-12 chain: change an event: no rights"}},
	} {
		flipped := false
		verify := func(context.Context) ([]string, error) {
			if flipped {
				return c.after, nil
			}
			return c.before, nil
		}
		flip := func(context.Context) (string, error) { flipped = true; return "order-o-1@2", c.err }
		wantFindings(t, what, Flipped(t.Context(), verify, flip), c.want...)
	}
}

// Every check has a number.
func TestNumbers(t *testing.T) {
	t.Parallel()
	for c, n := range numbers {
		if c == "" || n == "" {
			t.Errorf("%q has number %q", c, n)
		}
	}
	if len(numbers) != 26 {
		t.Errorf("%d checks have a number", len(numbers))
	}
}
