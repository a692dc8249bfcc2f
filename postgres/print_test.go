package postgres_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// Whichever tool applies the printed steps, the schema is the one that Migrate
// makes, and Check and Migrate know it.
func TestScriptsMakeWhatMigrateMakes(t *testing.T) {
	t.Parallel()
	want := postgrestest.Pool(t)
	if _, err := postgres.Migrate(t.Context(), want, postgres.WithSchema("store")); err != nil {
		t.Fatal(err)
	}
	for _, format := range postgres.Formats {
		t.Run(string(format), func(t *testing.T) {
			t.Parallel()
			pool := postgrestest.Pool(t)
			files, err := postgres.Scripts(format, postgres.WithSchema("store"))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				if err := applyAs(t, pool, format, f); err != nil {
					t.Fatalf("%s: %v", f.Name, err)
				}
			}
			if diff := cmp.Diff(catalog(t, want, "store"), catalog(t, pool, "store")); diff != "" {
				t.Errorf("%s (-want +got):\n%s", format, diff)
			}
			if err := postgres.New(pool, postgres.WithSchema("store")).Check(t.Context()); err != nil {
				t.Errorf("Check = %v", err)
			}
			if done, err := postgres.Migrate(t.Context(), pool, postgres.WithSchema("store")); err != nil || len(done) != 0 {
				t.Errorf("Migrate = %v, %v, want nothing to do", done, err)
			}
			// A second time is refused, and changes nothing.
			if err := applyAs(t, pool, format, files[0]); err == nil || !strings.Contains(err.Error(), "migrations_pkey") {
				t.Errorf("second %s = %v, want a refusal", files[0].Name, err)
			}
		})
	}
	_, err := postgres.Scripts("liquibase")
	if want := `print migrations: format "liquibase": want one of ["plain" "goose" "atlas" "flyway"]`; err == nil || err.Error() != want {
		t.Errorf("Scripts = %v, want %s", err, want)
	}
}

// applyAs applies a file as the tool does: goose statement by statement, as its
// annotations say; all but psql in a transaction of the tool.
func applyAs(t *testing.T, pool *pgxpool.Pool, format postgres.Format, f postgres.Script) error {
	t.Helper()
	switch format {
	case postgres.FormatPlain:
		conn, err := pgx.ConnectConfig(t.Context(), pool.Config().ConnConfig)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(t.Context()) }()
		_, err = conn.Exec(t.Context(), f.Text)
		return err
	case postgres.FormatGoose:
		return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			rest := strings.TrimPrefix(f.Text, "-- +goose Up\n")
			for part := range strings.SplitSeq(rest, "-- +goose StatementEnd\n") {
				if part = strings.TrimSpace(part); part == "" {
					continue
				}
				// With a parameter mode that takes one statement only.
				if _, err := tx.Exec(t.Context(), strings.TrimPrefix(part, "-- +goose StatementBegin\n"), pgx.QueryExecModeDescribeExec); err != nil {
					return err
				}
			}
			return nil
		})
	case postgres.FormatAtlas:
		if f.Name == "atlas.sum" {
			if !regexp.MustCompile(`^h1:[A-Za-z0-9+/]{43}=\n(\d{3}_\w+\.sql h1:[A-Za-z0-9+/]{43}=\n)+$`).MatchString(f.Text) {
				t.Errorf("atlas.sum:\n%s", f.Text)
			}
			return nil
		}
	case postgres.FormatFlyway:
		if !regexp.MustCompile(`^V[1-9]\d*__[a-z]+\.sql$`).MatchString(f.Name) || strings.Contains(f.Text, "${") {
			t.Errorf("%s is no name of flyway's, or its text has a placeholder", f.Name)
		}
	}
	return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(t.Context(), f.Text)
		return err
	})
}

// The sums that atlas itself makes of two files.
func TestAtlasSum(t *testing.T) {
	t.Parallel()
	got := postgres.AtlasSum([]postgres.Script{{Name: "001_a.sql", Text: "SELECT 1;\n"}, {Name: "002_b.sql", Text: "-- b\n\nSELECT 2;\n"}})
	const want = `h1:nD1JDFP+jQdlsDnz76/9o07EkkaNsS0w/BEXDFIyZfg=
001_a.sql h1:ihhQjTOFxT0roXVIDx95+OxLTYHE9xR4avoSYSQ/cDw=
002_b.sql h1:2dUsZvlZS6Lo5WXDvdukHSWyCGp0R03Kkr89epDuLQw=
`
	if got != want {
		t.Errorf("atlas.sum is\n%swant\n%s", got, want)
	}
}

// catalog is all that the catalogs say about a schema.
func catalog(t *testing.T, pool *pgxpool.Pool, schema string) []string {
	t.Helper()
	rows, err := pool.Query(t.Context(), `
SELECT format('relation %s %s %s %s %s', c.oid::regclass, c.relkind, c.reloptions, c.relacl, obj_description(c.oid, 'pg_class')) FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace
UNION ALL
SELECT format('column %s %s %s %s %s %s %s %s', c.oid::regclass, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attcollation::regcollation, pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE c.relnamespace = $1::text::regnamespace AND a.attnum > 0
UNION ALL
SELECT format('constraint %s %s', c.conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c WHERE c.connamespace = $1::text::regnamespace
UNION ALL
SELECT format('index %s', pg_get_indexdef(i.indexrelid)) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = $1::text::regnamespace
UNION ALL
SELECT format('trigger %s', pg_get_triggerdef(g.oid)) FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid WHERE NOT g.tgisinternal AND c.relnamespace = $1::text::regnamespace
UNION ALL
SELECT format('function %s %s', pg_get_functiondef(p.oid), p.proacl) FROM pg_proc p WHERE p.pronamespace = $1::text::regnamespace
UNION ALL
SELECT format('view %s', pg_get_viewdef(c.oid)) FROM pg_class c WHERE c.relnamespace = $1::text::regnamespace AND c.relkind = 'v'
UNION ALL
SELECT format('sequence %s', s) FROM pg_sequences s WHERE s.schemaname = $1::text
UNION ALL
SELECT format('schema %s', n.nspacl) FROM pg_namespace n WHERE n.nspname = $1
ORDER BY 1`, schema)
	if err != nil {
		t.Fatal(err)
	}
	out, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	steps, err := pool.Query(t.Context(), `SELECT format('step %s %s', version, name) FROM `+pgx.Identifier{schema, "migrations"}.Sanitize()+` ORDER BY version`)
	if err != nil {
		t.Fatal(err)
	}
	applied, err := pgx.CollectRows(steps, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return append(out, applied...)
}
