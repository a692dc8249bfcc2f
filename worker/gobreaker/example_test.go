package gobreaker_test

import (
	"errors"
	"fmt"

	sony "github.com/sony/gobreaker/v2"

	"github.com/annals-go/annals/worker"
	"github.com/annals-go/annals/worker/gobreaker"
)

// A handler asks the breaker before each call of the service that it needs.
func Example() {
	billing := gobreaker.New(sony.Settings{
		Name:        "billing",
		ReadyToTrip: func(c sony.Counts) bool { return c.ConsecutiveFailures >= 2 },
	})
	bill := func(order string) error { return errors.New("connection refused") }

	handle := func(order string) error {
		done, err := billing.Allow()
		if err != nil {
			return err // the reader waits, and parks nothing
		}
		err = worker.Safely(func() error { return bill(order) })
		done(err)
		return err
	}
	for _, order := range []string{"o-1", "o-2", "o-3"} {
		err := handle(order)
		fmt.Println(order, err, errors.Is(err, worker.ErrOpen))
	}
	// Output:
	// o-1 connection refused false
	// o-2 connection refused false
	// o-3 call billing: breaker is open: circuit breaker is open true
}
