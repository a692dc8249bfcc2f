//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// helperEnv makes the test binary a program that starts a server and ends in the way that the value names.
const helperEnv = "ANNALS_DEVENV_HELPER"

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperEnv); mode != "" {
		helper(mode)
		return
	}
	os.Exit(m.Run())
}

// helper prints the directory of its server as soon as it exists, and "ready" when the server answers.
func helper(mode string) {
	// A child that outlives us shows that the pipe to the supervisor is not inherited.
	child := exec.Command("cat")
	child.Stdin = os.Stdin
	fatal(child.Start())

	server, err := Postgres(context.Background(), hermetic(nil), onEvent(func(event string) {
		if dir, ok := strings.CutPrefix(event, "dir "); ok {
			fmt.Println(dir)
		}
	}))
	fatal(err)
	late := exec.Command("cat")
	late.Stdin = os.Stdin
	fatal(late.Start())
	fmt.Println("ready")

	switch mode {
	case "panic":
		panic("helper")
	case "exit":
		os.Exit(3)
	case "return":
		return
	case "close":
		fatal(server.Close())
	default:
		io.Copy(io.Discard, os.Stdin)
	}
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// hermetic hides the environment of the test run, except for PATH, and shows env instead.
func hermetic(env map[string]string) Option {
	return optionFunc(func(c *config) {
		c.getenv = func(key string) string {
			if value, ok := env[key]; ok || key != "PATH" {
				return value
			}
			return os.Getenv("PATH")
		}
	})
}

func onEvent(f func(string)) Option {
	return optionFunc(func(c *config) { c.event = f })
}

// run starts a server for the test and closes it after.
func run(t *testing.T, opts ...Option) *Server {
	t.Helper()
	server, err := Postgres(t.Context(), append([]Option{hermetic(nil), WithoutFsync()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server
}

// query returns the one text that a statement selects.
func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var got string
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatal(err)
	}
	return got
}

// openDir returns a directory that the account of the server can enter; those of t.TempDir are closed to it.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "annals-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// processes returns the command lines that contain a text.
func processes(t *testing.T, text string) []string {
	t.Helper()
	var lines []string
	if files, _ := filepath.Glob("/proc/[0-9]*/cmdline"); len(files) > 0 {
		for _, file := range files {
			// A process that has gone since has no line.
			b, _ := os.ReadFile(file)
			lines = append(lines, strings.ReplaceAll(string(b), "\x00", " "))
		}
	} else {
		out, err := exec.Command("ps", "-A", "-ww", "-o", "args=").Output()
		if err != nil {
			t.Fatal(err)
		}
		lines = strings.Split(string(out), "\n")
	}
	var found []string
	for _, line := range lines {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// eventually polls until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-deadline:
			t.Fatalf("still not so after 20s: %s", what)
		case <-tick.C:
		}
	}
}

// left returns what is left of the server in dir.
func left(t *testing.T, dir string) []string {
	t.Helper()
	found := processes(t, filepath.Base(dir))
	if _, err := os.Lstat(dir); err == nil {
		found = append(found, dir)
	}
	return found
}
