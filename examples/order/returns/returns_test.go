package returns_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/aggregate/aggregatetest"
	"github.com/annals-go/annals/codec/codectest"
	"github.com/annals-go/annals/examples/order/retail"
	"github.com/annals-go/annals/examples/order/returns"
)

var moment = time.Date(2010, 12, 1, 9, 41, 0, 0, time.UTC)

func line(code string, quantity int64) retail.Line {
	return retail.Line{Code: code, Description: "Tea cup", Quantity: quantity, Price: 2550, At: moment, Country: "Malta"}
}

func TestAccept(t *testing.T) {
	t.Parallel()
	lines := []retail.Line{line("1", -2), line("2", -1)}
	all := aggregatetest.For[returns.Return](t)
	all.When(returns.Accept{Customer: "17850", Lines: lines}).
		Then(returns.Accepted{Customer: "17850", Lines: lines})
	all.When(returns.Accept{}).Then(returns.Accepted{})
}

func TestAcceptAgain(t *testing.T) {
	t.Parallel()
	lines := []retail.Line{line("1", -2), line("2", -1)}
	accepted := aggregatetest.For[returns.Return](t).Given(returns.Accepted{Customer: "17850", Lines: lines})
	accepted.When(returns.Accept{Customer: "17850", Lines: lines}).ThenNothing()
	// Who brings goods back is noted, and decides nothing.
	accepted.When(returns.Accept{Customer: "17851", Lines: lines}).ThenNothing()
	accepted.When(returns.Accept{Customer: "17850", Lines: lines[:1]}).ThenError(returns.ErrDiffers)
	accepted.When(returns.Accept{Lines: []retail.Line{lines[1], lines[0]}}).ThenError(returns.ErrDiffers)
	aggregatetest.For[returns.Return](t).Given(returns.Accepted{}).When(returns.Accept{}).ThenNothing()

	_, err := returns.Accept{Lines: lines[:1]}.Decide(returns.Return{}.Evolve(returns.Accepted{Lines: lines}))
	if want := "return is accepted already, and differs: it has 2 lines, asked for were 1"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

func TestAcceptGiantReturn(t *testing.T) {
	t.Parallel()
	long := line("1", -1)
	long.Description = strings.Repeat("<", 4096) // six bytes each, as JSON
	lines := make([]retail.Line, 15)
	for i := range lines {
		lines[i] = long
	}
	giant := returns.Accept{Customer: "17850", Lines: lines}
	first, second := returns.Accepted{Customer: "17850", Lines: lines[:10]}, returns.Extended{Lines: lines[10:]}
	all := aggregatetest.For[returns.Return](t)
	all.When(giant).Then(first, second)
	all.Given(first, second).When(giant).ThenNothing()
	all.Given(first, second).When(returns.Accept{Lines: lines[:10]}).ThenError(returns.ErrDiffers)
}

func TestStoredBytes(t *testing.T) {
	t.Parallel()
	codectest.For(t, returns.Codec).Corpus(os.DirFS("testdata"))
}

func TestWrittenBytes(t *testing.T) {
	t.Parallel()
	pins := codectest.For(t, returns.Codec)
	pins.Writes(returns.Accepted{Customer: "17850", Lines: []retail.Line{line("1", -2)}}, "return.accepted", 1,
		`{"customer":"17850","lines":[{"code":"1","description":"Tea cup","quantity":-2,"price_mills":2550,"at":"2010-12-01T09:41:00Z","country":"Malta"}]}`)
	pins.Writes(returns.Accepted{Lines: []retail.Line{}}, "return.accepted", 1, `{"lines":[]}`)
	pins.Writes(returns.Extended{Lines: []retail.Line{line("2", -1)}}, "return.extended", 1,
		`{"lines":[{"code":"2","description":"Tea cup","quantity":-1,"price_mills":2550,"at":"2010-12-01T09:41:00Z","country":"Malta"}]}`)
}
