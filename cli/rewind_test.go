package cli_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/devenv/broker"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/projection"
	"github.com/annals-go/annals/worker"
)

type anOrder struct{}

var (
	orders = codec.JSON(codec.Types[anOrder]{"order.placed": anOrder{}})
	// totals does nothing with what it is given.
	totals = projection.New("totals", projection.On(orders, func(context.Context, pgx.Tx, event.Of[anOrder]) error { return nil }))
)

// lost is a store that was set back: its readers elsewhere were given 5 events, of
// which it has 3, and two others in the place of the rest.
type lost struct {
	url, elsewhere string
	db, models     *postgres.DB
	client         *kgo.Client
	brokers        string
}

func newLost(t *testing.T) lost {
	t.Helper()
	var l lost
	l.url, l.db = database(t)
	l.elsewhere, l.models = database(t)
	b, err := broker.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	l.brokers = strings.Join(b.Seeds, ",")
	if l.client, err = kafka.NewClient(kgo.SeedBrokers(b.Seeds...)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.client.Close)
	for i := range 5 {
		appendTo(t, l.db, "order-1", placed(fmt.Sprintf(`{"a":%d}`, i)))
		if i == 2 || i == 4 {
			l.catchUp(t)
		}
	}
	return l
}

func (l lost) joined() worker.Store[pgx.Tx] { return worker.Join(l.db, worker.Store[pgx.Tx](l.models)) }

func (l lost) relay() *bus.Relay {
	return bus.NewRelay(l.db, kafka.NewPublisher(l.client), bus.WithOtherTopics(bus.Contract{Partitions: 1}))
}

func (l lost) catchUp(t *testing.T) {
	t.Helper()
	if err := totals.CatchUp(t.Context(), l.joined()); err != nil {
		t.Fatal(err)
	}
	if err := l.relay().Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// setBack does what a restore does: the log, and the checkpoints beside it, are as
// they were at position 3, on another timeline, and the log goes on from there.
func (l lost) setBack(t *testing.T) {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), l.url)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for _, sql := range []string{
		`DELETE FROM annals.events WHERE position > 3`,
		`ALTER SEQUENCE annals.events_position_seq RESTART WITH 4`,
		`UPDATE annals.lineage SET server = 'the server of before'`,
		`UPDATE annals.checkpoints SET server = 'the server of before', position = 3, digest = substr(trail, 9, 16), trail = substr(trail, 1, 24) WHERE part = ''`,
		`UPDATE annals.checkpoints SET position = 3 WHERE part <> ''`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	seal(t, pool, "relay/main")
	there, err := pgxpool.New(t.Context(), l.elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	if _, err := there.Exec(t.Context(), `UPDATE annals.checkpoints SET server = 'elsewhere the server of before' WHERE part = ''`); err != nil {
		t.Fatal(err)
	}
	seal(t, there, "projection/totals")
	for i := range 2 {
		appendTo(t, postgres.New(pool), "order-1", placed(fmt.Sprintf(`{"b":%d}`, i)))
	}
}

// seal makes marks that a test has changed look like those of a worker.
func seal(t *testing.T, pool *pgxpool.Pool, name string) {
	t.Helper()
	var altered *worker.AlteredError
	_, err := postgres.New(pool).Checkpoint(t.Context(), name)
	for errors.As(err, &altered) {
		seal := worker.Seal(name, altered.Part, altered.Mark)
		if _, err := pool.Exec(t.Context(), `UPDATE annals.checkpoints SET seal = $3 WHERE name = $1 AND part = $2`, name, altered.Part, seal[:]); err != nil {
			t.Fatal(err)
		}
		_, err = postgres.New(pool).Checkpoint(t.Context(), name)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDoctorAndRewind(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	check(t, run(t, l.url, []string{"rewind", "projection/totals", "--to", "0", "--elsewhere", l.elsewhere}), result{Code: 1, Stderr: "annals: rewind projection/totals to position 0: nothing has diverged (--force sets it back all the same)\n"})
	l.setBack(t)

	got := run(t, l.url, []string{"doctor", "--elsewhere", l.elsewhere})
	want := "readers     wrong  projection/totals was given positions 4 to 5, which the store does not have or has others at: stop it, empty its read model, and run: annals rewind projection/totals --to 0; or restore its read model as it was at position 3, and run it with --to 3\n"
	if got.Code != 1 || !strings.Contains(got.Stdout, want) {
		t.Errorf("doctor = %+v", got)
	}
	check(t, run(t, l.url, []string{"rewind", "projection/totals", "--to", "4", "--elsewhere", l.elsewhere}), result{Code: 1, Stderr: "annals: rewind projection/totals to position 4: no place that the log shares: want one of 0, 3\n"})
	check(t, run(t, l.url, []string{"rewind", "projection/totals", "--to", "3", "--elsewhere", l.elsewhere}), result{Stderr: "projection/totals goes on behind position 3\n"})
	check(t, run(t, l.url, []string{"rewind", "relay/main", "--brokers", l.brokers}), result{Stderr: "relay/main begins a history that shares everything up to position 3\n"})
	l.catchUp(t)
	if got := run(t, l.url, []string{"doctor", "--elsewhere", l.elsewhere}); got.Code != 0 || !strings.Contains(got.Stdout, "readers     ok\n") {
		t.Errorf("doctor = %+v", got)
	}
	if got := run(t, l.url, []string{"verify", "--elsewhere", l.elsewhere}); got.Code != 0 || !strings.Contains(got.Stderr, " 2 checkpoints: all as it should be") {
		t.Errorf("verify = %+v", got)
	}
}

// A reader of topics goes by the history that the relay publishes in.
func TestDoctorAndRewindOfATopicsReader(t *testing.T) {
	t.Parallel()
	l := newLost(t)
	marks := worker.Checkpoint{"annals.order/0": {Position: 5, Source: "x", Offset: 5, Of: 1}}
	m := marks["annals.order/0"]
	var err error
	if m.Lineage, err = l.relay().Lineage(t.Context()); err != nil {
		t.Fatal(err)
	}
	marks["annals.order/0"] = m
	if err := l.models.Save(t.Context(), "projection/topics", worker.Term{}, worker.Write{Marks: marks}); err != nil {
		t.Fatal(err)
	}
	l.setBack(t)
	check(t, run(t, l.url, []string{"rewind", "relay/main", "--brokers", l.brokers}), result{Stderr: "relay/main begins a history that shares everything up to position 3\n"})
	got := run(t, l.url, []string{"doctor", "--elsewhere", l.elsewhere})
	want := "readers     wrong  projection/topics was given positions 4 to 5, which the store does not have or has others at (part annals.order/0): stop it, empty its read model, and run: annals rewind projection/topics\n"
	if got.Code != 1 || !strings.Contains(got.Stdout, want) {
		t.Errorf("doctor = %+v", got)
	}
	check(t, run(t, l.url, []string{"rewind", "projection/topics", "--elsewhere", l.elsewhere}), result{Stderr: "projection/topics goes on at the beginning of its topics\n"})
	if c, err := l.models.Checkpoint(t.Context(), "projection/topics"); err != nil || c["annals.order/0"].Position != 0 || c["annals.order/0"].Lineage == m.Lineage {
		t.Errorf("the mark is %+v, %v", c, err)
	}
}

func TestRewindRefuses(t *testing.T) {
	t.Parallel()
	url, db := database(t)
	for name, mark := range map[string]worker.Checkpoint{"projection/a": {"": {Position: 1}}, "relay/main": {"": {Position: 1}}, "projection/t": {"t/0": {Position: 1}}} {
		if err := db.Save(t.Context(), name, worker.Term{}, worker.Write{Marks: mark}); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		want result
	}{
		{[]string{"rewind"}, result{Code: 2, Stderr: "annals: rewind: arguments: got 0, want one NAME, such as projection/totals\n"}},
		{[]string{"rewind", "projection/none"}, result{Code: 1, Stderr: "annals: rewind projection/none: there is no such checkpoint\n"}},
		{[]string{"rewind", "projection/a"}, result{Code: 2, Stderr: "annals: rewind projection/a: it reads the log: say with --to to which position\n"}},
		{[]string{"rewind", "relay/main"}, result{Code: 2, Stderr: "annals: rewind relay/main: compare its topics with the log: name its brokers with --brokers, or the environment variable KAFKA_BROKERS\n"}},
		{[]string{"rewind", "projection/t", "--relay", "other"}, result{Code: 2, Stderr: "annals: rewind projection/t: there is no relay/other, name the one that fills its topics with --relay\n"}},
	} {
		check(t, run(t, url, c.args), c.want)
	}
}
