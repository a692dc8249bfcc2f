//go:build unix

package scenario_test

import (
	"os"
	"testing"

	"github.com/annals-go/annals/internal/harness"
)

func TestMain(m *testing.M) {
	harness.Main(map[string]harness.Mode{"crew": workAsChild})
	os.Exit(m.Run())
}
