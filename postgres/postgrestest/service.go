package postgrestest

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
)

// Service returns a pool on the database of the given one, whose role has the
// rights of a service and no others: it is a member of the given roles, or else
// of postgres.RoleAppend and postgres.RoleWork. So a test notices when the code
// needs a right that the service will not have. What the test's own tables need
// is granted to pool.Config().ConnConfig.User.
//
// The roles are of this test, and dropped when it ends.
func Service(t testing.TB, admin *pgxpool.Pool, roles ...postgres.Role) *pgxpool.Pool {
	t.Helper()
	if len(roles) == 0 {
		roles = []postgres.Role{postgres.RoleAppend, postgres.RoleWork}
	}
	ctx := t.Context()
	prefix := postgres.WithRolePrefix("t_" + strings.ToLower(rand.Text()))
	exec := func(ctx context.Context, sql string) {
		t.Helper()
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatalf("postgrestest: %v", err)
		}
	}
	name := func(r postgres.Role) string {
		n, err := postgres.RoleName(r, prefix)
		if err != nil {
			t.Fatalf("postgrestest: %v", err)
		}
		return n
	}
	login, password := name("login"), rand.Text()
	exec(ctx, `CREATE ROLE `+login+` LOGIN PASSWORD '`+password+`'`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		exec(ctx, `SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = '`+login+`'`)
		for _, r := range []postgres.Role{"login", postgres.RoleRead, postgres.RoleAppend, postgres.RoleWork, postgres.RoleImport, postgres.RoleOwner} {
			var there bool
			if err := admin.QueryRow(ctx, `SELECT to_regrole($1) IS NOT NULL`, name(r)).Scan(&there); err != nil || !there {
				continue
			}
			exec(ctx, `REASSIGN OWNED BY `+name(r)+` TO CURRENT_USER`)
			exec(ctx, `DROP OWNED BY `+name(r))
			exec(ctx, `DROP ROLE `+name(r))
		}
	})
	if err := postgres.GrantRoles(ctx, admin, prefix); err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	for _, r := range roles {
		exec(ctx, `GRANT `+pgx.Identifier{name(r)}.Sanitize()+` TO `+login)
	}
	config := admin.Config()
	config.ConnConfig.User, config.ConnConfig.Password = login, password
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		t.Fatalf("postgrestest: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}
