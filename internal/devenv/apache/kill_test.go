//go:build unix && !aix && !solaris

package apache

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ownerEnv makes the test binary a program that owns a supervisor, with the directory in the value, and does not end.
const ownerEnv = "ANNALS_APACHE_OWNER"

func TestMain(m *testing.M) {
	if base := os.Getenv(ownerEnv); base != "" {
		s, err := supervise([]string{base})
		if err == nil {
			var r *run
			if r, err = s.run("1", "exec sleep 1000\n"); err == nil {
				fmt.Println(s.dir, r.pid)
				select {}
			}
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestNothingSurvivesTheOwner(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	owner := exec.Command(exe)
	owner.Env = append(os.Environ(), ownerEnv+"="+t.TempDir())
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	var dir string
	var pid int
	if _, err := fmt.Sscan(lines.Text(), &dir, &pid); err != nil || !strings.Contains(dir, "/annals-kafka-") {
		t.Fatalf("the owner says %q: %v", lines.Text(), err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("process %d does not run: %v", pid, err)
	}
	if err := owner.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = owner.Wait() // it was killed
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		_, err := os.Stat(dir)
		if os.IsNotExist(err) && syscall.Kill(pid, 0) != nil {
			return
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("process %d or %s is left", pid, dir)
		}
	}
}
