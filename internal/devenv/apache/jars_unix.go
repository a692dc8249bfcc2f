//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/annals-go/annals/internal/devenv/flock"
)

// Jars returns a class path, for java -cp, of what runs with the coordinates group:artifact:version and all that they
// depend on. Maven fetches them from Maven Central, or where the user's settings say, the first time; then they are in
// annals/NAME- and a hash of the coordinates, in the user's cache directory, and neither Maven nor a network is needed.
// Processes that want the same at the same moment fetch it once.
func Jars(ctx context.Context, name string, coordinates ...string) (classpath string, err error) {
	return env{}.orDefault().jars(ctx, name, coordinates...)
}

func (e env) jars(ctx context.Context, name string, coordinates ...string) (string, error) {
	text, err := pom(coordinates)
	if err != nil {
		return "", err
	}
	dir, err := e.fetched(ctx, name, text, coordinates[0], text, "dependency:copy-dependencies", "-DincludeScope=runtime")
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "*"), nil
}

// unpacked returns a directory with what an archive group:artifact:version:type:classifier holds. It needs no more than
// the archive: the project that it was built with may not be published.
func (e env) unpacked(ctx context.Context, name, archive string) (string, error) {
	text, err := pom(nil)
	if err != nil {
		return "", err
	}
	return e.fetched(ctx, name, archive, archive, text, "dependency:unpack", "-Dartifact="+archive)
}

// fetched returns the directory that Maven has filled for a key. The arguments are those that fill lib.
func (e env) fetched(ctx context.Context, name, key, what, pom string, args ...string) (string, error) {
	cache, err := e.cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(key))
	final := filepath.Join(cache, name+"-"+hex.EncodeToString(sum[:4]))
	if exists(final) {
		return final, nil
	}
	unlock, err := flock.Lock(ctx, filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	if exists(final) {
		return final, nil
	}
	if err := e.fetch(ctx, pom, final, args); err != nil {
		return "", fmt.Errorf("fetch %s: %w", what, err)
	}
	return final, nil
}

// pom is a project that depends on the coordinates.
func pom(coordinates []string) (string, error) {
	var b strings.Builder
	b.WriteString(`<project xmlns="http://maven.apache.org/POM/4.0.0">
 <modelVersion>4.0.0</modelVersion>
 <groupId>annals</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
 <dependencies>
`)
	for _, c := range coordinates {
		parts := strings.Split(c, ":")
		if len(parts) != 3 || strings.ContainsAny(c, "<>& \n") {
			return "", fmt.Errorf("read coordinates: %q is not group:artifact:version", c)
		}
		fmt.Fprintf(&b, "  <dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version></dependency>\n",
			parts[0], parts[1], parts[2])
	}
	b.WriteString(" </dependencies>\n</project>\n")
	return b.String(), nil
}

func (e env) cacheDir() (string, error) {
	dir := e.cache
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("find cache directory: %w", err)
		}
		dir = filepath.Join(user, "annals")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache directory: %w", err)
	}
	return dir, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

const (
	installMaven = "install Maven (Debian: apt-get install maven)"
	needCentral  = "the first time Maven Central must be reachable, or a mirror in ~/.m2/settings.xml"
)

// fetch lets Maven put files into final, which is there only when it is complete. The caller holds the
// lock.
func (e env) fetch(ctx context.Context, pom, final string, args []string) error {
	mvn := e.find("mvn")
	if mvn == "" {
		return fmt.Errorf("no mvn on PATH: %s", installMaven+e.instead)
	}
	// A process killed at this point left its directory behind; the lock says that nobody is using it.
	tmp := final + ".partial"
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, "pom.xml"), []byte(pom), 0o600); err != nil {
		return err
	}
	// With -C a jar whose checksum is wrong fails the build.
	cmd := exec.CommandContext(ctx, mvn, slices.Concat([]string{"-q", "-B", "-C"}, args, []string{"-DoutputDirectory=lib"})...)
	cmd.Dir = tmp
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("run mvn: %w", ctx.Err())
	}
	if err != nil {
		return fmt.Errorf("run mvn: %w: %s: %s", err, mavenError(string(out)), needCentral+e.instead)
	}
	lib := filepath.Join(tmp, "lib")
	if jars, err := filepath.Glob(filepath.Join(lib, "*.jar")); err != nil || len(jars) == 0 {
		return errors.New("run mvn: it copied no jar")
	}
	return os.Rename(lib, final)
}

// mavenError returns the first error that Maven printed, else its last line.
func mavenError(out string) string {
	for line := range strings.Lines(out) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "[ERROR] "); ok {
			return strings.TrimSpace(text)
		}
	}
	return lastLine(out)
}
