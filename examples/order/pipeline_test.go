package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

func TestConnectErrors(t *testing.T) {
	s := openShop(t)
	input := s.orderFile("orders.csv", row("1", 1, "1", "Malta"))
	for _, tt := range []struct{ name, value, want string }{
		{"DATABASE_URL", "postgres://127.0.0.1:1/x?pool_max_conns=0", "connect to postgres: cannot parse `postgres://127.0.0.1:1/x?pool_max_conns=0`: pool_max_conns too small"},
		{"DATABASE_URL", "postgres://127.0.0.1:x/x", "start postgres: read DATABASE_URL: cannot parse"},
		{"DATABASE_URL", "postgres://shop@127.0.0.1:1/x", "migrate schema annals: failed to connect to `user=shop database=x`:"},
		{"KAFKA_BROKERS", "localhost", `start broker: read KAFKA_BROKERS: "localhost" is not host:port`},
		{"KAFKA_BROKERS", "127.0.0.1:1", "create topic shop.order: unable to dial: dial tcp 127.0.0.1:1: connect: connection refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(tt.name, tt.value)
			out := run(t.Context(), s.args(input)...)
			if out.err == nil || !strings.HasPrefix(out.err.Error(), tt.want) {
				t.Errorf("%s=%s: error = %v, want %s", tt.name, tt.value, out.err, tt.want)
			}
			s.wantFiles("orders.csv")
		})
	}
}

func TestPublished(t *testing.T) {
	t.Parallel()
	ids := map[string]bus.Topic{"shop.order": {ID: "new"}, "shop.return": {ID: "same"}}
	mark := func(p event.Position, source string) worker.Mark { return worker.Mark{Position: p, Source: source} }
	for _, tt := range []struct {
		name string
		c    worker.Checkpoint
		head event.Position
		want bool
	}{
		{"empty log", nil, 0, true},
		{"relay has not begun", nil, 7, false},
		{"all there", worker.Checkpoint{"": mark(7, ""), "order/shop.order": mark(7, "new"), "return/shop.return": mark(7, "same")}, 7, true},
		{"head was passed", worker.Checkpoint{"": mark(9, ""), "order/shop.order": mark(9, "new")}, 7, true},
		{"log is behind", worker.Checkpoint{"": mark(6, ""), "order/shop.order": mark(6, "new")}, 7, false},
		{"refill is behind", worker.Checkpoint{"": mark(7, ""), "order/shop.order": mark(3, "new"), "return/shop.return": mark(7, "same")}, 7, false},
		{"mark of a deleted topic", worker.Checkpoint{"": mark(7, ""), "order/shop.order": mark(7, "old"), "return/shop.return": mark(7, "same")}, 7, false},
		{"topic of somebody else", worker.Checkpoint{"": mark(7, ""), "ticket/desk.ticket": mark(7, "any")}, 7, true},
		{"category held back", worker.Checkpoint{"": mark(7, ""), "ticket/": mark(7, "")}, 7, true},
	} {
		if got := published(tt.c, tt.head, ids); got != tt.want {
			t.Errorf("%s: published = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWriteAtomically(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "report.csv")
	for _, text := range []string{"first\n", "second\n"} {
		if err := writeAtomically(path, func(w io.Writer) error { _, err := io.WriteString(w, text); return err }); err != nil {
			t.Fatal(err)
		}
		if got := read(t, path); got != text {
			t.Errorf("content = %q, want %q", got, text)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := info.Mode().Perm(), os.FileMode(0o644); got != want {
		t.Errorf("mode = %v, want %v", got, want)
	}
}

func TestWriteAtomicallyErrors(t *testing.T) {
	t.Parallel()
	s := newShop(t, "")
	before := s.file("report.csv", "before\n")
	occupied := filepath.Join(s.dir, "directory")
	if err := os.Mkdir(occupied, 0o700); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(s.dir, "none", "report.csv")
	nothing := func(io.Writer) error { return nil }
	for _, tt := range []struct {
		path  string
		write func(io.Writer) error
		want  string
	}{
		{nowhere, nothing, "write " + nowhere + ": open " + filepath.Dir(nowhere)},
		{before, func(io.Writer) error { return errors.New("no row") }, "no row"},
		{before, func(w io.Writer) error { return w.(*os.File).Close() }, "write " + before + ": chmod "},
		{occupied, nothing, "write " + occupied + ": rename "},
	} {
		err := writeAtomically(tt.path, tt.write)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("error = %v, want %s", err, tt.want)
		}
	}
	if got := read(t, before); got != "before\n" {
		t.Errorf("content = %q, want that of before", got)
	}
	s.wantFiles("directory", "report.csv")
}

func TestSummaryThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	err := (&totals{}).write(full{}, &importJob{}, newMeter())
	if want := "write summary: disk is full"; err == nil || err.Error() != want {
		t.Errorf("error = %v, want %s", err, want)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, fmt.Errorf("disk is full") }
