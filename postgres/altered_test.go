package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/worker"
)

// A row that was changed by other means than a worker stops its reader, whatever
// was changed, before anything is applied.
func TestAlteredMarksStopTheReader(t *testing.T) {
	t.Parallel()
	for what, sql := range map[string]string{
		"moved ahead":          `UPDATE annals.checkpoints SET position = 1000 WHERE name = 'totals'`,
		"moved back":           `UPDATE annals.checkpoints SET position = 1 WHERE name = 'totals'`,
		"of another reader":    `UPDATE annals.checkpoints c SET (position, digest, trail, revision, seal) = (SELECT o.position, o.digest, o.trail, o.revision, o.seal FROM annals.checkpoints o WHERE o.name = 'other') WHERE c.name = 'totals'`,
		"another reader's row": `DELETE FROM annals.checkpoints WHERE name = 'totals'; UPDATE annals.checkpoints SET name = 'totals' WHERE name = 'other'`,
		"of another part":      `UPDATE annals.checkpoints SET part = 'p' WHERE name = 'totals'`,
		"source":               `UPDATE annals.checkpoints SET source = 'x' WHERE name = 'totals'`,
		"offset":               `UPDATE annals.checkpoints SET next_offset = 9 WHERE name = 'totals'`,
		"parts":                `UPDATE annals.checkpoints SET parts = 9 WHERE name = 'totals'`,
		"lineage":              `UPDATE annals.checkpoints SET lineage = 'x' WHERE name = 'totals'`,
		"server":               `UPDATE annals.checkpoints SET server = 'x' WHERE name = 'totals'`,
		"digest":               `UPDATE annals.checkpoints SET digest = '\x00112233445566778899aabbccddeeff' WHERE name = 'totals'`,
		"trail":                `UPDATE annals.checkpoints SET trail = '\x00' WHERE name = 'totals'`,
		"claim":                `UPDATE annals.checkpoints SET claim_to = 9, claim_events = 1, claim_times = 1 WHERE name = 'totals'`,
		"epoch":                `UPDATE annals.checkpoints SET epoch = 9 WHERE name = 'totals'`,
		"revision":             `UPDATE annals.checkpoints SET revision = 9 WHERE name = 'totals'`,
		"seal":                 `UPDATE annals.checkpoints SET seal = '' WHERE name = 'totals'`,
		"a row made by hand":   `DELETE FROM annals.checkpoints WHERE name = 'totals'; INSERT INTO annals.checkpoints (name, part, position) VALUES ('totals', '', 5)`,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s := newScript(t)
			for i, name := range []string{"totals", "other"} {
				m := worker.Mark{Position: 7, Trail: "t"}
				s.end(s.db.Save(s.ctx, name, worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}}))
				m.Position, m.Revision = m.Position+1+10*event.Position(i), 1
				s.end(s.db.Save(s.ctx, name, worker.Term{}, worker.Write{Marks: worker.Checkpoint{"": m}}))
			}
			s.exec(sql)
			part := ""
			if what == "of another part" {
				part = "p"
			}
			var stored int64
			s.end(s.pool.QueryRow(s.ctx, `SELECT position FROM annals.checkpoints WHERE name = 'totals'`).Scan(&stored))
			text := fmt.Sprintf(`checkpoint totals: part %q: the mark at position %d was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force`, part, stored)
			_, err := s.db.Checkpoint(s.ctx, "totals")
			wantError(t, "Checkpoint", err, worker.ErrAltered, "read checkpoint totals: "+text)
			err = s.db.Advance(s.ctx, "totals", worker.Term{}, part, func(context.Context, pgx.Tx, worker.Mark) (worker.Write, error) {
				t.Error("fn is called")
				return worker.Write{}, nil
			})
			wantError(t, "Advance", err, worker.ErrAltered, "advance totals: "+text)
			altered, sound := 0, 0
			for m, err := range s.db.Marks(s.ctx) {
				s.end(err)
				if m.Altered == nil {
					sound++
				} else if errors.Is(m.Altered, worker.ErrAltered) && m.Name == "totals" {
					altered++
				}
			}
			if altered != 1 || sound > 1 {
				t.Errorf("Marks yields %d altered ones of totals and %d others, want 1 and at most 1", altered, sound)
			}
			// Set back by somebody who knows what is stored.
			var e *worker.AlteredError
			_, err = s.db.Checkpoint(s.ctx, "totals")
			if !errors.As(err, &e) {
				t.Fatal(err)
			}
			s.end(s.db.Save(s.ctx, "totals", worker.Term{}, worker.Write{Marks: worker.Checkpoint{e.Part: {Revision: e.Mark.Revision}}}))
			if c, err := s.db.Checkpoint(s.ctx, "totals"); err != nil || c[e.Part].Position != 0 {
				t.Errorf("Checkpoint = %+v, %v, want the zero mark", c, err)
			}
		})
	}
}

// Verify reports it, and goes on with the other readers.
func TestVerifyReportsAlteredMarks(t *testing.T) {
	t.Parallel()
	s := newScript(t)
	for _, name := range []string{"a", "b", "c"} {
		s.end(s.db.Save(s.ctx, name, worker.Term{}, worker.Write{Marks: worker.Checkpoint{"p": {Position: 7}}}))
	}
	s.exec(`UPDATE annals.checkpoints SET position = 8 WHERE name <> 'b'`)
	var found []string
	_, err := s.db.Verify(s.ctx, postgres.Verification{Found: func(f postgres.Finding) {
		found = append(found, fmt.Sprint(f.Fault, " ", f.Name, " ", f.Position, " ", f.Text))
	}})
	s.end(err)
	const text = `: part "p": the mark at position 8 was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force`
	if diff := cmp.Diff([]string{"altered a 8 checkpoint a" + text, "altered c 8 checkpoint c" + text}, found); diff != "" {
		t.Errorf("Verify (-want +got):\n%s", diff)
	}
}
