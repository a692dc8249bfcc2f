//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The supervisor leaves a server down for as long as there is a file down in the directory, and starts it again when it
// ends while there is a file again.
func (w *waiter) down() string   { return filepath.Join(w.dir, "down") }
func (w *waiter) wanted() string { return filepath.Join(w.dir, "again") }

func (w *waiter) kill() error {
	text, err := os.ReadFile(filepath.Join(w.dir, "data", "postmaster.pid"))
	if err != nil {
		return err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return fmt.Errorf("read postmaster.pid: %w", err)
	}
	if err := os.WriteFile(w.down(), nil, 0o600); err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for syscall.Kill(pid, 0) == nil { // the supervisor lets go of it at once
		<-tick.C
	}
	return nil
}

func (w *waiter) again(ctx context.Context) error {
	if err := os.Rename(w.down(), w.wanted()); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := w.ready(ctx); err != nil {
		return err
	}
	return os.Remove(w.wanted())
}
