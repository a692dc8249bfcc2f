package workertest

import (
	"reflect"
	"testing"
	"time"

	"github.com/annals-go/annals/worker"
)

func pagesParked[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	// In the order of bytes.
	var want []worker.Parked
	for i, k := range [][2]string{{"", "a"}, {"", "b-2"}, {"", "b2"}, {"P", "z"}, {"p", "A"}, {"p", "a"}, {"p", "\u00e4"}, {"p'/10", ""}, {"p'/9", "a"}} {
		key := worker.Key{Part: k[0], Key: k[1]}
		p := worker.Parked{Key: key, State: worker.Waiting, Since: noon}
		if i%2 == 1 {
			p.State = worker.Retrying
		}
		want = append(want, p)
	}
	marks := worker.Checkpoint{}
	w := worker.Write{Marks: marks}
	for i := range want {
		p := want[(i*4+3)%len(want)] // in no order
		marks[p.Part] = worker.Mark{}
		w.Park = append(w.Park, p)
	}
	if err := target.Store.Save(ctx, name, worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	parts := []*string{nil}
	for _, part := range []string{"", "P", "p", "p'/10", "none"} {
		parts = append(parts, &part)
	}
	for _, part := range parts {
		for _, s := range []worker.State{"", worker.Waiting, worker.Retrying} {
			var selected []worker.Key
			for _, p := range want {
				if (part == nil || *part == p.Part) && (s == "" || s == p.State) {
					selected = append(selected, p.Key)
				}
			}
			for _, limit := range []int{0, 1, 2, 100} {
				var got []worker.Key
				q := worker.ParkedQuery{Name: name, Part: part, State: s, Limit: limit}
				for {
					page := parked(t, target, q)
					if limit > 0 && len(page) > limit {
						t.Errorf("%d keys, want at most %d", len(page), limit)
					}
					if len(page) == 0 || len(got) > len(want) {
						break
					}
					for _, p := range page {
						got = append(got, p.Key)
					}
					q.After = got[len(got)-1]
				}
				if !reflect.DeepEqual(got, selected) {
					t.Errorf("part %v, state %q, limit %d: %q, want %q", part, s, limit, got, selected)
				}
			}
		}
	}
}

// A key can be parked in several parts.
func parkedByKey[Tx any](t *testing.T, target Target[Tx]) {
	w := worker.Write{Marks: worker.Checkpoint{"p": {}, "q": {}}}
	for _, k := range []worker.Key{{Part: "p", Key: "a"}, {Part: "p", Key: "a%"}, {Part: "p", Key: "b"}, {Part: "q", Key: "a"}} {
		w.Park = append(w.Park, worker.Parked{Key: k, State: worker.Waiting, Since: noon})
	}
	if err := target.Store.Save(bounded(t), name, worker.Term{}, w); err != nil {
		t.Fatal(err)
	}
	p := "p"
	for what, c := range map[string]struct {
		q    worker.ParkedQuery
		want []worker.Key
	}{
		"of all parts": {worker.ParkedQuery{Key: "a"}, []worker.Key{{Part: "p", Key: "a"}, {Part: "q", Key: "a"}}},
		"of one part":  {worker.ParkedQuery{Key: "a", Part: &p}, []worker.Key{{Part: "p", Key: "a"}}},
		"behind one":   {worker.ParkedQuery{Key: "a", After: worker.Key{Part: "p", Key: "b"}}, []worker.Key{{Part: "q", Key: "a"}}},
		"of a state":   {worker.ParkedQuery{Key: "a", State: worker.Retrying}, nil},
		"that is none": {worker.ParkedQuery{Key: "c"}, nil},
	} {
		var got []worker.Key
		c.q.Name = name
		for _, p := range parked(t, target, c.q) {
			got = append(got, p.Key)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
}

func pagesItems[Tx any](t *testing.T, target Target[Tx]) {
	key, other := worker.Key{Part: "p", Key: "k"}, worker.Key{Part: "p", Key: "other"}
	w := worker.Write{Park: []worker.Parked{{Key: key, State: worker.Waiting}, {Key: other, State: worker.Waiting}}}
	for _, seq := range []int64{10, 9, 100, 0, 1 << 60, 11} {
		w.Items = append(w.Items, worker.Item{Key: key, Seq: seq}, worker.Item{Key: other, Seq: seq + 1})
	}
	write(t, target, w)
	for _, c := range []struct {
		after int64
		limit int
		want  []int64
	}{
		{-1, 10, []int64{0, 9, 10, 11, 100, 1 << 60}},
		{0, 10, []int64{9, 10, 11, 100, 1 << 60}},
		{-1, 2, []int64{0, 9}},
		{9, 2, []int64{10, 11}},
		{50, 1, []int64{100}},
		{1 << 60, 10, nil},
	} {
		var got []int64
		for _, i := range items(t, target, key, c.after, c.limit) {
			if i.Key != key {
				t.Errorf("an item of %+v", i.Key)
			}
			got = append(got, i.Seq)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("after %d, limit %d: %d, want %d", c.after, c.limit, got, c.want)
		}
	}
	if got := items(t, target, worker.Key{Part: "q", Key: "k"}, -1, 10); len(got) != 0 {
		t.Errorf("items %+v of a key that is not parked", got)
	}
}

func newestAudits[Tx any](t *testing.T, target Target[Tx]) {
	ctx := bounded(t)
	if err := target.Store.Save(ctx, "another", worker.Term{}, worker.Write{Audit: []worker.Audit{{Actor: "ada", Action: "note"}}}); err != nil {
		t.Fatal(err)
	}
	if got, err := target.Store.Audits(ctx, "another", time.Time{}, 0); err != nil || len(got) != 1 || got[0].Time.IsZero() {
		t.Errorf("Audits = %+v, %v, want one with the time of the store", got, err)
	}
	var want []worker.Audit // newest first
	for i := range 6 {
		a := worker.Audit{Key: worker.Key{Part: "p", Key: "k"}, Time: noon.Add(time.Duration(i) * time.Microsecond), Actor: "ada \u00e4'", Action: "discard", Seq: int64(i), Detail: "a\nb"}
		want = append([]worker.Audit{a}, want...)
	}
	write(t, target, worker.Write{Audit: []worker.Audit{want[5], want[4]}}) // also of a key that is not parked any more
	write(t, target, worker.Write{Audit: []worker.Audit{want[2], want[3]}})
	write(t, target, worker.Write{Audit: []worker.Audit{want[1], want[0]}})
	for _, c := range []struct {
		before time.Time
		limit  int
		want   []worker.Audit
	}{
		{time.Time{}, 100, want},
		{time.Time{}, 2, want[:2]},
		{want[0].Time, 100, want[1:]},
		{want[2].Time, 2, want[3:5]},
		{want[5].Time, 100, nil},
	} {
		got, err := target.Store.Audits(ctx, name, c.before, c.limit)
		if err != nil {
			t.Fatal(err)
		}
		same := len(got) == len(c.want)
		for i := range got {
			if same {
				got[i].Time = got[i].Time.UTC()
				same = got[i] == c.want[i]
			}
		}
		if !same {
			t.Errorf("before %v, limit %d: %+v, want %+v", c.before, c.limit, got, c.want)
		}
	}
}
