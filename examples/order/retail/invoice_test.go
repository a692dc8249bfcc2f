package retail_test

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/examples/order/retail"
)

func TestKindOf(t *testing.T) {
	t.Parallel()
	for number, want := range map[string]retail.Kind{
		"536365":       retail.Order,
		"0":            retail.Order,
		"C536379":      retail.Return,
		"CX":           retail.Return,
		"C":            0,
		"":             0,
		"A563185":      0,
		"c536379":      0,
		"53636 5":      0,
		"-1":           0,
		"\u0661\u06f2": 0,
	} {
		got, ok := retail.KindOf(number)
		if !ok {
			got = 0
		}
		if got != want {
			t.Errorf("KindOf(%q) = %s, want %s", number, got, want)
		}
	}
}

func TestKindOfGivesNoKindWithFalse(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"", "C", "A1", "1x"} {
		if kind, ok := retail.KindOf(number); ok || kind != 0 {
			t.Errorf("KindOf(%q) = %s, %t, want unknown, false", number, kind, ok)
		}
	}
}

func TestRevenueExceedsInt64(t *testing.T) {
	t.Parallel()
	line := retail.Line{Quantity: math.MaxInt64, Price: -1_000_000}
	if got, want := line.Revenue().String(), "-9223372036854775807000"; got != want {
		t.Errorf("Revenue() = %s, want %s", got, want)
	}
}

func TestLineJSONIsPinned(t *testing.T) {
	t.Parallel()
	at := time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC)
	line := retail.Line{Code: "85123A", Description: "Tin <red>", Quantity: 6, Price: 2550, At: at, Country: "Malta"}
	const want = `{"code":"85123A","description":"Tin \u003cred\u003e","quantity":6,"price_mills":2550,` +
		`"at":"2010-12-01T08:26:00Z","country":"Malta"}`

	elsewhere := line
	elsewhere.At = at.In(time.FixedZone("east", 3*60*60))
	for _, l := range []retail.Line{line, elsewhere} {
		got, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("json of a line at %s:\ngot  %s\nwant %s", l.At, got, want)
		}
		var back retail.Line
		if err := json.Unmarshal(got, &back); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(line, back); diff != "" {
			t.Errorf("line after JSON (-want +got):\n%s", diff)
		}
	}
}
