package kafka_test

import (
	"testing"

	"github.com/annals-go/annals/internal/guidetest"
)

// TestGuideToSecurity: what docs/security.md shows is what is compiled here.
func TestGuideToSecurity(t *testing.T) {
	t.Parallel()
	guidetest.Indented(t, "../../docs/security.md", "example_secure_test.go")
}
