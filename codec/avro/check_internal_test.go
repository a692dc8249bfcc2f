package avro

import (
	"math/big"
	"testing"
)

func TestDigits(t *testing.T) {
	t.Parallel()
	for precision := 1; precision < 60; precision++ {
		check := hasDigits(precision)
		bound := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
		for d := int64(-2); d <= 2; d++ {
			n := new(big.Int).Add(bound, big.NewInt(d))
			plus := append([]byte{0}, n.Bytes()...)
			two := new(big.Int).Lsh(big.NewInt(1), uint(len(plus))*8)
			minus := two.Sub(two, n).Bytes() // of -n, as long as plus
			for _, b := range [][]byte{plus, append([]byte{0, 0}, plus...), minus, append([]byte{0xff, 0xff}, minus...)} {
				if got, want := check(b) == nil, d < 0; got != want {
					t.Errorf("precision %d: 10^%d%+d as %x: fits %v, want %v", precision, precision, d, b, got, want)
				}
			}
		}
		if check(nil) != nil || check([]byte{0}) != nil || check([]byte{0xff}) != nil {
			t.Errorf("precision %d: refuses 0 or -1", precision)
		}
	}
}
