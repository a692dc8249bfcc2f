//go:build unix && !aix && !solaris

package devenv

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// parent is a process of its own that has started a server.
type parent struct {
	cmd *exec.Cmd
	dir string
	out *bufio.Scanner
}

// startParent returns when the directory of the parent's server exists.
func startParent(t *testing.T, mode string) *parent {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), helperEnv+"="+mode)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// Held open to the end: the children of the parent live as long.
	t.Cleanup(func() { stdin.Close() })
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &parent{cmd: cmd, out: bufio.NewScanner(stdout)}
	t.Cleanup(func() { cmd.Process.Kill() })
	p.dir = p.line(t)
	return p
}

func (p *parent) line(t *testing.T) string {
	t.Helper()
	if !p.out.Scan() {
		t.Fatalf("parent ended early: %v", p.out.Err())
	}
	return p.out.Text()
}

// end waits for the parent's end, which os.Process.Wait tells without closing its stdin as cmd.Wait would, and then
// for the server's.
func (p *parent) end(t *testing.T) {
	t.Helper()
	if _, err := p.cmd.Process.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing of the server is left", func() bool { return left(t, p.dir) == nil })
}

func TestServerDiesWithItsParent(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(p *parent) error{
		"SIGKILL":         func(p *parent) error { return p.cmd.Process.Kill() },
		"SIGTERM":         func(p *parent) error { return p.cmd.Process.Signal(syscall.SIGTERM) },
		"ctrl-c":          func(p *parent) error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGINT) },
		"SIGKILL a group": func(p *parent) error { return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startParent(t, "wait")
			if got := p.line(t); got != "ready" {
				t.Fatalf("got %q, want ready", got)
			}
			if left(t, p.dir) == nil {
				t.Error("found no trace of a running server; the search is broken")
			}
			if err := kill(p); err != nil {
				t.Fatal(err)
			}
			p.end(t)
		})
	}
}

func TestServerDiesWhenItsParentEnds(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"panic", "exit", "return", "close"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			startParent(t, mode).end(t)
		})
	}
}

func TestParentKilledDuringInitdb(t *testing.T) {
	t.Parallel()
	p := startParent(t, "wait")
	eventually(t, "initdb runs", func() bool {
		for _, line := range processes(t, p.dir) {
			if strings.Contains(line, "/initdb -D") && !strings.Contains(line, "/bin/sh") {
				return true
			}
		}
		return false
	})
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.end(t)
}

// The supervisor makes the directory, so that there is none without somebody to remove it.
func TestParentKilledAtTheFirstEvent(t *testing.T) {
	t.Parallel()
	p := startParent(t, "wait")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.end(t)
}
