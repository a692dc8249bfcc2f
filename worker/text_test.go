package worker_test

import (
	"strings"
	"testing"

	"github.com/annals-go/annals/worker"
)

func TestCut(t *testing.T) {
	t.Parallel()
	const most = worker.MaxError
	x := func(n int) string { return strings.Repeat("x", n) }
	for in, want := range map[string]string{
		"":                               "",
		"a\tb\u00e4\U0001f600":           "a\tb\u00e4\U0001f600",
		"a\x00b\xff\xfec":                "a\ufffdb\ufffdc",
		x(most):                          x(most),
		x(most + 1):                      x(most),
		x(most-1) + "\u00e4":             x(most - 1),
		x(most-2) + "\u00e4y":            x(most-2) + "\u00e4",
		x(most-1) + "\x00":               x(most - 1),
		x(2*most-1) + "\u00e4":           x(most),
		strings.Repeat("\xff", most):     "\ufffd",
		strings.Repeat("\x00", 100*most): strings.Repeat("\ufffd", most/3),
	} {
		if got := worker.Cut(in); got != want {
			t.Errorf("Cut of %d bytes = %d bytes, want %d", len(in), len(got), len(want))
		}
	}
}
