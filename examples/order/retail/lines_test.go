package retail_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/annals-go/annals/examples/order/retail"
)

func TestChunks(t *testing.T) {
	t.Parallel()
	var lines []retail.Line
	for i := range 3000 {
		lines = append(lines, retail.Line{Code: "85123A", Description: strings.Repeat("<", i%4096), Quantity: int64(i)})
	}
	chunks := retail.Chunks(lines)
	if !retail.SameLines(slices.Concat(chunks...), lines) {
		t.Error("the chunks together are not the lines")
	}
	for i, c := range chunks {
		data, err := json.Marshal(c)
		if err != nil || len(data) > 300<<10 || len(c) == 0 {
			t.Errorf("chunk %d: %d lines, %d bytes, %v", i, len(c), len(data), err)
		}
	}
	if got := retail.Chunks(nil); len(got) != 1 || len(got[0]) != 0 {
		t.Errorf("Chunks(nil) = %v, want one empty part", got)
	}
}

func TestSameLines(t *testing.T) {
	t.Parallel()
	at := time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC)
	a := []retail.Line{{Code: "P", Quantity: 1, At: at}}
	b := []retail.Line{{Code: "P", Quantity: 1, At: at.In(time.FixedZone("x", 3600))}}
	if !retail.SameLines(a, b) {
		t.Error("the same moment in two zones differs")
	}
	b[0].Price++
	if retail.SameLines(a, b) || retail.SameLines(a, nil) {
		t.Error("different lines are the same")
	}
}
