//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// startTimeout bounds initdb and the first answer. Both take a second; the rest is for machines under load.
const startTimeout = time.Minute

func start(ctx context.Context, cfg *config) (*Server, error) {
	account, err := unprivileged()
	if err != nil {
		return nil, err
	}
	bin, err := findBinaries(ctx, cfg, account)
	if err != nil {
		return nil, err
	}
	ports, err := cfg.ports()
	if err != nil {
		return nil, err
	}

	name := "annals-pg-" + randomHex(8)
	password := randomHex(16)
	args := []string{
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
		"-c", "cluster_name=" + name,
	}
	for _, setting := range cfg.settings {
		args = append(args, "-c", setting)
	}
	super, err := supervise(account, bin, name, password, cfg.bases, ports, args)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	w := waiter{super: super, name: name, password: password, account: account, bases: cfg.bases, event: cfg.event}
	if err := w.ready(ctx); err != nil {
		if left := super.close(); left != nil {
			return nil, fmt.Errorf("%w; %w", err, left)
		}
		return nil, err
	}
	return &Server{URL: w.url(), Dir: w.dir, stop: super.close}, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// waiter follows the events of a supervisor until its server answers.
type waiter struct {
	super    *supervisor
	name     string
	password string
	account  *account
	bases    []string
	event    func(string) // may be nil

	dir    string
	port   int // 0 until the server is started
	failed string
	log    []string
}

func (w *waiter) url() string {
	return fmt.Sprintf("postgres://postgres:%s@127.0.0.1:%d/postgres?sslmode=disable", w.password, w.port)
}

func (w *waiter) ready(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	last := errors.New("initdb has not ended")
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the first answer: %w (last: %s)", ctx.Err(), oneLine(last.Error()))
		case e, ok := <-w.super.events:
			if !ok {
				return w.failure()
			}
			if w.event != nil {
				w.event(e)
			}
			if err := w.take(e); err != nil {
				return err
			}
		case <-tick.C:
			if w.port == 0 {
				continue
			}
			if last = w.ping(ctx); last == nil {
				return nil
			}
		}
	}
}

func (w *waiter) take(event string) error {
	kind, value, _ := strings.Cut(event, " ")
	switch kind {
	case "nobase":
		return fmt.Errorf("make a directory: %s can write to none of %s", w.account, strings.Join(w.bases, ", "))
	case "dir":
		w.dir = value
	case "port":
		port, err := strconv.Atoi(value)
		if err != nil {
			return fmt.Errorf("read event %q: %w", event, err)
		}
		w.port = port
	case "failed":
		w.failed = value
		w.port = 0 // whoever answers there now is not ours
	case "log":
		w.log = append(w.log, value)
	}
	return nil
}

// failure describes why the supervisor ended by itself.
func (w *waiter) failure() error {
	switch w.failed {
	case "":
		return errors.New("run supervisor: /bin/sh ended without a reason")
	case "initdb":
		return fmt.Errorf("run initdb: %s", logEnd(w.log))
	default:
		return fmt.Errorf("run server: %s", logEnd(w.log))
	}
}

// ping returns nil when the server on the port is ours and answers. The port alone proves nothing: another process
// may have taken it. SCRAM makes that server prove that it knows the password, and does not tell it.
func (w *waiter) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	cfg, err := pgx.ParseConfig(w.url())
	if err != nil {
		return err
	}
	cfg.RequireAuth = "scram-sha-256"
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var name string
	if err := conn.QueryRow(ctx, "SELECT current_setting('cluster_name')").Scan(&name); err != nil {
		return err
	}
	if name != w.name {
		return fmt.Errorf("port %d belongs to another server", w.port)
	}
	return nil
}

// logEnd returns the last lines of a log as one line.
func logEnd(lines []string) string {
	const keep = 5
	var kept []string
	for _, line := range lines {
		if line = strings.TrimSpace(line); line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		return "ended without a message"
	}
	return strings.Join(kept[max(0, len(kept)-keep):], "; ")
}

// oneLine joins the lines of a message that came from elsewhere.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
