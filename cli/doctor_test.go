package cli_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// serviceOf returns the URL of a migrated database, with credentials of a
// service, and a pool with those of its administrator.
func serviceOf(t *testing.T, roles ...postgres.Role) (string, *pgxpool.Pool) {
	t.Helper()
	database := postgrestest.URL(t)
	admin, err := pgxpool.New(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	service := postgrestest.Service(t, admin, roles...).Config().ConnConfig
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(service.User, service.Password)
	return u.String(), admin
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	service, admin := serviceOf(t)
	got := run(t, service, []string{"doctor", "--privileges"})
	check(t, got, result{Stdout: "connection  ok\nsetup       ok\nvacuum      ok\ndelays      ok\nreaders     ok\nworkers     ok\nprivileges  ok\n"})
	check(t, run(t, service, []string{"doctor", "--output", "json"}), result{Stdout: `{"section":"connection","ok":true}
{"section":"setup","ok":true}
{"section":"vacuum","ok":true}
{"section":"delays","ok":true}
{"section":"readers","ok":true}
{"section":"workers","ok":true}
`})
	login := strings.SplitN(strings.TrimPrefix(service, "postgres://"), ":", 2)[0]
	for _, sql := range []string{
		`ALTER SEQUENCE annals.events_position_seq CACHE 5`,
		`ALTER TABLE annals.events SET (autovacuum_enabled = off)`,
		`GRANT UPDATE, DELETE ON annals.events TO ` + login,
	} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	got = run(t, service, []string{"doctor", "--privileges", "--output", "json"})
	found := map[any][]string{}
	for _, o := range objects(t, got.Stdout) {
		found[o["section"]] = append(found[o["section"]], fmt.Sprint(o["finding"]))
	}
	for section, want := range map[string]string{
		"setup":      "the cache of events_position_seq is 5, want 1",
		"vacuum":     "autovacuum of events is autovacuum_enabled=off, want on",
		"privileges": "role " + login + " can delete an event: ",
	} {
		if !strings.Contains(strings.Join(found[section], "\n"), want) {
			t.Errorf("%s: %q, want %s", section, found[section], want)
		}
	}
	want := fmt.Sprintf("annals: doctor: %d findings\n", len(found["setup"])+len(found["vacuum"])+len(found["privileges"]))
	if got.Code != 1 || got.Stderr != want || len(found["privileges"]) < 5 {
		t.Errorf("doctor = %d, %q, want 1, %q; %q", got.Code, got.Stderr, want, found)
	}
	check(t, run(t, service, []string{"doctor", "--role", "write"}), result{Code: 2, Stderr: `annals: invalid argument "write" for "--role" flag: want read or append or work or import` + "\n"})
}

func TestDoctorWithRolesOfOthers(t *testing.T) {
	t.Parallel()
	reader, _ := serviceOf(t, postgres.RoleRead)
	if got := run(t, reader, []string{"doctor", "--role", "read"}); got.Code != 0 || !strings.Contains(got.Stdout, "privileges  ok") {
		t.Errorf("doctor --role read = %+v", got)
	}
	service, _ := serviceOf(t)
	got := run(t, service, []string{"doctor", "--role", "append"})
	if got.Code != 1 || !strings.Contains(got.Stdout, " can move a checkpoint: ") || !strings.Contains(got.Stdout, " can publish the mark: ") {
		t.Errorf("doctor --role append of a worker = %+v", got)
	}
	got = run(t, postgrestest.URL(t), []string{"doctor", "--privileges"})
	if got.Code != 1 || !strings.Contains(got.Stdout, " can do everything, as a superuser: ") || got.Stderr != "annals: doctor: 1 finding\n" {
		t.Errorf("doctor as superuser = %+v", got)
	}
	got = run(t, postgrestest.URL(t), []string{"doctor", "--schema", "elsewhere"})
	if got.Code != 1 || !strings.Contains(got.Stdout, "setup       wrong  check schema elsewhere: at version 0, want ") || strings.Contains(got.Stdout, "vacuum") {
		t.Errorf("doctor of nothing = %+v", got)
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	service, admin := serviceOf(t)
	login := strings.SplitN(strings.TrimPrefix(service, "postgres://"), ":", 2)[0]
	prefix := strings.TrimSuffix(login, "_login")
	database := admin.Config().ConnString()
	all := prefix + "_read, " + prefix + "_append, " + prefix + "_work, " + prefix + "_import, " + prefix + "_owner"
	check(t, run(t, database, []string{"roles", "--prefix", prefix}), result{Stdout: "schema annals: " + all + " have their rights\n"})
	got := run(t, database, []string{"roles", "--prefix", prefix, "--output", "json"})
	if o := objects(t, got.Stdout); got.Code != 0 || len(o) != 1 || o[0]["schema"] != "annals" || fmt.Sprint(o[0]["roles"]) != "["+strings.ReplaceAll(all, ",", "")+"]" {
		t.Errorf("roles --output json = %+v", got)
	}
	// What is printed does the same, and takes away what is too much.
	if _, err := admin.Exec(t.Context(), `GRANT DELETE ON annals.events TO `+prefix+`_append; REVOKE ALL ON FUNCTION annals.append_v1 FROM `+prefix+`_append`); err != nil {
		t.Fatal(err)
	}
	got = run(t, "", []string{"roles", "--prefix", prefix, "--print"})
	if got.Code != 0 {
		t.Fatalf("roles --print = %+v", got)
	}
	if _, err := admin.Exec(t.Context(), got.Stdout); err != nil {
		t.Fatal(err)
	}
	if got := run(t, service, []string{"doctor", "--privileges"}); got.Code != 0 {
		t.Errorf("doctor = %+v", got)
	}
	got = run(t, database, []string{"roles", "--schema", "elsewhere", "--prefix", prefix})
	if got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: grant roles of schema elsewhere: schema is not migrated, run annals migrate: ") {
		t.Errorf("roles of nothing = %+v", got)
	}
}
