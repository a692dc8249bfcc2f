package retail

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"
)

// Mills is an exact amount of money in 1/1000 of the currency unit. Mills(2550)
// is 2.55.
type Mills int64

const (
	// millsPlaces is the number of decimals a Mills can hold.
	millsPlaces = 3

	// maxMills bounds what ParseMills accepts, in both directions. It leaves
	// room to add thousands of amounts before an int64 overflows.
	maxMills = 1_000_000_000_000_000

	// maxAmountBytes bounds the text ParseMills looks at, since the cost of
	// parsing a number grows faster than its length.
	maxAmountBytes = 64
)

// ParseMills reads an amount such as "2.55", "-11062.06" or "0.425". Zeros
// after the third decimal change nothing and are accepted. It never rounds.
//
// It refuses, each with its own message: text that is no plain decimal number
// (exponents, spaces, separators and the empty text included), text longer
// than 64 bytes, amounts that need more than three decimals, and amounts beyond
// 1e15 mills in either direction.
func ParseMills(s string) (Mills, error) {
	if len(s) > maxAmountBytes {
		return 0, fmt.Errorf("parse amount %q...: has %d bytes, want at most %d", s[:maxAmountBytes], len(s), maxAmountBytes)
	}
	if !isPlainDecimal(s) {
		return 0, fmt.Errorf("parse amount %q: want a number such as 2.55", s)
	}
	amount, err := decimal.NewFromString(s)
	if err != nil {
		return 0, fmt.Errorf("parse amount %q: %w", s, err)
	}
	mills := amount.Shift(millsPlaces)
	if !mills.IsInteger() {
		return 0, fmt.Errorf("parse amount %q: has more than %d decimals", s, millsPlaces)
	}
	if mills.Abs().GreaterThan(decimal.NewFromInt(maxMills)) {
		return 0, fmt.Errorf("parse amount %q: out of range, want at most %s either way", s, Mills(maxMills))
	}
	return Mills(mills.IntPart()), nil
}

// Decimal returns the amount in currency units.
func (m Mills) Decimal() decimal.Decimal {
	return decimal.New(int64(m), -millsPlaces)
}

// String returns the amount in currency units with exactly three decimals:
// "2.550", "-0.005".
func (m Mills) String() string {
	sign, magnitude := "", uint64(m)
	if m < 0 {
		// Negating the unsigned value is right for the smallest int64 too.
		sign, magnitude = "-", -magnitude
	}
	fraction := strconv.FormatUint(magnitude%1000, 10)
	return sign + strconv.FormatUint(magnitude/1000, 10) + "." + strings.Repeat("0", millsPlaces-len(fraction)) + fraction
}

// isPlainDecimal reports whether s is an optional sign and ASCII digits with at
// most one point among them.
func isPlainDecimal(s string) bool {
	if s != "" && (s[0] == '+' || s[0] == '-') {
		s = s[1:]
	}
	digits, points := 0, 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			digits++
		case c == '.':
			points++
		default:
			return false
		}
	}
	return digits > 0 && points <= 1
}
