// Package order decides about orders. It knows no database, broker or clock.
package order

import (
	"errors"
	"fmt"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/upcast"
)

// Category is the category of the streams of orders.
const Category = "order"

type (
	// Event is the closed set of facts about an order.
	Event interface{ isOrder() }

	// Placed says that a customer has ordered these lines.
	Placed struct {
		Customer string        `json:"customer,omitempty"`
		Lines    []retail.Line `json:"lines"`
	}

	// Extended says that the order has further lines. A very long order is placed and
	// extended in one append.
	Extended struct {
		Lines []retail.Line `json:"lines"`
	}
)

func (Placed) isOrder()   {}
func (Extended) isOrder() {}

// Codec names each fact once. Names are stored, so they never change.
var Codec = codec.JSON(codec.Types[Event]{
	"order.placed":   Placed{},
	"order.extended": Extended{},
}, upcast.Step("order.placed", 1, placedFromV1))

// Order holds what decisions need. Its zero value is an order not yet placed.
type Order struct {
	placed   bool
	customer string
	lines    []retail.Line
}

// Evolve implements aggregate.State.
func (o Order) Evolve(e Event) Order {
	switch e := e.(type) {
	case Placed:
		o.placed, o.customer, o.lines = true, e.Customer, e.Lines
	case Extended:
		o.lines = append(o.lines[:len(o.lines):len(o.lines)], e.Lines...)
	}
	return o
}

// ErrDiffers says that the order is placed already, with another customer or other lines.
var ErrDiffers = errors.New("order is placed already, and differs")

// Place asks for an order of these lines. Asking again for the same is no error
// and changes nothing.
type Place struct {
	Customer string
	Lines    []retail.Line
}

// Decide implements aggregate.Command.
func (c Place) Decide(o Order) ([]Event, error) {
	if o.placed {
		if o.customer != c.Customer || !retail.SameLines(o.lines, c.Lines) {
			return nil, fmt.Errorf("%w: it has %d lines for customer %q, asked for were %d for %q", ErrDiffers, len(o.lines), o.customer, len(c.Lines), c.Customer)
		}
		return nil, nil // already true: no new fact
	}
	chunks := retail.Chunks(c.Lines)
	events := []Event{Placed{Customer: c.Customer, Lines: chunks[0]}}
	for _, lines := range chunks[1:] {
		events = append(events, Extended{Lines: lines})
	}
	return events, nil
}
