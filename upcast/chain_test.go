package upcast_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/upcast"
)

type (
	placedV1  struct{ Euros int }
	placedV2  struct{ Cents int }
	placed    struct{ Cents, Lines int }
	addressed struct{ Street string }
)

func types(kv ...any) map[string]reflect.Type {
	m := map[string]reflect.Type{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = reflect.TypeOf(kv[i+1])
	}
	return m
}

func euros(v placedV1) placedV2 { return placedV2{Cents: v.Euros * 100} }
func lines(v placedV2) placed   { return placed{Cents: v.Cents, Lines: 1} }

func TestLift(t *testing.T) {
	t.Parallel()
	chain, err := upcast.NewChain(types("order.placed", placed{}, "order.addressed", addressed{}),
		upcast.Step("order.placed", 2, lines), // the order of the rules is free
		upcast.Step("order.placed", 1, euros),
		upcast.Rename("order.opened", "order.placed"),
		upcast.Drop("order.viewed"),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		schema int
		in     any
		want   []any
	}{
		{"order.placed", 1, placedV1{Euros: 12}, []any{placed{Cents: 1200, Lines: 1}}},
		{"order.placed", 2, placedV2{Cents: 7}, []any{placed{Cents: 7, Lines: 1}}},
		{"order.placed", 3, placed{Cents: 7, Lines: 2}, []any{placed{Cents: 7, Lines: 2}}},
		{"order.opened", 1, placedV1{Euros: 1}, []any{placed{Cents: 100, Lines: 1}}},
	} {
		got, err := chain.Lift(c.name, c.schema, c.in)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("Lift(%s, %d) = %v, %v %s", c.name, c.schema, got, err, diff)
		}
	}
	if got := chain.Latest("order.placed"); got != 3 {
		t.Errorf("Latest = %d, want 3", got)
	}
	if shape, err := chain.Shape("order.viewed", 9); shape != nil || err != nil {
		t.Errorf("Shape of a dropped event = %v, %v, want nil, nil", shape, err)
	}
	var all []string
	chain.Shapes(func(name string, schema int) bool {
		all = append(all, fmt.Sprint(name, " ", schema))
		return true
	})
	if want := []string{"order.addressed 1", "order.placed 1", "order.placed 2", "order.placed 3"}; !slices.Equal(all, want) {
		t.Errorf("Shapes = %v, want %v", all, want)
	}
}

func TestShapeUnknown(t *testing.T) {
	t.Parallel()
	chain, err := upcast.NewChain(types("order.placed", placed{}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Shape("order.paid", 1)
	if want := `unknown event name "order.paid"`; !errors.Is(err, upcast.ErrUnknownName) || err.Error() != want {
		t.Errorf("Shape = %v, want %s", err, want)
	}
	_, err = chain.Shape("order.placed", 2)
	if want := `unknown schema version 2 of order.placed: this program knows up to 1`; !errors.Is(err, upcast.ErrUnknownSchema) || err.Error() != want {
		t.Errorf("Shape = %v, want %s", err, want)
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	type opened struct {
		Euros  int
		Street string
	}
	both := upcast.Split("order.opened", 1, func(v opened) []any {
		if v.Street == "" {
			return []any{placedV1{Euros: v.Euros}}
		}
		return []any{placedV1{Euros: v.Euros}, addressed{Street: v.Street}}
	}, upcast.Into[placedV1]("order.placed", 1), upcast.Into[addressed]("order.addressed", 1))
	chain, err := upcast.NewChain(types("order.placed", placed{}, "order.addressed", addressed{}),
		both, upcast.Step("order.placed", 1, euros), upcast.Step("order.placed", 2, lines))
	if err != nil {
		t.Fatal(err)
	}
	got, err := chain.Lift("order.opened", 1, opened{Euros: 2, Street: "Elm"})
	if diff := cmp.Diff([]any{placed{Cents: 200, Lines: 1}, addressed{Street: "Elm"}}, got); err != nil || diff != "" {
		t.Errorf("a target that is an old shape is lifted further: %v %s", err, diff)
	}
	got, err = chain.Lift("order.opened", 1, opened{Euros: 2})
	if diff := cmp.Diff([]any{placed{Cents: 200, Lines: 1}}, got); err != nil || diff != "" {
		t.Errorf("a split may give fewer: %v %s", err, diff)
	}
	if got := chain.Latest("order.opened"); got != 0 {
		t.Errorf("Latest of a name that is not written any more = %d, want 0", got)
	}
}

func TestUpcasterThatMisbehaves(t *testing.T) {
	t.Parallel()
	chain, err := upcast.NewChain(types("order.placed", placed{}),
		upcast.Step("order.placed", 1, func(v placedV1) placedV2 { return placedV2{Cents: 100 / v.Euros} }),
		upcast.Split("order.placed", 2, func(placedV2) []any { return []any{addressed{}} }, upcast.Into[placed]("order.placed", 3)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = chain.Lift("order.placed", 1, placedV1{})
	if want := "upcast order.placed from schema 1: panic: runtime error: integer divide by zero"; err == nil || err.Error() != want {
		t.Errorf("Lift = %v, want %s", err, want)
	}
	_, err = chain.Lift("order.placed", 1, placedV1{Euros: 1})
	if want := "upcast order.placed from schema 2: split gave upcast_test.addressed, which no target declares"; err == nil || err.Error() != want {
		t.Errorf("Lift = %v, want %s", err, want)
	}
}

func TestNewChainNamesContradictions(t *testing.T) {
	t.Parallel()
	for want, rules := range map[string][]upcast.Rule{
		"upcast order.placed: gap: 1 rules, but none from schema 1\n" +
			"upcast order.placed from schema 2: leads to order.placed schema 3, which has no shape": {
			upcast.Step("order.placed", 2, lines),
		},
		"upcast order.placed: two rules from schema 1\n" +
			"upcast order.placed from schema 1: gives upcast_test.placedV2, but order.placed schema 2 is upcast_test.placed": {
			upcast.Step("order.placed", 1, euros), upcast.Step("order.placed", 1, euros),
		},
		"upcast order.placed from schema 1: gives upcast_test.placedV2, but order.placed schema 2 is upcast_test.placed": {
			upcast.Step("order.placed", 1, euros),
		},
		"upcast order.paid from schema 1: leads to order.paid schema 2, which has no shape": {
			upcast.Step("order.paid", 1, euros),
		},
		"upcast order.placed: dropped, but it has a current type or rules": {upcast.Drop("order.placed")},
		"upcast order.viewed: dropped twice":                               {upcast.Drop("order.viewed"), upcast.Drop("order.viewed")},
		"upcast order.placed: renamed to order.paid, but it has a current type or rules of its own\n" +
			"upcast order.placed: renamed to order.paid, which has no shape": {upcast.Rename("order.placed", "order.paid")},
		"upcast order.opened: renamed both to order.placed and to order.paid\n" +
			"upcast order.opened: renamed to order.paid, which has no shape": {upcast.Rename("order.opened", "order.placed"), upcast.Rename("order.opened", "order.paid")},
		"upcast rule is empty: build it with Step, Split, Drop or Rename": {{}},
		"upcast order.opened from schema 1: two targets of type upcast_test.placed": {
			upcast.Split("order.opened", 1, func(placedV1) []any { return nil }, upcast.Into[placed]("order.placed", 1), upcast.Into[placed]("order.placed", 1)),
		},
		"upcast order.opened from schema 1: leads back to schema 1": {
			upcast.Split("order.opened", 1, func(placedV1) []any { return nil }, upcast.Into[placedV1]("order.opened", 1)),
		},
	} {
		_, err := upcast.NewChain(types("order.placed", placed{}), rules...)
		if err == nil || err.Error() != want && !startsWith(err.Error(), want) {
			t.Errorf("NewChain = %v\nwant %s", err, want)
		}
	}
}

func startsWith(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

func ExampleStep() {
	chain, err := upcast.NewChain(
		map[string]reflect.Type{"order.placed": reflect.TypeFor[placedV2]()},
		upcast.Step("order.placed", 1, func(v placedV1) placedV2 { return placedV2{Cents: v.Euros * 100} }),
	)
	if err != nil {
		panic(err)
	}
	out, err := chain.Lift("order.placed", 1, placedV1{Euros: 12})
	fmt.Printf("%+v %v\n", out, err)
	// Output: [{Cents:1200}] <nil>
}
