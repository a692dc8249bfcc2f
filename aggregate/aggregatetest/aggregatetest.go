// Package aggregatetest states decisions as given, when, then:
//
//	order := aggregatetest.For[Order](t)
//	order.Given(Placed{Cents: 1250}).When(Ship{Tracking: "1Z"}).Then(Shipped{Tracking: "1Z"})
//	order.Given(Placed{}, Shipped{}).When(Ship{}).ThenNothing()
//	order.When(Ship{}).ThenError(ErrNotPlaced)
//
// No store is involved: what is tested are Evolve and Decide alone.
package aggregatetest

import (
	"errors"
	"reflect"
	"testing"

	"github.com/annals-go/annals/aggregate"
)

// Scenario is a value: each call returns a new one, so a prefix can be reused.
type Scenario[S aggregate.State[S, E], E any] struct {
	t       testing.TB
	state   S
	got     []E
	err     error
	decided bool
}

// For returns a scenario of an aggregate without events.
func For[S aggregate.State[S, E], E any](t testing.TB) Scenario[S, E] {
	return Scenario[S, E]{t: t}
}

// Given lets events have happened.
func (s Scenario[S, E]) Given(events ...E) Scenario[S, E] {
	for _, e := range events {
		s.state = s.state.Evolve(e)
	}
	return s
}

// When asks the command to decide, twice: a decision that is not pure shows.
func (s Scenario[S, E]) When(c aggregate.Command[S, E]) Scenario[S, E] {
	s.t.Helper()
	s.got, s.err = c.Decide(s.state)
	s.decided = true
	if again, _ := c.Decide(s.state); !reflect.DeepEqual(again, s.got) {
		s.t.Errorf("Decide is not pure: %T decided\nfirst %+v\nthen  %+v", c, s.got, again)
	}
	return s
}

// Then checks that exactly these events were decided.
func (s Scenario[S, E]) Then(want ...E) {
	s.t.Helper()
	if s.done() && (s.err != nil || len(s.got) != len(want) || len(want) > 0 && !reflect.DeepEqual(s.got, want)) {
		s.t.Errorf("decided %+v, error %v\nwant    %+v", s.got, s.err, want)
	}
}

// ThenNothing checks that nothing new follows, and that this is no error.
func (s Scenario[S, E]) ThenNothing() {
	s.t.Helper()
	s.Then()
}

// ThenError checks that the command was refused with an error that matches want.
func (s Scenario[S, E]) ThenError(want error) {
	s.t.Helper()
	if s.done() && (!errors.Is(s.err, want) || len(s.got) > 0) {
		s.t.Errorf("decided %+v, error %v\nwant    error %v", s.got, s.err, want)
	}
}

// ThenState checks the state that the given events lead to.
func (s Scenario[S, E]) ThenState(want S) {
	s.t.Helper()
	if !reflect.DeepEqual(s.state, want) {
		s.t.Errorf("state %+v\nwant  %+v", s.state, want)
	}
}

func (s Scenario[S, E]) done() bool {
	s.t.Helper()
	if !s.decided {
		s.t.Errorf("Then without When: no command has decided")
	}
	return s.decided
}
