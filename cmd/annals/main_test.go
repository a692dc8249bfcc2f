package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/annals-go/annals/postgres/postgrestest"
)

// TestMain is annals itself when a test starts it again.
func TestMain(m *testing.M) {
	if os.Getenv("ANNALS_TEST_MAIN") == "1" {
		main()
	}
	os.Exit(m.Run())
}

func annals(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "ANNALS_TEST_MAIN=1")
	return cmd
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want int
	}{
		{[]string{"version"}, 0},
		{[]string{"migrate", "--database-url", "postgres://app@127.0.0.1:1/shop"}, 1},
		{[]string{"log", "--limit", "0"}, 2},
	} {
		cmd := annals(t, c.args...)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != c.want {
			t.Errorf("annals %q: exit code %d, want %d\n%s", c.args, cmd.ProcessState.ExitCode(), c.want, out)
		}
	}
}

func TestFollowEndsOnInterrupt(t *testing.T) {
	t.Parallel()
	endsOn(t, os.Interrupt, "POSITION ", "", "log", "--follow", "--database-url", postgrestest.URL(t))
}

func TestServeEndsOnTerminate(t *testing.T) {
	t.Parallel()
	endsOn(t, syscall.SIGTERM, "http://127.0.0.1:", "a schema registry for development, ", "schema", "serve", "--listen", "127.0.0.1:0")
}

// endsOn sends annals a signal after its first line, and wants a good end.
func endsOn(t *testing.T, sig os.Signal, line, told string, args ...string) {
	t.Helper()
	cmd := annals(t, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	first, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(first, line) {
		t.Fatalf("first line %q, %v: %s", first, err, stderr.String())
	}
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.HasPrefix(stderr.String(), told) || strings.Count(stderr.String(), "\n") > 1 || told == "" && stderr.Len() > 0 {
		t.Errorf("annals %q: %v %q, want a quiet end", args, err, stderr.String())
	}
}

func TestBrokenPipeIsQuiet(t *testing.T) {
	t.Parallel()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	cmd := annals(t, "migrate", "--print")
	var stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = w, &stderr
	_ = cmd.Run() // by a signal, as every program that writes to a closed pipe
	_ = w.Close()
	if stderr.Len() > 0 {
		t.Errorf("stderr = %q, want nothing", stderr.String())
	}
}
