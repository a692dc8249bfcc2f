//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/annals-go/annals/internal/devenv/flock"
)

// installNPM returns the directory of the binaries of the npm package, fetching it on first use. Processes that
// do this at the same moment fetch it once: the others wait on a lock. What is in the cache is complete, because it
// gets its name last.
func installNPM(ctx context.Context, cfg *config, npm string) (string, error) {
	cache, err := npmCache(cfg)
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, cfg.npm.version+"-"+runtime.GOOS+"-"+runtime.GOARCH)
	bin := filepath.Join(final, "native", "bin")
	if holds(bin, "initdb", "postgres") {
		return bin, nil
	}
	unlock, err := flock.Lock(ctx, filepath.Join(cache, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if holds(bin, "initdb", "postgres") {
		return bin, nil
	}
	if err := fetchNPM(ctx, cfg, npm, cache, final); err != nil {
		return "", fmt.Errorf("install %s@%s: %w", cfg.npm.name, cfg.npm.version, err)
	}
	if !holds(bin, "initdb", "postgres") {
		return "", fmt.Errorf("install %s@%s: %s does not hold initdb and postgres", cfg.npm.name, cfg.npm.version, bin)
	}
	return bin, nil
}

// npmCache makes and returns the directory that packages are kept in. The home of root is closed to the account
// that runs the server, so root has another.
func npmCache(cfg *config) (string, error) {
	dir := cfg.cache
	switch {
	case dir != "":
	case os.Geteuid() == 0:
		dir = "/var/cache/annals/postgres"
	default:
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find cache directory: %w", err)
		}
		dir = filepath.Join(user, "annals", "postgres")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	if os.Geteuid() == 0 {
		// The umask may have closed them to the account.
		for _, d := range []string{filepath.Dir(dir), dir} {
			if err := os.Chmod(d, 0o755); err != nil {
				return "", fmt.Errorf("make cache directory: %w", err)
			}
		}
	}
	return dir, nil
}

// fetchNPM downloads the package, checks it and unpacks it to final. The caller holds the lock of the cache.
func fetchNPM(ctx context.Context, cfg *config, npm, cache, final string) error {
	// A process killed at this point left a directory behind; the lock says that nobody is using it.
	stale, err := filepath.Glob(filepath.Join(cache, ".partial-*"))
	if err != nil {
		return err
	}
	for _, dir := range append(stale, final) {
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	tmp, err := os.MkdirTemp(cache, ".partial-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()

	tarball, err := packNPM(ctx, cfg, npm, tmp)
	if err != nil {
		return err
	}
	defer func() { _ = tarball.Close() }()
	if err := checkIntegrity(tarball, cfg.npm.integrity); err != nil {
		return err
	}
	tree := filepath.Join(tmp, "tree")
	if err := os.Mkdir(tree, 0o755); err != nil {
		return err
	}
	if err := extract(tarball, tree); err != nil {
		return err
	}
	return os.Rename(tree, final)
}

// packNPM lets npm download the tarball, so that its proxy, registry and credentials apply.
func packNPM(ctx context.Context, cfg *config, npm, tmp string) (*os.File, error) {
	cmd := exec.CommandContext(ctx, npm, "pack", "--silent", "--ignore-scripts", cfg.npm.name+"@"+cfg.npm.version)
	cmd.Dir = tmp
	cmd.Env = append(os.Environ(), "PATH="+cfg.getenv("PATH"))
	if _, err := cmd.Output(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("run npm pack: %w", commandError(err))
	}
	files, err := filepath.Glob(filepath.Join(tmp, "*.tgz"))
	if err != nil {
		return nil, err
	}
	if len(files) != 1 {
		return nil, fmt.Errorf("run npm pack: got %d tarballs, want 1", len(files))
	}
	return os.Open(files[0])
}

// checkIntegrity compares a file with its hash and rewinds it. The bytes that are checked are those that are
// unpacked: the file stays open, in a directory of ours.
func checkIntegrity(f *os.File, want string) error {
	h := sha512.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("check integrity: %w", err)
	}
	got := "sha512-" + base64.StdEncoding.EncodeToString(h.Sum(nil))
	if got != want {
		return fmt.Errorf("check integrity: got %s, want %s", got, want)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("check integrity: %w", err)
	}
	return nil
}

// lastLine returns the last line that is not empty.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// fileMode keeps of a tarball's mode only whether a file can be run.
func fileMode(mode fs.FileMode) fs.FileMode {
	if mode.Perm()&0o100 != 0 {
		return 0o755
	}
	return 0o644
}
