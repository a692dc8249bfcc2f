package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// attentionError says that somebody has to look: exit code 3.
type attentionError struct{ problems []string }

func (e *attentionError) Error() string { return "status: " + strings.Join(e.problems, "; ") }

func (a *app) status() *cobra.Command {
	return &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show how far readers are, who works for them, and what is wrong",
		Long: `Show how far readers are, who works for them, and what is wrong. NAME is one of them, such as
projection/totals, or totals if that is clear. It is read from the database, so it says the same when no worker
runs.

LAG is events of the log behind the mark; with ~ it is estimated, and for a part of a topic it is the most that
it can be. BEHIND is the age of the oldest of them. PARKED is keys that wait for somebody to decide, and keys
that are being retried.

The exit code is 3 if a reader lags and no worker has its term, is paused, has keys that wait, or has a mark
that was not written by a worker. The last line says which, and what to do.`,
		Args:         atMostOne("NAME, such as projection/totals"),
		SilenceUsage: true,
		RunE:         a.limited(a.showStatus),
	}
}

// atMostOne allows an argument to be left out.
func atMostOne(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return exactArgs(1, "at most one "+what)(cmd, args)
		}
		return nil
	}
}

func (a *app) showStatus(ctx context.Context, cmd *cobra.Command, args []string) error {
	db, done, err := a.store(ctx)
	if err != nil {
		return err
	}
	defer done()
	names, err := chosenReaders(ctx, db, args)
	if err != nil {
		return err
	}
	p := a.printer(cmd, "READER", "PART", "POSITION", "LAG", "BEHIND", "PARKED", "HOLDER", "STATE")
	var all []string
	for _, name := range names {
		s, err := db.Status(ctx, name)
		if err != nil {
			return err
		}
		for _, part := range s.Parts {
			r := newStatusRecord(s, part)
			all = append(all, r.Problems...)
			if err := p.print(r); err != nil {
				return err
			}
		}
	}
	if err := p.flush(); err != nil {
		return err
	}
	if len(all) > 0 {
		return &attentionError{all}
	}
	return nil
}

// statusRecord is how a part of a reader does.
type statusRecord struct {
	Reader       string     `json:"reader"`
	Part         string     `json:"part"`
	Position     int64      `json:"position"`
	Head         int64      `json:"head"`
	Lag          *int64     `json:"lag,omitempty"` // unknown if the log is elsewhere
	Estimated    bool       `json:"lag_estimated,omitempty"`
	Behind       float64    `json:"behind_seconds"`
	Updated      *time.Time `json:"updated,omitempty"`
	Waiting      int        `json:"waiting"`
	Retrying     int        `json:"retrying"`
	ParkedEvents int64      `json:"parked_events"`
	Oldest       float64    `json:"oldest_parked_seconds"`
	Members      []string   `json:"members"`
	Holder       string     `json:"holder"`
	Epoch        int64      `json:"epoch"`
	Live         bool       `json:"live"`
	Until        *time.Time `json:"until,omitempty"`
	Paused       string     `json:"paused,omitempty"`
	Error        string     `json:"error,omitempty"`
	ErrorTime    *time.Time `json:"error_time,omitempty"`
	Problems     []string   `json:"problems,omitempty"`
}

func newStatusRecord(s worker.Status, p worker.PartStatus) statusRecord {
	r := statusRecord{
		Reader: s.Name, Part: p.Part, Position: int64(p.Mark.Position), Head: int64(s.Head), Estimated: p.Estimated,
		Behind: p.Behind.Seconds(), Updated: orNil(p.Updated), Waiting: p.Waiting, Retrying: p.Retrying,
		ParkedEvents: p.Parked, Oldest: p.Oldest.Seconds(), Members: append([]string{}, s.Members...),
	}
	if logIsHere(s, p) {
		r.Lag = &p.Lag
	}
	if seat := seatOf(s, p); seat != nil {
		r.Holder, r.Epoch, r.Live, r.Until = seat.Holder, seat.Epoch, seat.Live, orNil(seat.Until)
		r.Paused, r.Error, r.ErrorTime = seat.Report.Paused, seat.Report.Error, orNil(seat.Report.Time)
	}
	r.Problems = problems(s, p)
	return r
}

func (r statusRecord) cells(int) []string {
	lag, behind := "-", "-"
	if r.Lag != nil {
		lag, behind = strconv.FormatInt(*r.Lag, 10), span(seconds(r.Behind))
		if r.Estimated {
			lag = "~" + lag
		}
	}
	parked := "-"
	if r.Waiting+r.Retrying > 0 {
		parked = fmt.Sprintf("%d+%d (%s, %s)", r.Waiting, r.Retrying, counted(r.ParkedEvents, "event"), span(seconds(r.Oldest)))
	}
	return []string{r.Reader, orDash(r.Part), strconv.FormatInt(r.Position, 10), lag, behind, parked, orDash(r.Holder), r.state()}
}

// state is what a person wants to know first.
func (r statusRecord) state() string {
	text := "no worker"
	switch {
	case r.Live && r.Paused != "":
		text = "paused: " + r.Paused
	case r.Live && r.Until != nil:
		text = "runs, lease until " + r.Until.UTC().Format(time.TimeOnly)
	}
	if r.Error != "" {
		text += ", last error: " + r.Error
	}
	return text
}

// seatOf returns the seat that a part is worked on under: its own, or, as with a
// relay, that of all parts together.
func seatOf(s worker.Status, p worker.PartStatus) *worker.Seat {
	if p.Seat != nil {
		return p.Seat
	}
	for _, other := range s.Parts {
		if other.Part == logPart {
			return other.Seat
		}
	}
	return nil
}

// logIsHere reports whether the lag of a part can be told.
func logIsHere(s worker.Status, p worker.PartStatus) bool {
	return s.Head > 0 && (p.Mark.Server == "" || p.Mark.Own())
}

// problems are what is wrong with a part, each with the way on.
func problems(s worker.Status, p worker.PartStatus) []string {
	var out []string
	what := s.Name
	if p.Part != logPart {
		what += " part " + p.Part
	}
	seat := seatOf(s, p)
	live := seat != nil && seat.Live
	if p.Altered != nil {
		out = append(out, p.Altered.Error())
	}
	if live && seat.Report.Paused != "" && seat.Segment == p.Part {
		out = append(out, fmt.Sprintf("%s is paused: %s: mend what it depends on (last error: %s)", what, seat.Report.Paused, seat.Report.Error))
	}
	if !live && p.Lag > 0 && logIsHere(s, p) {
		out = append(out, fmt.Sprintf("%s lags by %s and no worker has its term: start one%s", what, counted(p.Lag, "event"), lastHolder(seat)))
	}
	if p.Waiting > 0 {
		out = append(out, fmt.Sprintf("%s has %s waiting for a decision: see annals parked ls %s", what, counted(int64(p.Waiting), "key"), s.Name))
	}
	return out
}

func lastHolder(seat *worker.Seat) string {
	if seat == nil || seat.Holder == "" {
		return ""
	}
	return fmt.Sprintf(" (%s had it until %s)", seat.Holder, seat.Until.UTC().Format(time.RFC3339))
}

// workers are the findings of doctor about those who work for readers.
func workers(elsewhere *postgres.DB) func(context.Context, *postgres.DB) error {
	return func(ctx context.Context, db *postgres.DB) error {
		var found []error
		for _, keeper := range []*postgres.DB{db, elsewhere} {
			if keeper == nil {
				continue
			}
			names, err := keeper.Readers(ctx)
			if err != nil {
				return errors.Join(append(found, err)...)
			}
			for _, name := range names {
				s, err := keeper.Status(ctx, name)
				if err != nil {
					return errors.Join(append(found, err)...)
				}
				for _, p := range s.Parts {
					p.Altered = nil // a finding of readers
					for _, text := range problems(s, p) {
						found = append(found, errors.New(text))
					}
					if p.Retrying > 0 {
						found = append(found, fmt.Errorf("%s is retrying %s since %s: see annals parked ls %s", name, counted(int64(p.Retrying), "parked key"), span(p.Oldest), name))
					}
				}
			}
		}
		return errors.Join(found...)
	}
}

func orNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// span is a duration for people.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
