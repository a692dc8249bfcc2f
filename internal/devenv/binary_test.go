//go:build unix && !aix && !solaris

package devenv

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// writeProgram makes an executable file of shell lines.
func writeProgram(t *testing.T, path, lines string) {
	t.Helper()
	makeOpen(t, filepath.Dir(path))
	// A child forked while the file is open for writing would make its execution fail with "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

// makeOpen makes a directory and its parents, open to the account whatever the umask.
func makeOpen(t *testing.T, dir string) {
	t.Helper()
	if _, err := os.Stat(dir); err == nil {
		return
	}
	makeOpen(t, filepath.Dir(dir))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// writeVersion makes a directory of binaries that only tell their version.
func writeVersion(t *testing.T, dir, version string) string {
	t.Helper()
	writeProgram(t, filepath.Join(dir, "initdb"), "exit 1\n")
	writeProgram(t, filepath.Join(dir, "postgres"), fmt.Sprintf("echo 'postgres (PostgreSQL) %s'\n", version))
	return dir
}

// search returns a configuration that finds nothing but what the arguments show.
func search(env map[string]string, globs ...string) *config {
	cfg := newConfig(nil)
	if _, ok := env["PATH"]; !ok {
		env["PATH"] = ""
	}
	hermetic(env).apply(cfg)
	cfg.globs = globs
	cfg.npm = npmPackage{}
	return cfg
}

// find runs findBinaries as the account that would run the server.
func find(t *testing.T, cfg *config) (string, error) {
	t.Helper()
	account, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}
	return findBinaries(t.Context(), cfg, account)
}

func TestNoServerFound(t *testing.T) {
	t.Parallel()
	_, err := Postgres(t.Context(), optionFunc(func(c *config) { *c = *search(map[string]string{}, "/nowhere/*/bin") }))
	const want = "start postgres: no server found: install PostgreSQL 15 or newer " +
		"(Debian: apt-get install postgresql), or set DATABASE_URL or ANNALS_PG_BIN"
	if err == nil || err.Error() != want {
		t.Errorf("got error %v, want %s", err, want)
	}
}

func TestExplicitBinaries(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	good := writeVersion(t, filepath.Join(dir, "good"), "16.4")
	old := writeVersion(t, filepath.Join(dir, "old"), "14.19")
	mute := writeVersion(t, filepath.Join(dir, "mute"), "16.4")
	writeProgram(t, filepath.Join(mute, "postgres"), "echo something else\n")
	broken := writeVersion(t, filepath.Join(dir, "broken"), "16.4")
	writeProgram(t, filepath.Join(broken, "postgres"), "echo first >&2; echo no library >&2; exit 127\n")
	account, err := unprivileged()
	if err != nil {
		t.Fatal(err)
	}

	for _, row := range []struct {
		dir, want, wantErr string
	}{
		{dir: good, want: good},
		{dir: dir, wantErr: "read ANNALS_PG_BIN: " + dir + " does not hold initdb and postgres"},
		{dir: old, wantErr: "read ANNALS_PG_BIN: " + old + " holds PostgreSQL 14.19, need 15 or newer"},
		{dir: mute, wantErr: `read ANNALS_PG_BIN: read version: "something else" is not one of PostgreSQL`},
		{dir: broken, wantErr: fmt.Sprintf("read ANNALS_PG_BIN: run %s/postgres as %s: exit status 127: no library",
			broken, account)},
	} {
		// The others are not tried, even where they would do.
		got, err := find(t, search(map[string]string{"ANNALS_PG_BIN": row.dir, "PATH": good}, good))
		if got != row.want {
			t.Errorf("%s: got %s, want %s", row.dir, got, row.want)
		}
		if (err == nil) != (row.wantErr == "") || err != nil && err.Error() != row.wantErr {
			t.Errorf("%s: got error %v, want %s", row.dir, err, row.wantErr)
		}
	}
}

func TestSearchOrder(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	for name, version := range map[string]string{
		"9": "9.6.24", "14": "14.2", "15": "15.9", "15b": "15.10", "9.9": "16beta1", "999": "x",
	} {
		writeVersion(t, filepath.Join(dir, name, "bin"), version)
	}
	glob := filepath.Join(dir, "*", "bin")
	bin := func(name string) string { return filepath.Join(dir, name, "bin") }
	half := filepath.Join(dir, "half")
	writeProgram(t, filepath.Join(half, "postgres"), "echo 'postgres (PostgreSQL) 18.1'\n")

	for _, row := range []struct {
		name, path, glob, want string
	}{
		{name: "newest by version and not by name", glob: glob, want: bin("9.9")},
		{name: "minor versions are numbers", glob: filepath.Join(dir, "15*", "bin"), want: bin("15b")},
		{name: "PATH goes first", path: half + ":" + bin("15"), glob: glob, want: bin("15")},
		{name: "too old on PATH", path: bin("14"), glob: glob, want: bin("9.9")},
		{name: "relative on PATH", path: "bin:.:", glob: glob, want: bin("9.9")},
		{name: "all too old", path: bin("14"), glob: bin("9"), want: ""},
	} {
		got, err := find(t, search(map[string]string{"PATH": row.path}, row.glob))
		if got != row.want {
			t.Errorf("%s: got %s (%v), want %s", row.name, got, err, row.want)
		}
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]version{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": {15, 18},
		"postgres (PostgreSQL) 9.6.24":                           {9, 6},
		"postgres (PostgreSQL) 18beta1":                          {18, 0},
		"postgres (PostgreSQL) 19devel":                          {19, 0},
	} {
		got, err := parseVersion(text)
		if err != nil || got != want {
			t.Errorf("parse %q: got %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "psql 15", "postgres (PostgreSQL) 99999999999999999999.1"} {
		_, err := parseVersion(text)
		if err == nil || !strings.HasPrefix(err.Error(), "read version: ") {
			t.Errorf("parse %q: got error %v, want one", text, err)
		}
	}
}
