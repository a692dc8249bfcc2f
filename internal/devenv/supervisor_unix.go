//go:build unix && !aix && !solaris

package devenv

import (
	"bufio"
	_ "embed"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

//go:embed supervisor.sh
var supervisorScript string

// supervisor is the sh process that owns a server and its directory. It ends by itself when the server does, and
// ends the server when this process is gone: the kernel closes stdin then, whatever the end was.
type supervisor struct {
	events chan string // closed when the supervisor is gone

	stdin io.Closer
	done  chan struct{}
	err   error // set before done is closed
	once  sync.Once
}

// job is what a supervisor runs.
type job struct {
	kind     kind
	bin      string // the directory of the programs
	name     string
	user     string // of clients
	password string
	upstream string   // how to connect to the server behind; empty when there is none
	tls      []byte   // certificate and key; nil for connections without TLS
	args     []string // for the server, or lines of PgBouncer's configuration
}

// supervise starts a supervisor, which makes the directory, runs initdb and then the server.
func supervise(account *account, j job, bases []string, ports []int) (*supervisor, error) {
	var list []string
	for _, port := range ports {
		list = append(list, strconv.Itoa(port))
	}
	//nolint:noctx // it must outlive every context, to clean up
	cmd := exec.Command("/bin/sh", append([]string{"-c", supervisorScript, j.name}, j.args...)...)
	cmd.Dir = "/" // the working directory may be closed to the account, and must not be kept busy
	// The environment is made anew: PG* variables steer both programs, LC_ALL decides the language of the log, and
	// a TZ spares initdb the search for the machine's.
	cmd.Env = []string{
		"PATH=" + strings.Trim("/usr/bin:/bin:/usr/sbin:/sbin:"+os.Getenv("PATH"), ":"),
		"LC_ALL=C",
		"TZ=UTC",
		"ANNALS_KIND=" + string(j.kind),
		"ANNALS_BIN=" + j.bin,
		"ANNALS_BASES=" + strings.Join(bases, "\n"),
		"ANNALS_PORTS=" + strings.Join(list, "\n"),
		"ANNALS_TLS=" + string(j.tls),
	}
	if path := os.Getenv("LD_LIBRARY_PATH"); path != "" {
		cmd.Env = append(cmd.Env, "LD_LIBRARY_PATH="+path)
	}
	// A session of its own keeps signals to our terminal and to our process group away.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: account.credential}

	// Both pipes are close-on-exec here, so no other child of ours can keep the supervisor alive.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("run supervisor: %w", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		_ = stdin.Close()
		return nil, fmt.Errorf("run supervisor: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run supervisor as %s: %w", account, err)
	}

	s := &supervisor{
		// Room for all events, because nobody reads them once the server answers.
		events: make(chan string, 64),
		stdin:  stdin,
		done:   make(chan struct{}),
	}
	go func() {
		defer close(s.done)
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			select {
			case s.events <- lines.Text():
			default:
			}
		}
		// A line too long to scan must not block the supervisor.
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			s.err = fmt.Errorf("stop postgres: %s is not removed: %w", j.name, err)
		}
		close(s.events)
	}()
	// A failure means that the supervisor is gone, which its events tell.
	_, _ = io.WriteString(stdin, j.password+"\n"+j.upstream+"\n")
	return s, nil
}

// close ends the server and returns when it and its directory are gone.
func (s *supervisor) close() error {
	s.once.Do(func() { _ = s.stdin.Close() })
	<-s.done
	return s.err
}
