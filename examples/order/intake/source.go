package intake

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"
)

// ErrChanged says that the file is no longer the one that was validated.
var ErrChanged = errors.New("file changed since it was validated")

// version identifies the content of a file. Size and modified are known before
// a byte is read, sum only after the last.
type version struct {
	size     int64
	modified time.Time
	sum      [sha256.Size]byte
}

// source is an open order file. Its text is decompressed and has no byte order
// mark.
type source struct {
	text io.Reader

	file   *os.File
	opened version
	sum    hash.Hash
}

// openSource opens a plain or gzip file, told apart by the first two bytes.
// Reads fail once ctx ended.
func openSource(ctx context.Context, path string) (*source, error) {
	// Asked before opening: opening a pipe waits for its writer.
	info, err := os.Stat(path)
	if err != nil {
		return nil, causeOf(err)
	}
	if info.IsDir() {
		return nil, errors.New("is a directory")
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("is not a regular file, and it has to be read twice")
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, causeOf(err)
	}
	s := &source{file: file, sum: sha256.New()}
	if err := s.start(ctx, strings.HasSuffix(strings.ToLower(path), ".gz")); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// start notes the version of the file and prepares its text.
func (s *source) start(ctx context.Context, namedGzip bool) error {
	info, err := s.file.Stat()
	if err != nil {
		return causeOf(err)
	}
	s.opened = version{size: info.Size(), modified: info.ModTime()}
	raw := bufio.NewReaderSize(io.TeeReader(&contextReader{ctx, s.file}, s.sum), 64<<10)

	magic, err := raw.Peek(len(gzipMagic))
	if err != nil && !errors.Is(err, io.EOF) {
		return causeOf(err)
	}
	if len(magic) == 0 {
		return errors.New("is empty")
	}
	compressed := bytes.Equal(magic, gzipMagic)
	if namedGzip && !compressed {
		return errors.New("is named .gz and holds no gzip")
	}
	plain := io.Reader(raw)
	if compressed {
		if plain, err = newGunzip(raw); err != nil {
			return err
		}
	}

	text := bufio.NewReader(plain)
	mark, err := text.Peek(len(byteOrderMark))
	if err != nil && !errors.Is(err, io.EOF) {
		return causeOf(err)
	}
	if len(mark) == 0 {
		return errors.New("is empty")
	}
	if string(mark) == byteOrderMark {
		_, _ = text.Discard(len(byteOrderMark)) // cannot fail after Peek
	}
	s.text = text
	return nil
}

// finish returns the version of the file that was read to its end. It returns
// ErrChanged if the file was written to meanwhile.
func (s *source) finish() (version, error) {
	info, err := s.file.Stat()
	if err != nil {
		return version{}, causeOf(err)
	}
	if info.Size() != s.opened.size || !info.ModTime().Equal(s.opened.modified) {
		return version{}, ErrChanged
	}
	read := s.opened
	copy(read.sum[:], s.sum.Sum(nil))
	return read, nil
}

func (s *source) close() { _ = s.file.Close() } // only read from

// byteOrderMark is the mark that some programs put before UTF-8 text.
const byteOrderMark = "\ufeff"

// contextReader fails once ctx ended, which bounds the wait even where a long
// run of bytes gives no record.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// causeOf drops the operation and the path from a file error: the callers name
// both already.
func causeOf(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// readError is the one place that names the file.
func readError(path string, err error) error {
	return fmt.Errorf("read %s: %w", path, err)
}
