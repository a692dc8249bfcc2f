package intake

import (
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Rejection is a line that forms no part of any invoice.
type Rejection struct {
	// Line is the line of the file on which the record starts; the header is
	// line 1.
	Line int

	// Invoice is the invoice number as found, without spaces around it and cut
	// after 64 bytes. It may hold any bytes.
	Invoice string

	// Reason is one printable line.
	Reason string
}

// RejectedFile writes rejections as CSV with the columns line, invoice and
// reason. It appears under its name when Close succeeds, complete, and replaces
// a file that has the name; until then that one stays as it is. Not safe for
// concurrent use.
//
// Cells are data: one that a spreadsheet would take for a formula is written as
// it is, quoted where CSV asks for quotes. Only in the invoice, characters that
// do not print are written as in a Go string (\x00, \n), and so is the backslash.
type RejectedFile struct {
	path string
	temp *os.File
	csv  *csv.Writer
	done bool
}

// CreateRejected starts a file of rejections and writes its header. The caller
// ends it with Close, or with Discard to leave no trace:
//
//	defer rejected.Discard()
//	...
//	return rejected.Close()
//
// It refuses a path that exists and is no regular file.
func CreateRejected(path string) (*RejectedFile, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("create %s: exists and is not a regular file", path)
	}
	// Not os.CreateTemp, which makes files that only their owner can read.
	name := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+"."+rand.Text()+".tmp")
	temp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, causeOf(err))
	}
	f := &RejectedFile{path: path, temp: temp, csv: csv.NewWriter(temp)}
	if err := f.write("line", "invoice", "reason"); err != nil {
		f.Discard()
		return nil, err
	}
	return f, nil
}

// Write adds one rejection. It is buffered: an error of the disk may show only
// at a later Write or at Close.
func (f *RejectedFile) Write(r Rejection) error {
	return f.write(strconv.Itoa(r.Line), escapeControls(r.Invoice), r.Reason)
}

func (f *RejectedFile) write(cells ...string) error {
	if f.done {
		return fmt.Errorf("write %s: %w", f.path, os.ErrClosed)
	}
	if err := f.csv.Write(cells); err != nil {
		return fmt.Errorf("write %s: %w", f.path, causeOf(err))
	}
	return nil
}

// Close brings the file to the disk and gives it its name. If it returns an
// error, no file was created or replaced.
func (f *RejectedFile) Close() error {
	if f.done {
		return fmt.Errorf("close %s: %w", f.path, os.ErrClosed)
	}
	defer f.Discard()
	f.csv.Flush()
	if err := errors.Join(f.csv.Error(), f.temp.Sync(), f.temp.Close()); err != nil {
		return fmt.Errorf("write %s: %w", f.path, causeOf(err))
	}
	if err := os.Rename(f.temp.Name(), f.path); err != nil {
		var link *os.LinkError
		if errors.As(err, &link) {
			err = link.Err
		}
		return fmt.Errorf("rename to %s: %w", f.path, err)
	}
	f.done = true
	return nil
}

// Discard removes what was written. It does nothing after Close.
func (f *RejectedFile) Discard() {
	if f.done {
		return
	}
	f.done = true
	_ = f.temp.Close()
	_ = os.Remove(f.temp.Name())
}

// escapeControls writes what does not print, and the backslash, as in a Go
// string, without quotes around it.
func escapeControls(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		char := s[i : i+size]
		i += size
		if strconv.IsPrint(r) && r != '\\' && (r != utf8.RuneError || size > 1) {
			b.WriteString(char)
			continue
		}
		quote := strconv.Quote(char)
		b.WriteString(quote[1 : len(quote)-1])
	}
	return b.String()
}
