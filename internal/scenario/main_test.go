//go:build unix

package scenario_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/annals-go/annals/internal/harness"
)

func TestMain(m *testing.M) {
	harness.Main(map[string]harness.Mode{"crew": workAsChild, "limits": limitsAsChild, "workers": workersAsChild, "broker": brokerAsChild})
	code := m.Run()
	_ = os.RemoveAll(built.dir)
	os.Exit(code)
}

// built is the program of children with crash points, made once, by the first
// test that needs it.
var built struct {
	sync.Once
	dir, program string
	err          error
}

func childProgram(t *testing.T) string {
	t.Helper()
	built.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "annals-child-"); built.err == nil {
			built.program, built.err = harness.Build(context.WithoutCancel(t.Context()), built.dir)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.program
}
