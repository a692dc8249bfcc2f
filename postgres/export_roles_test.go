package postgres

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Attack is one line of the matrix.
type Attack struct {
	What, Try, Ask string
	Allowed        func(...Role) bool
}

// Attacks returns the matrix.
func Attacks() []Attack {
	var out []Attack
	for _, a := range attacks {
		out = append(out, Attack{a.what, a.try, a.ask, func(r ...Role) bool { return a.allowed(r) }})
	}
	return out
}

// SQL fills in the schema.
func (d *DB) SQL(text string) string { return d.sql(text) }

// Pool returns the pool of the store.
func (d *DB) Pool() *pgxpool.Pool { return d.pool }

// WithLater adds steps that a later release might have.
func WithLater(steps ...Migration) Option {
	return func(c *config) error {
		c.later = append(c.later, steps...)
		return nil
	}
}

// AtlasSum is the text of atlas.sum.
func AtlasSum(files []Script) string { return atlasSum(files) }

// WithPatience makes a change of the schema give up after another time.
func WithPatience(d time.Duration) Option {
	return func(c *config) error {
		c.patience = d
		return nil
	}
}

// Rights is the text of all rights.
func Rights() string {
	var b strings.Builder
	for _, r := range rights {
		b.WriteString(r.may + "\n")
	}
	return b.String()
}
