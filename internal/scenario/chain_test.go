package scenario_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/internal/oracle"
	"github.com/annals-go/annals/postgres"
)

// chain has the store verify itself, before and after one bit of one event is
// changed. It is the last thing to do with a store.
func chain(t *testing.T, ctx context.Context, pool *pgxpool.Pool) []oracle.Finding {
	t.Helper()
	db, flipped := postgres.New(pool), false
	verify := func(ctx context.Context) (places []string, err error) {
		_, err = db.Verify(ctx, postgres.Verification{Found: func(f postgres.Finding) {
			if flipped && f.Fault == postgres.FaultGiven {
				return // what readers were given has been changed too, but that says not where
			}
			places = append(places, fmt.Sprintf("%s@%d", f.Stream, f.Version))
		}})
		return places, err
	}
	flip := func(ctx context.Context) (place string, err error) {
		flipped = true
		err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `SET LOCAL session_replication_role = replica`); err != nil { // past every trigger
				return err
			}
			return tx.QueryRow(ctx, `
UPDATE annals.events
SET payload = set_bit(payload, 3, 1 - get_bit(payload, 3))
WHERE position = (SELECT position FROM annals.events WHERE length(payload) > 0 ORDER BY event_id LIMIT 1)
RETURNING category || '-' || stream_id || '@' || version`).Scan(&place)
		})
		return place, err
	}
	return oracle.Flipped(ctx, verify, flip)
}
