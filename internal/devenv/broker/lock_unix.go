//go:build unix

package broker

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// lock takes a file for this process until unlock is called or the process ends.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another broker has locked %s: stop it, or name another directory", name)
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return sync.OnceFunc(func() { _ = f.Close() }), nil
}
