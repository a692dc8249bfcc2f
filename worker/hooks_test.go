package worker

import (
	"context"
	"io"
	"reflect"
	"slices"
	"testing"
)

func TestZeroHooks(t *testing.T) {
	t.Parallel()
	var h Hooks
	h.applied(Applied{})
	h.failed(Failure{})
	h.parked(KeyParked{})
	h.freed(KeyFreed{})
	h.paused(Pause{})
	h.resumed(Pause{})
	h.gained(TermGained{})
	h.lost(TermLost{})
	ctx, end := h.batch(t.Context(), Work{})
	if end(io.EOF); ctx != t.Context() {
		t.Errorf("the context of a batch is %v, want the given one", ctx)
	}
	h.Batch = func(context.Context, Work) (context.Context, func(error)) { return nil, nil }
	ctx, end = h.batch(t.Context(), Work{})
	if end(io.EOF); ctx != t.Context() {
		t.Errorf("the context of a batch is %v, want the given one if the hook has none", ctx)
	}
}

// TestHooksAreTold: each hook gets what it is for.
func TestHooksAreTold(t *testing.T) {
	t.Parallel()
	type key struct{}
	var told []any
	tells := func(what any) { told = append(told, what) }
	h := Hooks{
		Applied: func(a Applied) { tells(a.Name) },
		Failed:  func(f Failure) { tells(f) },
		Parked:  func(p KeyParked) { tells(p) },
		Freed:   func(f KeyFreed) { tells(f) },
		Paused:  func(p Pause) { tells(p) },
		Resumed: func(p Pause) { tells(p.For) },
		Gained:  func(g TermGained) { tells(g) },
		Lost:    func(l TermLost) { tells(l) },
		Batch: func(ctx context.Context, w Work) (context.Context, func(error)) {
			tells(w)
			return context.WithValue(ctx, key{}, "span"), func(err error) { tells(err) }
		},
	}
	for i := range reflect.TypeFor[Hooks]().NumField() {
		if reflect.ValueOf(h).Field(i).IsNil() {
			t.Errorf("hook %s is not tested", reflect.TypeFor[Hooks]().Field(i).Name)
		}
	}
	ctx, end := h.batch(t.Context(), Work{Name: "totals", Events: 2})
	tells(ctx.Value(key{}))
	end(io.EOF)
	k := Key{Part: "t/1", Key: "order-1"}
	h.applied(Applied{Name: "totals"})
	h.failed(Failure{Name: "totals", Key: k, Class: ClassPermanent, Attempt: 1})
	h.parked(KeyParked{Name: "totals", Key: k, Events: 3})
	h.freed(KeyFreed{Name: "totals", Key: k})
	h.paused(Pause{Name: "totals", Why: "w"})
	h.resumed(Pause{For: 5})
	h.gained(TermGained{Name: "totals", Term: Term{Epoch: 7}})
	h.lost(TermLost{Name: "totals", Term: Term{Epoch: 7}, Why: "w"})
	want := []any{
		Work{Name: "totals", Events: 2}, "span", io.EOF, "totals",
		Failure{Name: "totals", Key: k, Class: ClassPermanent, Attempt: 1},
		KeyParked{Name: "totals", Key: k, Events: 3}, KeyFreed{Name: "totals", Key: k},
		Pause{Name: "totals", Why: "w"}, Pause{For: 5}.For,
		TermGained{Name: "totals", Term: Term{Epoch: 7}}, TermLost{Name: "totals", Term: Term{Epoch: 7}, Why: "w"},
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n%v, want\n%v", told, want)
	}
}
