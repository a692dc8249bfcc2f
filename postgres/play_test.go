package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/annals-go/annals/postgres/postgrestest"
)

// playable is a script by its name, which broken and DESIGN.md use.
type playable struct {
	name  string
	play  func(*script)
	alone bool // it crashes the server, or wants settings of its own
}

// scripts are the interleavings that Annals stands.
var scripts = []playable{
	{name: "open append", play: openAppend},
	{name: "rolled-back append", play: rolledBackAppend},
	{name: "only what comes after the open append", play: onlyWhatComesAfter},
	{name: "commit at each step of the reader", play: commitAtEachStep},
	{name: "rollback at each step of the reader", play: rollbackAtEachStep},
	{name: "draw at each step of the reader", play: drawAtEachStep},
	{name: "commit inside of the bound", play: commitInsideOfBound},
	{name: "draw inside of the bound", play: drawInsideOfBound},
	{name: "draw inside of the bound of a sequence that was set", play: drawInsideOfBoundOfSetSequence},
	{name: "repeatable read by default", play: repeatableReadByDefault},
	{name: "serializable by default", play: serializableByDefault},
	{name: "append open for an hour", play: appendOpenForAnHour},
	{name: "rollback to a savepoint", play: rollbackToSavepoint},
	{name: "second append of a session", play: secondAppendOfSession},
	{name: "many appends in one transaction", play: manyAppends},
	{name: "every way in", play: everyWayIn},
	{name: "append after another write", play: appendAfterAnotherWrite},
	{name: "transaction with an older id appends later", play: olderIDAppendsLater},
	{name: "unrelated transactions", play: unrelatedTransactions},
	{name: "appends to other stores", play: otherStores},
	{name: "rivals for a stream", play: rivals},
	{name: "last position", play: lastPosition},
	{name: "hostile settings", play: hostileMark},
	{name: "sequence set, not yet drawn from", play: sequenceSet},
	{name: "thousands of appends in one transaction", play: thousandsOfAppends, alone: true},
	{name: "prepared transactions", play: preparedTransactions, alone: true},
	{name: "crash takes positions back", play: crashTakesPositionsBack, alone: true},
	{name: "crash after an asynchronous commit", play: crashAfterAsynchronousCommit, alone: true},
}

// Annals stands every script, whether it reads everything or a selection.
func TestScripts(t *testing.T) {
	t.Parallel()
	for _, d := range []design{annals, selective} {
		for _, sc := range scripts {
			t.Run(d.name+"/"+sc.name, func(t *testing.T) {
				t.Parallel()
				if err := play(stage(t, d, serverFor(t, sc.alone)), sc.name); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// Each broken design fails the scripts that are named beside it, in the way
// that is named: they would notice if Annals became that design.
func TestBrokenDesigns(t *testing.T) {
	t.Parallel()
	for _, d := range broken {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			server := serverFor(t, d.alone || slices.ContainsFunc(d.caught, func(c catch) bool {
				return slices.ContainsFunc(scripts, func(sc playable) bool { return sc.name == c.script && sc.alone })
			}))
			said := map[string]error{}
			for _, c := range d.caught {
				err, played := said[c.script]
				if !played {
					err = play(stage(t, d, server), c.script)
					said[c.script] = err
				}
				if err == nil || !strings.Contains(err.Error(), c.says) {
					t.Errorf("script %s says %v, want %s", c.script, err, c.says)
				}
			}
		})
	}
}

// play plays a script and returns what the design has done wrong.
func play(s *script, name string) error {
	s.Helper()
	i := slices.IndexFunc(scripts, func(sc playable) bool { return sc.name == name })
	if i < 0 {
		s.Fatalf("there is no script %s", name)
	}
	scripts[i].play(s)
	return s.verdict()
}

// serverFor returns what makes databases: on the server of all tests, or on one
// that is started for this test.
func serverFor(t *testing.T, alone bool) func() string {
	t.Helper()
	if alone {
		return ownServer(t)
	}
	return func() string { return postgrestest.URL(t) }
}
