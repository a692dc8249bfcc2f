package cli_test

import (
	"strings"
	"testing"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/upcast"
)

// The shapes of a basket: as it was, as it was frozen when its types were renamed, and as
// somebody has frozen it with a field that nobody had written.
type (
	basketEvent  interface{ isBasket() }
	basketItem   struct{ SKU string }
	basketFilled struct{ Items []basketItem }

	itemV1       struct{ SKU string }
	filledV1     struct{ Items []itemV1 }
	itemWrong    struct{ SKU, Size string }
	filledWrong  struct{ Items []itemWrong }
	basketLine   struct{ SKU, Unit string }
	basketLoaded struct{ Lines []basketLine }
)

func (basketFilled) isBasket() {}
func (basketLoaded) isBasket() {}

func freeze[Old any](f codec.Format) *codec.Codec[basketEvent] {
	return codec.New[basketEvent](f, codec.Types[basketEvent]{"basket.filled": basketLoaded{}},
		upcast.Step("basket.filled", 1, func(Old) basketLoaded { return basketLoaded{} }))
}

// An old shape is compared by what the program reads, and not by the names of its types.
func TestSchemaOfAFrozenShape(t *testing.T) {
	t.Parallel()
	url := schemaRegistry(t)
	schema := func(c cli.Codec, args ...string) result {
		return run(t, "", append([]string{"schema", args[0], "--registry", url}, args[1:]...), cli.WithCodecs(c))
	}
	if got := schema(codec.New[basketEvent](avroAt(t, url), codec.Types[basketEvent]{"basket.filled": basketFilled{}}), "register"); got.Code != 0 {
		t.Fatalf("schema register = %+v", got)
	}
	frozen := freeze[filledV1](avroAt(t, url))
	check(t, schema(frozen, "check"), result{Stderr: "checked 2 schemas against the registry (1 not registered yet: run annals schema register): all as it should be\n"})
	check(t, schema(frozen, "register"), result{Stdout: "SUBJECT          EVENT             ID  RESULT\n" +
		"basket.Filled    basket.filled v1  1   was registered\nbasket.FilledV2  basket.filled v2  2   registered\n"})
	if got := schema(frozen, "ls"); got.Code != 0 || !strings.Contains(got.Stdout, " read") {
		t.Errorf("schema ls = %+v, want the old shape to be read", got)
	}
	check(t, schema(freeze[filledWrong](avroAt(t, url)), "check"), result{Code: 1,
		Stdout: "incompatible  basket.Filled (basket.filled v1) against version 1 under BACKWARD_TRANSITIVE: field basket.Filled.Items.items.Size: " +
			"this program does not read what it has written: the reader needs this field, it has no default, and the writer lacks it\n",
		Stderr: "annals: check schemas: 1 finding in 2 schemas against the registry\n"})
}
