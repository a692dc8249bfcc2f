package order_test

import (
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/aggregate/aggregatetest"
	"github.com/annals-go/annals/examples/order/order"
	"github.com/annals-go/annals/examples/order/retail"
)

var moment = time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC)

func line(code string, quantity int64, price retail.Mills) retail.Line {
	return retail.Line{Code: code, Description: "Tea cup", Quantity: quantity, Price: price, At: moment, Country: "Malta"}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	lines := []retail.Line{line("1", 2, 2550), line("2", -1, 0)}
	orders := aggregatetest.For[order.Order](t)
	orders.When(order.Place{Customer: "17850", Lines: lines}).
		Then(order.Placed{Customer: "17850", Lines: lines})
	orders.When(order.Place{}).Then(order.Placed{})
}

func TestPlaceAgain(t *testing.T) {
	t.Parallel()
	lines := []retail.Line{line("1", 2, 2550), line("2", 1, 425)}
	placed := aggregatetest.For[order.Order](t).Given(order.Placed{Customer: "17850", Lines: lines})
	placed.When(order.Place{Customer: "17850", Lines: lines}).ThenNothing()

	// The same moment in another zone is the same line.
	moved := []retail.Line{lines[0], lines[1]}
	moved[0].At = moment.In(time.FixedZone("CET", 3600))
	placed.When(order.Place{Customer: "17850", Lines: moved}).ThenNothing()

	aggregatetest.For[order.Order](t).Given(order.Placed{}).When(order.Place{}).ThenNothing()
}

func TestPlaceDiffers(t *testing.T) {
	t.Parallel()
	lines := []retail.Line{line("1", 2, 2550), line("2", 1, 425)}
	placed := aggregatetest.For[order.Order](t).Given(order.Placed{Customer: "17850", Lines: lines})
	for name, other := range map[string]order.Place{
		"customer":       {Customer: "17851", Lines: lines},
		"no customer":    {Lines: lines},
		"fewer lines":    {Customer: "17850", Lines: lines[:1]},
		"more lines":     {Customer: "17850", Lines: append(lines[:2:2], lines[0])},
		"order of lines": {Customer: "17850", Lines: []retail.Line{lines[1], lines[0]}},
		"price":          {Customer: "17850", Lines: []retail.Line{line("1", 2, 2551), lines[1]}},
		"quantity":       {Customer: "17850", Lines: []retail.Line{line("1", 3, 2550), lines[1]}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			placed.When(other).ThenError(order.ErrDiffers)
		})
	}

	state := order.Order{}.Evolve(order.Placed{Customer: "17850", Lines: lines})
	_, err := order.Place{Customer: "17851", Lines: lines[:1]}.Decide(state)
	want := `order is placed already, and differs: it has 2 lines for customer "17850", asked for were 1 for "17851"`
	if err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestPlaceGiantOrder(t *testing.T) {
	t.Parallel()
	long := line("1", 1, 1000)
	long.Description = strings.Repeat("<", 4096) // six bytes each, as JSON
	lines := make([]retail.Line, 25)
	for i := range lines {
		lines[i] = long
	}
	giant := order.Place{Customer: "17850", Lines: lines}
	first, rest := order.Placed{Customer: "17850", Lines: lines[:10]}, []order.Event{
		order.Extended{Lines: lines[10:20]},
		order.Extended{Lines: lines[20:]},
	}
	orders := aggregatetest.For[order.Order](t)
	orders.When(giant).Then(first, rest[0], rest[1])

	placed := orders.Given(first).Given(rest...)
	placed.When(giant).ThenNothing()
	placed.When(order.Place{Customer: "17850", Lines: lines[:24]}).ThenError(order.ErrDiffers)

	for _, e := range append(rest, first) {
		raw, err := order.Codec.Encode(e)
		if err != nil {
			t.Fatal(err)
		}
		if got, most := len(raw.Payload), 256<<10; got > most {
			t.Errorf("%T has %d bytes, want at most %d", e, got, most)
		}
	}
}

// What a snapshot of the state or a second fold shares must not change under it.
func TestEvolveCopies(t *testing.T) {
	t.Parallel()
	lines := make([]retail.Line, 1, 8)
	lines[0] = line("1", 1, 1)
	placed := aggregatetest.For[order.Order](t).Given(order.Placed{Lines: lines})
	left := placed.Given(order.Extended{Lines: []retail.Line{line("2", 1, 1)}})
	placed.Given(order.Extended{Lines: []retail.Line{line("3", 1, 1)}})
	left.When(order.Place{Lines: []retail.Line{line("1", 1, 1), line("2", 1, 1)}}).ThenNothing()
}
