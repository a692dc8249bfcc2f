package bus_test

import (
	"errors"
	"testing"

	"github.com/annals-go/annals/bus"
)

func TestLostError(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"part shop.order/2 has lost the offsets from 3 up to 7, which were not read yet: if a relay fills the topic, delete it and have the relay refill it; if not, have them sent again; or skip them on purpose with the source's option WithSkip":                                                    &bus.LostError{Part: "shop.order/2", From: 3, To: 7},
		"part shop.order/2 ends at offset 3, but was read up to 7: what lay between is lost, and other messages come in its place: if a relay fills the topic, delete it and have the relay refill it; if not, set a consumer with an inbox back with worker.RewindParts, which gives up what is parked": &bus.LostError{Part: "shop.order/2", From: 3, To: 7, Truncated: true},
	} {
		if err.Error() != want {
			t.Errorf("got  %s\nwant %s", err, want)
		}
		if !errors.Is(err, bus.ErrLost) || errors.Is(err, bus.ErrForeign) {
			t.Errorf("%v does not match ErrLost, or matches too much", err)
		}
	}
}
