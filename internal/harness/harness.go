//go:build unix

package harness

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"

	"github.com/annals-go/annals/internal/oracle"
)

// The environment of a child.
const (
	modeVar  = "ANNALS_CHILD"
	argsVar  = "ANNALS_CHILD_ARGS"
	crashVar = "ANNALS_CRASH" // see package crash
)

// Mode is what a child does until it is done, or killed. The context ends when
// the test does.
type Mode func(ctx context.Context, to *oracle.Recorder, args json.RawMessage) error

// Main runs the mode that a child was started with, and ends the process. In any
// other process it returns at once.
func Main(modes map[string]Mode) {
	name := os.Getenv(modeVar) //nolint:forbidigo // a program for tests
	if name == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // ends with the process of the test
		cancel()
		os.Exit(1)
	}()
	args := os.Getenv(argsVar) //nolint:forbidigo // as above
	err := fmt.Errorf("no mode %q", name)
	if mode := modes[name]; mode != nil {
		err = mode(ctx, oracle.NewRecorder(os.NewFile(3, "history")), json.RawMessage(args))
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Command says what to start.
type Command struct {
	Program string // empty: that of this process
	Mode    string
	Args    any      // as JSON, for the mode
	Env     []string // beside that of this process
	// Crash is the point at which the child ends itself, such as
	// "postgres.append.answered:3", if it was built with crash points.
	Crash string
	// Told is given what the child tells with Recorder.Tell, one at a time. Nil
	// passes over it.
	Told func(kind string, data json.RawMessage)
}

// Child is a process that a test has started. Safe for concurrent use.
type Child struct {
	cmd   *exec.Cmd
	log   tail
	taken chan error // one
	wait  func() error
}

// Start starts a child that records into the history.
func Start(h *oracle.History, c Command) (*Child, error) {
	child, err := start(h, c)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Mode, err)
	}
	return child, nil
}

func start(h *oracle.History, c Command) (*Child, error) {
	var err error
	if c.Program == "" {
		if c.Program, err = os.Executable(); err != nil {
			return nil, err
		}
	}
	args, err := json.Marshal(c.Args)
	if err != nil {
		return nil, err
	}
	lines, theirs, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	child := &Child{taken: make(chan error, 1)}
	child.cmd = exec.Command(c.Program) //nolint:noctx // a test ends it in its own ways
	child.cmd.Env = append(os.Environ(), modeVar+"="+c.Mode, argsVar+"="+string(args), crashVar+"="+c.Crash)
	child.cmd.Env = append(child.cmd.Env, c.Env...)
	child.cmd.ExtraFiles = []*os.File{theirs}
	child.cmd.Stdout, child.cmd.Stderr = &child.log, &child.log
	stdin, err := child.cmd.StdinPipe() // held open: its end tells the child that we are gone
	if err == nil {
		err = child.cmd.Start()
	}
	_ = theirs.Close()
	if err != nil {
		_ = lines.Close()
		return nil, err
	}
	go func() {
		defer func() { _ = lines.Close() }()
		child.taken <- h.Take(lines, c.Told)
	}()
	child.wait = sync.OnceValue(func() error {
		taken := <-child.taken // all of it, before the process is let go of
		err := child.cmd.Wait()
		_ = stdin.Close()
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
			err = nil
		}
		if err = errors.Join(taken, err); err != nil {
			return fmt.Errorf("child %s: %w: %s", c.Mode, err, child.log.String())
		}
		return nil
	})
	return child, nil
}

// Signal sends SIGKILL, SIGSTOP, SIGCONT or another signal.
func (c *Child) Signal(s syscall.Signal) error { return c.cmd.Process.Signal(s) }

// PID returns the id of the process.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Wait returns when the child has ended, and all that it told of is in the
// history. The error is that of its mode; none if it was killed by SIGKILL.
func (c *Child) Wait() error { return c.wait() }

// Kill is SIGKILL and Wait.
func (c *Child) Kill() error {
	if err := c.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return c.Wait()
}

// tail keeps the end of what was written.
type tail struct {
	mu  sync.Mutex
	end []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 8 << 10
	t.end = append(t.end, b...)
	t.end = t.end[max(0, len(t.end)-most):]
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.end))
}

// Build makes the test program of the package in the working directory, with
// crash points and with the tags that this program was built with, and returns
// its path in dir.
func Build(ctx context.Context, dir string) (string, error) {
	tags := "crashpoints"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "-tags" && s.Value != "" {
				tags += "," + s.Value
			}
		}
	}
	program := filepath.Join(dir, "child")
	out, err := exec.CommandContext(ctx, "go", "test", "-c", "-tags", tags, "-o", program, ".").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build a child: %w: %s", err, out)
	}
	return program, nil
}
