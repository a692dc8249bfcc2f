//go:build unix && !aix && !solaris

package apache

import (
	"bufio"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

//go:embed supervisor.sh
var supervisorScript string

// supervisor is the sh process that owns programs and their directory. It ends them when this process is gone: the kernel
// closes its stdin then, whatever the end was.
type supervisor struct {
	dir string

	stdin io.WriteCloser
	once  sync.Once
	done  chan struct{}
	err   error // set before done is closed

	mu   sync.Mutex
	runs map[string]*run // by name; guarded by mu
}

// run is one run of a program.
type run struct {
	up, down chan struct{}
	pid      int    // set before up is closed
	status   string // set before down is closed
}

func supervise(bases []string) (*supervisor, error) {
	b := make([]byte, 8)
	rand.Read(b) // never fails
	//nolint:noctx // it must outlive every context, to clean up
	cmd := exec.Command("/bin/sh", "-c", supervisorScript, "annals-kafka-"+hex.EncodeToString(b))
	cmd.Dir = "/"
	cmd.Env = []string{
		"PATH=" + strings.Trim("/usr/bin:/bin:"+os.Getenv("PATH"), ":"),
		"LC_ALL=C.UTF-8",
		"TZ=UTC",
		"ANNALS_BASES=" + strings.Join(bases, "\n"),
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no signal of the terminal
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("run supervisor: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("run supervisor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run supervisor: %w", err)
	}
	s := &supervisor{stdin: stdin, done: make(chan struct{}), runs: map[string]*run{}}
	lines := bufio.NewScanner(stdout)
	if lines.Scan() {
		s.dir, _ = strings.CutPrefix(lines.Text(), "dir ")
	}
	go func() {
		defer close(s.done)
		for lines.Scan() {
			s.take(lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			s.err = fmt.Errorf("stop kafka: %s is not removed: %w", s.dir, err)
		}
	}()
	if !filepath.IsAbs(s.dir) {
		_ = s.close()
		return nil, fmt.Errorf("make a directory: can write to none of %s", strings.Join(bases, ", "))
	}
	return s, nil
}

// take is told one event.
func (s *supervisor) take(event string) {
	words := strings.Fields(event)
	if len(words) != 3 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.runs[words[1]]
	switch {
	case r == nil:
	case words[0] == "up":
		r.pid, _ = strconv.Atoi(words[2])
		close(r.up)
	case words[0] == "down":
		r.status = words[2]
		close(r.down)
	}
}

// run starts a program of this name, whose script is in the directory, and returns when it has a process.
func (s *supervisor) run(name, script string) (*run, error) {
	dir := filepath.Join(s.dir, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "run"), []byte(script), 0o600); err != nil {
		return nil, err
	}
	r := &run{up: make(chan struct{}), down: make(chan struct{})}
	s.mu.Lock()
	s.runs[name] = r
	s.mu.Unlock()
	if _, err := io.WriteString(s.stdin, name+"\n"); err != nil {
		return nil, fmt.Errorf("run %s: the supervisor is gone: %w", name, err)
	}
	select {
	case <-r.up:
		return r, nil
	case <-s.done:
		return nil, fmt.Errorf("run %s: the supervisor is gone", name)
	}
}

// signal is sent to a program only while it runs, so that no other process gets it.
func (s *supervisor) signal(r *run, sig syscall.Signal) error {
	select {
	case <-r.down:
		return errors.New("it is down")
	default:
		return syscall.Kill(r.pid, sig)
	}
}

// log returns the last lines that a program has written, as one line.
func (s *supervisor) log(name string) string {
	const keep = 6
	text, err := os.ReadFile(filepath.Join(s.dir, name, "log"))
	if err != nil {
		return err.Error()
	}
	var kept []string
	for line := range strings.Lines(string(text)) {
		// Neither the frames of a stack nor the dump of all settings that some errors begin with.
		if t := strings.TrimSpace(line); t != "" && line[0] != '\t' && line[0] != ' ' {
			kept = append(kept, t)
		}
	}
	if len(kept) == 0 {
		return "ended without a message"
	}
	return strings.Join(kept[max(0, len(kept)-keep):], "; ")
}

// close ends the programs and returns when they and their directory are gone.
func (s *supervisor) close() error {
	s.once.Do(func() { _ = s.stdin.Close() })
	<-s.done
	return s.err
}
