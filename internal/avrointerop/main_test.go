package avrointerop

import (
	"os"
	"testing"
	"time"
)

// hamba reads and writes local timestamps by the zone of the machine.
func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}
