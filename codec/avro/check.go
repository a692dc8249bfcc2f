package avro

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"unicode/utf8"

	avrolib "github.com/twmb/avro"
)

// checkOf returns what the library does not look at, neither when it encodes nor when it
// decodes.
func checkOf(n *avrolib.SchemaNode) check {
	switch {
	case n.Type == "string" && n.LogicalType == "uuid":
		return isUUID
	case n.Type == "string":
		return isUTF8
	case n.LogicalType == "decimal" && (n.Type == "bytes" || n.Type == "fixed"):
		return hasDigits(n.Precision)
	}
	return nil
}

var errText = errors.New("text is not valid UTF-8")

func isUTF8(b []byte) error {
	if !utf8.Valid(b) {
		return errText
	}
	return nil
}

func isUUID(b []byte) error {
	ok := len(b) == 36
	for i := 0; ok && i < len(b); i++ {
		switch c := b[i] | 0x20; i {
		case 8, 13, 18, 23:
			ok = b[i] == '-'
		default:
			ok = '0' <= b[i] && b[i] <= '9' || 'a' <= c && c <= 'f'
		}
	}
	if !ok {
		return fmt.Errorf("want a UUID of 36 characters, got %d: %q", len(b), short(string(b)))
	}
	return nil
}

// hasDigits returns the check that a number in two's complement has no more digits than
// the precision.
func hasDigits(precision int) check {
	safe := int(float64(precision)*math.Log2(10)-1) / 8 // bytes that cannot hold more digits
	return func(b []byte) error {
		if len(b) <= safe {
			return nil
		}
		sign := byte(0)
		if b[0]&0x80 != 0 {
			sign = 0xff
		}
		for len(b) > 1 && b[0] == sign { // says no more than the sign
			b = b[1:]
		}
		if len(b) <= safe+3 && fewDigits(b, sign != 0, precision) {
			return nil
		}
		return fmt.Errorf("decimal has more digits than its precision %d", precision)
	}
}

func fewDigits(b []byte, negative bool, precision int) bool {
	n := new(big.Int).SetBytes(b)
	if negative {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(b))*8))
	}
	return n.CmpAbs(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)) < 0
}
