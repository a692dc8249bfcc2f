//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// program is a process of its own that runs this command. Its output goes to
// files, because a pipe would end only with the last of its children.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	dir    string // holds the output
	exited chan struct{}
}

// start runs the command in a process group of its own, without the databases
// and brokers that the environment of the test names.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, cmd: exec.Command(exe, args...), dir: t.TempDir(), exited: make(chan struct{})}
	for _, v := range os.Environ() {
		switch name, _, _ := strings.Cut(v, "="); name {
		case "DATABASE_URL", "KAFKA_BROKERS", "ANNALS_PG_BIN":
		default:
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	p.cmd.Env = append(append(p.cmd.Env, programEnv+"=1"), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, stderr := p.create("stdout"), p.create("stderr")
	defer stdout.Close()
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait() // the state says it all
		close(p.exited)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.exited
	})
	return p
}

func (p *program) create(name string) *os.File {
	p.t.Helper()
	f, err := os.Create(filepath.Join(p.dir, name))
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

func (p *program) stdout() string { return read(p.t, filepath.Join(p.dir, "stdout")) }
func (p *program) stderr() string { return read(p.t, filepath.Join(p.dir, "stderr")) }

// wait returns the exit code, which is -1 for the end by a signal.
func (p *program) wait() int {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(time.Minute):
		p.t.Fatalf("still running after a minute:\n%s", p.stderr())
	}
	return p.cmd.ProcessState.ExitCode()
}

// until polls while the program runs, and fails the test if it ends before.
func (p *program) until(what string, holds func() bool) {
	p.t.Helper()
	eventually(p.t, what, func() bool {
		select {
		case <-p.exited:
			p.t.Fatalf("ended before %s: %s\n%s%s", what, p.cmd.ProcessState, p.stdout(), p.stderr())
		default:
		}
		return holds()
	})
}

// signal sends it to the program alone, or as a terminal does to its group.
func (p *program) signal(s syscall.Signal, group bool) {
	p.t.Helper()
	pid := p.cmd.Process.Pid
	if group {
		pid = -pid
	}
	if err := syscall.Kill(pid, s); err != nil {
		p.t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("still not so after a minute: %s", what)
		case <-tick.C:
		}
	}
}
