package retail_test

import (
	"math"
	"strings"
	"testing"

	"github.com/annals-go/annals/examples/order/retail"
)

func TestParseMills(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]retail.Mills{
		"0":                      0,
		"-0.000":                 0,
		"2.55":                   2550,
		"2.5500":                 2550,
		"+2.55":                  2550,
		"-0.005":                 -5,
		".5":                     500,
		"5.":                     5000,
		"007":                    7000,
		"0.425000000000000":      425,
		"-11062.06":              -11062060,
		"1000000000000":          1_000_000_000_000_000,
		"-1000000000000.0000000": -1_000_000_000_000_000,
	} {
		got, err := retail.ParseMills(text)
		if err != nil || got != want {
			t.Errorf("ParseMills(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestParseMillsRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                  `parse amount "": want a number such as 2.55`,
		".":                 `parse amount ".": want a number such as 2.55`,
		"-":                 `parse amount "-": want a number such as 2.55`,
		"1e3":               `parse amount "1e3": want a number such as 2.55`,
		"1.2.3":             `parse amount "1.2.3": want a number such as 2.55`,
		"1,50":              `parse amount "1,50": want a number such as 2.55`,
		"1_000":             `parse amount "1_000": want a number such as 2.55`,
		" 1":                `parse amount " 1": want a number such as 2.55`,
		"NaN":               `parse amount "NaN": want a number such as 2.55`,
		"\u0661":            "parse amount \"\u0661\": want a number such as 2.55",
		"0.0001":            `parse amount "0.0001": has more than 3 decimals`,
		"1000000000000.001": `parse amount "1000000000000.001": out of range, want at most 1000000000000.000 either way`,
		"-9999999999999999": `parse amount "-9999999999999999": out of range, want at most 1000000000000.000 either way`,
		strings.Repeat("1", 65): `parse amount "` + strings.Repeat("1", 64) +
			`"...: has 65 bytes, want at most 64`,
	} {
		_, err := retail.ParseMills(text)
		if err == nil || err.Error() != want {
			t.Errorf("ParseMills(%q) error = %v, want %s", text, err, want)
		}
	}
}

func TestMillsString(t *testing.T) {
	t.Parallel()
	for amount, want := range map[retail.Mills]string{
		0:             "0.000",
		2550:          "2.550",
		-5:            "-0.005",
		-1050:         "-1.050",
		math.MaxInt64: "9223372036854775.807",
		math.MinInt64: "-9223372036854775.808",
	} {
		if got := amount.String(); got != want {
			t.Errorf("Mills(%d).String() = %s, want %s", int64(amount), got, want)
		}
	}
}

func FuzzParseMills(f *testing.F) {
	for _, seed := range []string{"2.55", "-0.005", "1e3", "0.0001", "+.5", "1000000000000", "", "NaN"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		amount, err := retail.ParseMills(text)
		if err != nil {
			return
		}
		again, err := retail.ParseMills(amount.String())
		if err != nil || again != amount {
			t.Fatalf("ParseMills(%q) = %d, its text reads back as %d, %v", text, amount, again, err)
		}
	})
}
