//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
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
	j, err := cfg.job(ctx, account)
	if err != nil {
		return nil, err
	}
	ports, err := cfg.ports()
	if err != nil {
		return nil, err
	}
	super, err := supervise(account, j, cfg.bases, ports)
	if err != nil {
		return nil, err
	}

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	w := waiter{super: super, job: j, account: account, bases: cfg.bases, event: cfg.event}
	if err := w.ready(ctx); err != nil {
		if left := super.close(); left != nil {
			return nil, fmt.Errorf("%w; %w", err, left)
		}
		return nil, err
	}
	return &Server{URL: w.url(), Dir: w.dir, stop: super.close, kill: w.kill, start: w.again}, nil
}

// job is the server that the configuration asks for.
func (c *config) job(ctx context.Context, account *account) (job, error) {
	j := job{kind: c.kind, name: "annals-pg-" + randomHex(8), password: randomHex(16), user: "postgres", tls: c.tls}
	var err error
	switch c.kind {
	case kindPgBouncer:
		j.user, j.args = "annals", c.settings
		j.bin, err = findPgBouncer(c)
	default:
		j.args = []string{
			"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
			"-c", "cluster_name=" + j.name,
		}
		if c.tls != nil { // the paths begin at the directory of the data
			j.args = append(j.args, "-c", "ssl=on", "-c", "ssl_cert_file=../tls.pem", "-c", "ssl_key_file=../tls.pem")
		}
		for _, setting := range c.settings {
			j.args = append(j.args, "-c", setting)
		}
		j.bin, err = findBinaries(ctx, c, account)
	}
	if err != nil || c.upstream == nil {
		return j, err
	}
	j.upstream = fmt.Sprintf("host='%s' port='%d' user='%s'", c.upstream.Host, c.upstream.Port, c.upstream.User)
	if c.kind == kindPgBouncer {
		j.upstream += " password='" + strings.ReplaceAll(c.upstream.Password, "'", "''") + "'"
		return j, nil
	}
	if real, err := filepath.EvalSymlinks(filepath.Join(j.bin, "postgres")); err == nil && !holds(j.bin, "pg_basebackup") {
		j.bin = filepath.Dir(real) // a directory of links may have some of the programs alone
	}
	if !holds(j.bin, "pg_basebackup") {
		return j, fmt.Errorf("copy the primary: %s does not hold pg_basebackup", j.bin)
	}
	j.user, j.password = c.upstream.User, c.upstream.Password // copied with everything else
	return j, nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// waiter follows the events of a supervisor until its server answers.
type waiter struct {
	super   *supervisor
	job     job
	account *account
	bases   []string
	event   func(string) // may be nil

	dir    string
	port   int // 0 until the server is started
	failed string
	log    []string
}

func (w *waiter) url() string {
	mode := "disable"
	if w.job.tls != nil {
		mode = "require"
	}
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=%s", w.job.user, url.QueryEscape(w.job.password), w.port, mode)
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
	default:
		return fmt.Errorf("run %s: %s", w.failed, logEnd(w.log))
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
	if w.job.kind == kindPgBouncer { // and so the server behind it answers too
		return conn.Ping(ctx)
	}
	var name string
	if err := conn.QueryRow(ctx, "SELECT current_setting('cluster_name')").Scan(&name); err != nil {
		return err
	}
	if name != w.job.name {
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
