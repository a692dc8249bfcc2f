//go:build unix

package harness_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/crash"
	"github.com/annals-go/annals/internal/harness"
	"github.com/annals-go/annals/internal/oracle"
)

func TestMain(m *testing.M) {
	harness.Main(map[string]harness.Mode{"append": appendOne, "fail": fail})
	os.Exit(m.Run())
}

type appendArgs struct{ Answer bool }

var orders = event.Stream{Category: "order", ID: "o-1"}

// appendOne tells of an append, and of its answer if it shall.
func appendOne(ctx context.Context, to *oracle.Recorder, args json.RawMessage) error {
	var a appendArgs
	if err := json.Unmarshal(args, &a); err != nil {
		return err
	}
	op := to.Begin(eventstore.Write{Stream: orders, Events: []event.Raw{{Name: "order.noted", Metadata: event.Metadata{ID: event.NewID()}}}})
	crash.At("harness.begun")
	if a.Answer {
		op.End([]eventstore.Result{{Version: 1, Position: 1}}, nil)
	}
	to.Tell("done", a)
	<-ctx.Done()
	return nil
}

func fail(context.Context, *oracle.Recorder, json.RawMessage) error { return errors.New("no reason") }

// started returns a child that has told that it is done.
func started(t *testing.T, h *oracle.History, c harness.Command) *harness.Child {
	t.Helper()
	told := make(chan string, 1)
	c.Told = func(kind string, data json.RawMessage) { told <- kind + string(data) }
	child, err := harness.Start(h, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = child.Kill() })
	if got := <-told; !strings.HasPrefix(got, "done") {
		t.Errorf("told %q, want done", got)
	}
	return child
}

func TestHistoryOutlivesItsProcess(t *testing.T) {
	t.Parallel()
	h := oracle.New()
	for _, answer := range []bool{true, false} {
		child := started(t, h, harness.Command{Mode: "append", Args: appendArgs{answer}})
		if err := child.Kill(); err != nil {
			t.Error(err)
		}
	}
	if got, want := h.Counts(), (oracle.Counts{Acked: 1, Unknown: 1, Events: 1}); got != want {
		t.Errorf("Counts = %+v, want %+v", got, want)
	}
}

func TestChildrenAreStoppedAndGoOn(t *testing.T) {
	t.Parallel()
	child := started(t, oracle.New(), harness.Command{Mode: "append"})
	for _, s := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
		if err := child.Signal(s); err != nil {
			t.Error(err)
		}
	}
	if err := child.Kill(); err != nil || child.Kill() != nil {
		t.Error(err)
	}
}

func TestCrashPoint(t *testing.T) {
	t.Parallel()
	program, err := harness.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	h := oracle.New()
	child, err := harness.Start(h, harness.Command{Program: program, Mode: "append", Args: appendArgs{true}, Crash: "harness.begun:1"})
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err != nil { // it ends itself
		t.Error(err)
	}
	if got, want := h.Counts(), (oracle.Counts{Unknown: 1}); got != want {
		t.Errorf("Counts = %+v, want %+v", got, want)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for mode, want := range map[string]string{"fail": "child fail: exit status 1: no reason", "fly": `child fly: exit status 1: no mode "fly"`} {
		child, err := harness.Start(oracle.New(), harness.Command{Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Wait(); err == nil || err.Error() != want {
			t.Errorf("Wait = %v, want %s", err, want)
		}
	}
	for want, c := range map[string]harness.Command{
		"start append: fork/exec /nowhere: no such file or directory": {Program: "/nowhere", Mode: "append"},
		"start append: json: unsupported type: chan int":              {Mode: "append", Args: make(chan int)},
	} {
		if _, err := harness.Start(oracle.New(), c); err == nil || err.Error() != want {
			t.Errorf("Start = %v, want %s", err, want)
		}
	}
	if _, err := harness.Build(t.Context(), "/dev/null"); err == nil || !strings.HasPrefix(err.Error(), "build a child: exit status 1: ") {
		t.Errorf("Build = %v", err)
	}
}
