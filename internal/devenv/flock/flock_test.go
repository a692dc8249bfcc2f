//go:build unix && !aix && !solaris

package flock_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-go/annals/internal/devenv/flock"
)

func TestLock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := flock.Lock(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := flock.Lock(ctx, path); !errors.Is(err, context.Canceled) || err.Error() != "lock "+path+": context canceled" {
		t.Errorf("Lock of a locked file = %v, want context.Canceled", err)
	}
	got := make(chan error, 1)
	go func() {
		unlock, err := flock.Lock(t.Context(), path)
		if err == nil {
			unlock()
		}
		got <- err
	}()
	unlock()
	if err := <-got; err != nil {
		t.Errorf("Lock after unlock = %v", err)
	}
	if _, err := flock.Lock(t.Context(), filepath.Join(path, "no")); err == nil || !strings.HasPrefix(err.Error(), "lock: open ") {
		t.Errorf("Lock in no directory = %v", err)
	}
}
