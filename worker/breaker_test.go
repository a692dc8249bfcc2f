package worker

import "testing"

func TestErrOpen(t *testing.T) {
	t.Parallel()
	if want := "breaker is open"; ErrOpen.Error() != want || markOf(ErrOpen) != ClassSystemic {
		t.Errorf("ErrOpen = %v, %v, want %s, systemic", ErrOpen, markOf(ErrOpen), want)
	}
}
