package avrointerop

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
)

var child = flag.String("child", "", "library/case: what TestChild does, in a process that it may end")

// dangers are what no test can do in its own process.
var dangers = map[string]func(library) error{
	// Six bytes: an array of 2^40 items, and nothing behind.
	"six bytes": func(l library) error {
		s := record(field("v", `{"type":"array","items":"long"}`))
		return l.decode(s, s, bytesOf(1<<40), new(struct {
			V []int64 `avro:"v"`
		}))
	},
	// CVE-2026-46385: a count that nothing bounds, in a field that the reader leaves out.
	"endless loop": func(l library) error {
		w := record(field("gone", `{"type":"map","values":"int"}`), field("v", `"long"`))
		return l.decode(w, record(field("v", `"long"`)), bytesOf(1<<62), new(struct {
			V int64 `avro:"v"`
		}))
	},
	// No hostile bytes at all: a list by reference gets a field with a default.
	"recursive schema": func(l library) error {
		var v struct {
			V tree `avro:"v"`
		}
		return l.decode(record(field("v", nodeType)), record(field("v", treeType)), bytesOf(1, 0), &v)
	},
}

// TestChild does nothing unless a test has started it in a process of its own.
func TestChild(t *testing.T) { //nolint:paralleltest // alone in its process, whose limits it sets
	if *child == "" {
		return
	}
	name, danger, _ := strings.Cut(*child, "/")
	debug.SetMaxStack(64 << 20)
	limit(t, syscall.RLIMIT_AS, addressSpace(t)+512<<20)
	limit(t, syscall.RLIMIT_CPU, 2+cpuSeconds(t))
	for _, l := range readers(t) {
		if l.name == name {
			fmt.Printf("result: %v\n", dangers[danger](l))
		}
	}
}

func limit(t *testing.T, resource int, to uint64) {
	t.Helper()
	if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: to, Max: to}); err != nil {
		t.Fatal(err)
	}
}

// addressSpace returns how much the process has, in bytes.
func addressSpace(t *testing.T) uint64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	var pages uint64
	if _, err := fmt.Sscan(string(text), &pages); err != nil {
		t.Fatal(err)
	}
	return pages * uint64(os.Getpagesize())
}

func cpuSeconds(t *testing.T) uint64 {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return uint64(used.Utime.Sec + used.Stime.Sec)
}

// inChild returns what the process said, and how it ended.
func inChild(t *testing.T, library, danger string) (said string, end *os.ProcessState) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.timeout=2m", "-child="+library+"/"+danger)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), c.ProcessState
}

// TestHambaDies: bytes, and a schema, that end a process that reads them with hamba,
// whatever it has recovered. Ours answers at once, within 512 MiB more than it had and two
// seconds of a processor, which the kernel sees to.
func TestHambaDies(t *testing.T) {
	t.Parallel()
	for danger, want := range map[string]struct{ hamba, ours string }{
		"six bytes":        {"fatal error: out of memory", "exceeds remaining buffer length"},
		"endless loop":     {"", "exceeds remaining buffer length"},
		"recursive schema": {"stack overflow", "result: <nil>"},
	} {
		t.Run(danger, func(t *testing.T) {
			t.Parallel()
			said, end := inChild(t, "twmb", danger)
			if !end.Success() || !strings.Contains(said, want.ours) {
				t.Errorf("twmb: it ended with %v, want %q in:\n%.2000s", end, want.ours, said)
			}
			said, end = inChild(t, "hamba", danger)
			if end.Success() || !strings.Contains(said, want.hamba) || strings.Contains(said, "result:") {
				t.Errorf("hamba: it ended with %v, want %q in:\n%.2000s", end, want.hamba, said)
			}
			t.Logf("hamba: %v", end)
		})
	}
}
