package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/pflag"
)

// usageError is a wrong use of a command: exit code 2.
type usageError struct{ cause error }

func (e *usageError) Error() string { return clean(e.cause.Error()) }
func (e *usageError) Unwrap() error { return e.cause }

func usage(err error) error {
	if errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return &usageError{err}
}

// failure is an error with a text that is fit to be printed.
type failure struct {
	text  string
	cause error
}

func (e *failure) Error() string { return e.text }
func (e *failure) Unwrap() error { return e.cause }

// report makes the text of an error one line without secrets and without
// characters that a terminal acts on. A closed pipe is no error: the reader has
// seen what it wanted.
func (a *app) report(err error) error {
	var wrong *usageError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE), errors.Is(err, io.ErrClosedPipe):
		return nil
	case errors.As(err, &wrong):
		return err
	}
	text := err.Error()
	var parse *pgconn.ParseConfigError
	if errors.As(err, &parse) {
		// pgx masks passwords only as far as it can tell the parts of a string
		// that it could not parse, so none of its text is used.
		text = strings.ReplaceAll(text, parse.Error(), errUnreadable.Error())
	}
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		text = strings.ReplaceAll(text, connect.Error(), "connect to database: "+lines(connect.Unwrap().Error()))
	}
	return &failure{clean(a.hide(text)), err}
}

// hide takes the secrets out of a text.
func (a *app) hide(text string) string {
	for _, s := range a.secrets {
		text = strings.ReplaceAll(text, s, mask)
	}
	return text
}

// explain adds the flag to an error that the flag has caused.
func (a *app) explain(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w (--timeout is %v)", err, a.timeout)
	}
	return err
}

const (
	mask       = "xxxxx"
	exampleURL = "postgres://user:password@host:port/database"
	// exampleUser begins the example of a registry.
	exampleUser = "https://user:password@"
)

var (
	// Up to the last @, because a password may hold spaces, then the host.
	connectionURL = regexp.MustCompile(`(?i)postgres(ql)?://(.*@)?[^\s"]*`)
	// The user of any other URL, such as that of a registry.
	userOfURL     = regexp.MustCompile(`(?i)https?://[^\s"]*@`)
	passwordSet   = regexp.MustCompile(`(?i)password\s*=\s*('[^']*'|[^\s"]+)`)
	errUnreadable = errors.New("connection string cannot be read (it is not shown, because of its password), want " + exampleURL)
	errAmbiguous  = errors.New("connection string is ambiguous (it is not shown, because of its password), write @ / ? in user and password as %40 %2F %3F")
	errNoDatabase = errors.New("no database, set --database-url or the environment variable DATABASE_URL to " + exampleURL)
)

// clean makes a text one line that holds no connection string, not even one
// that the user typed in the place of something else.
func clean(text string) string {
	text = connectionURL.ReplaceAllStringFunc(lines(text), func(url string) string {
		if url == exampleURL {
			return url
		}
		return "postgres://" + mask
	})
	text = userOfURL.ReplaceAllStringFunc(text, func(user string) string {
		if user == exampleUser {
			return user
		}
		return "https://" + mask + "@"
	})
	text = passwordSet.ReplaceAllLiteralString(text, "password="+mask)
	return escape(text)
}

// lines joins the lines of a text; pgx repeats one for each way it tried.
func lines(text string) string {
	var all []string
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(all, line) {
			all = append(all, line)
		}
	}
	return strings.Join(all, "; ")
}
