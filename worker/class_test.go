package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

type classifier func(error) Class

func (f classifier) Classify(err error) Class { return f(err) }

// uncomparable is an error that panics when it is compared.
type uncomparable []string

func (u uncomparable) Error() string { return strings.Join(u, " ") }

func TestClassOrder(t *testing.T) {
	t.Parallel()
	says := func(c Class) func(error) Class { return func(error) Class { return c } }
	plain := errors.New("no")
	for name, c := range map[string]struct {
		err   error
		user  func(error) Class
		store Classifier
		want  Class
	}{
		"nil":                    {nil, says(ClassPermanent), classifier(says(ClassPermanent)), Unclassified},
		"default":                {plain, nil, nil, ClassTransient},
		"deadline":               {context.DeadlineExceeded, nil, nil, ClassTransient},
		"mark before user":       {Systemic(plain), says(ClassPermanent), nil, ClassSystemic},
		"mark below a wrap":      {fmt.Errorf("apply: %w", Permanent(plain)), says(ClassTransient), nil, ClassPermanent},
		"outermost mark":         {Transient(fmt.Errorf("apply: %w", Permanent(plain))), nil, nil, ClassTransient},
		"first of joined":        {errors.Join(plain, Systemic(plain), Permanent(plain)), nil, nil, ClassSystemic},
		"mark of an event":       {&EventError{Index: 1, Err: Permanent(plain)}, nil, nil, ClassPermanent},
		"user before store":      {plain, says(ClassPermanent), classifier(says(ClassSystemic)), ClassPermanent},
		"user does not know":     {plain, says(Unclassified), classifier(says(ClassSystemic)), ClassSystemic},
		"store":                  {plain, nil, classifier(says(ClassPermanent)), ClassPermanent},
		"store does not know":    {plain, nil, classifier(says(Unclassified)), ClassTransient},
		"no class":               {plain, says(99), nil, ClassTransient},
		"panic":                  {&PanicError{Value: 1}, says(ClassTransient), nil, ClassPermanent},
		"panic marked":           {Transient(&PanicError{Value: 1}), nil, nil, ClassTransient},
		"panic with a mark":      {&PanicError{Value: Transient(plain)}, nil, nil, ClassPermanent},
		"breaker":                {fmt.Errorf("call: %w", ErrOpen), says(ClassPermanent), nil, ClassSystemic},
		"mark of an odd error":   {Permanent(uncomparable{"a"}), nil, nil, ClassPermanent},
		"mark after end of time": {Permanent(context.DeadlineExceeded), nil, nil, ClassPermanent},
	} {
		if got := (Retry{Classify: c.user}).class(c.err, c.store); got != c.want {
			t.Errorf("%s: class = %v, want %v", name, got, c.want)
		}
	}
}

func TestMarks(t *testing.T) {
	t.Parallel()
	for name, mark := range map[string]func(error) error{"Transient": Transient, "Permanent": Permanent, "Systemic": Systemic} {
		err := mark(io.EOF)
		if mark(nil) != nil || err.Error() != "EOF" || !errors.Is(err, io.EOF) {
			t.Errorf("%s(EOF) = %v, want EOF within, and nil of nil", name, err)
		}
		if odd := mark(uncomparable{"a"}); errors.Is(odd, mark(uncomparable{"a"})) {
			t.Errorf("%s: two marks are the same error", name)
		}
		if want := name == "Permanent"; IsPermanent(err) != want {
			t.Errorf("IsPermanent(%s) = %v, want %v", name, !want, want)
		}
	}
	if IsPermanent(nil) || IsPermanent(io.EOF) || IsPermanent(Transient(Permanent(io.EOF))) {
		t.Error("IsPermanent of what is not")
	}
	var names []string
	for c := Unclassified; c <= 4; c++ {
		names = append(names, c.String())
	}
	if got, want := strings.Join(names, ", "), "unclassified, transient, permanent, systemic, class 4"; got != want {
		t.Errorf("classes are %s, want %s", got, want)
	}
}

func TestEventError(t *testing.T) {
	t.Parallel()
	err := &EventError{Index: 3, Err: io.EOF}
	if want := "event 3 of the batch: EOF"; err.Error() != want || !errors.Is(err, io.EOF) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPanicsBecomeErrors(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(func() error) error{"Safely": Safely, "Guard": Guard} {
		for want, fn := range map[string]func() error{
			"panic: poison":                         func() error { panic("poison") },
			"panic: two lines and all":              func() error { panic("two\nlines\r\nand\rall") },
			"panic: EOF":                            func() error { panic(io.EOF) },
			"panic: panic called with nil argument": func() error { panic(nil) }, //nolint:govet // on purpose
		} {
			err := call(fn)
			p, ok := errors.AsType[*PanicError](err)
			if !ok || !IsPermanent(err) || err.Error() != want {
				t.Errorf("%s = %v, want %s, permanent", name, err, want)
				continue
			}
			if !strings.Contains(string(p.Stack), "TestPanicsBecomeErrors.func") {
				t.Errorf("%s: the stack does not show who panicked: %s", name, p.Stack)
			}
			if is := errors.Is(err, io.EOF); is != (want == "panic: EOF") {
				t.Errorf("%s: %v matches EOF: %v", name, err, is)
			}
		}
		if err := call(func() error { return io.EOF }); err != io.EOF { //nolint:errorlint // as it is
			t.Errorf("%s = %v, want EOF as it is", name, err)
		}
		if err := call(func() error { return nil }); err != nil {
			t.Errorf("%s = %v, want nil", name, err)
		}
	}
}

func exits() error {
	runtime.Goexit()
	return nil
}

func TestGuardSurvivesGoexit(t *testing.T) {
	t.Parallel()
	err := Guard(exits)
	p, ok := errors.AsType[*PanicError](err)
	if want := "panic: runtime.Goexit was called"; !ok || err.Error() != want || !IsPermanent(err) {
		t.Fatalf("Guard = %v, want %s, permanent", err, want)
	}
	if !strings.Contains(string(p.Stack), "worker.exits") {
		t.Errorf("the stack does not show who ended the goroutine: %s", p.Stack)
	}
}

// The difference is paid once per batch.
func BenchmarkGuard(b *testing.B) {
	fn := func() error { return nil }
	b.Run("safely", func(b *testing.B) {
		for b.Loop() {
			_ = Safely(fn)
		}
	})
	b.Run("guard", func(b *testing.B) {
		for b.Loop() {
			_ = Guard(fn)
		}
	})
}
