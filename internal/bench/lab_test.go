package main

import "testing"

func TestHoldsComparesRowsWithAnswers(t *testing.T) {
	t.Parallel()
	db, err := testLab(t).create(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.drop(t.Context())
	pool, err := db.byHand(t.Context(), 1, byHand)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeByHand(pool, byHand)(t.Context(), filled(1), 0, batch(3)); err != nil {
		t.Fatal(err)
	}
	if err := holds(t.Context(), pool, byHand, 3); err != nil {
		t.Error(err)
	}
	err = holds(t.Context(), pool, byHand, 4)
	if want := "count events_by_hand: it has 3 events, 4 were answered"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
