//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestWhatTheMachineLacksForApicurio(t *testing.T) {
	t.Parallel()
	e := without(t, "java", java17, "mvn", `[ "$4 $5" = "dependency:unpack -Dartifact=io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all" ] && echo '[ERROR] no disk'; exit 1
`)
	_, err := startApicurio(t.Context(), e)
	if want := "fetch io.apicurio:apicurio-registry-app:3.0.9:tar.gz:all: run mvn: exit status 1: no disk: " + needCentral; err == nil || err.Error() != want {
		t.Errorf("got error %v\nwant %s", err, want)
	}
}

func TestApicurioLeavesNothing(t *testing.T) {
	t.Parallel()
	began := time.Now()
	r, err := StartApicurio(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("Apicurio Registry %s answers after %s", ApicurioVersion, time.Since(began))
	out, err := exec.CommandContext(t.Context(), "pgrep", "-f", "annals.kafka="+r.Dir).Output()
	if err != nil || len(strings.Fields(string(out))) != 1 {
		t.Errorf("found by its command line: %q, %v, want one process", out, err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if out, err := exec.CommandContext(context.Background(), "pgrep", "-fa", r.Dir).Output(); err == nil {
		t.Errorf("left: %s", out)
	}
	if _, err := os.Stat(r.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is left", r.Dir)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp, err := http.DefaultClient.Do(req); err == nil {
		_ = resp.Body.Close()
		t.Errorf("%s answers after Close", r.URL)
	}
}
