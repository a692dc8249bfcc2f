// Package returns decides about goods that come back. It knows no database,
// broker or clock.
package returns

import (
	"errors"
	"fmt"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/examples/order/retail"
)

// Category is the category of the streams of returns.
const Category = "return"

type (
	// Event is the closed set of facts about a return.
	Event interface{ isReturn() }

	// Accepted says that these lines, with negative quantities, were taken back.
	Accepted struct {
		Customer string        `json:"customer,omitempty"`
		Lines    []retail.Line `json:"lines"`
	}

	// Extended says that the return has further lines.
	Extended struct {
		Lines []retail.Line `json:"lines"`
	}
)

func (Accepted) isReturn() {}
func (Extended) isReturn() {}

// Codec names each fact once. Names are stored, so they never change.
var Codec = codec.JSON(codec.Types[Event]{
	"return.accepted": Accepted{},
	"return.extended": Extended{},
})

// Return holds what decisions need. Its zero value is a return not yet accepted.
type Return struct {
	accepted bool
	lines    []retail.Line
}

// Evolve implements aggregate.State.
func (r Return) Evolve(e Event) Return {
	switch e := e.(type) {
	case Accepted:
		r.accepted, r.lines = true, e.Lines
	case Extended:
		r.lines = append(r.lines[:len(r.lines):len(r.lines)], e.Lines...)
	}
	return r
}

// ErrDiffers says that the return is accepted already, with other lines.
var ErrDiffers = errors.New("return is accepted already, and differs")

// Accept asks to take these lines back. Asking again for the same is no error
// and changes nothing.
type Accept struct {
	Customer string
	Lines    []retail.Line
}

// Decide implements aggregate.Command.
func (c Accept) Decide(r Return) ([]Event, error) {
	if r.accepted {
		if !retail.SameLines(r.lines, c.Lines) {
			return nil, fmt.Errorf("%w: it has %d lines, asked for were %d", ErrDiffers, len(r.lines), len(c.Lines))
		}
		return nil, nil // already true: no new fact
	}
	chunks := retail.Chunks(c.Lines)
	events := []Event{Accepted{Customer: c.Customer, Lines: chunks[0]}}
	for _, lines := range chunks[1:] {
		events = append(events, Extended{Lines: lines})
	}
	return events, nil
}
