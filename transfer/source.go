package transfer

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// Source opens a file. It is read several times, and gives the same bytes each
// time.
type Source func() (io.ReadCloser, error)

// File is the regular file of that name.
func File(path string) Source {
	return func() (io.ReadCloser, error) {
		info, err := os.Stat(path) // asked before opening: opening a pipe waits for its writer
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, causeOf(err))
		}
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s: not a regular file, and it has to be read more than once", path)
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, causeOf(err))
		}
		return f, nil
	}
}

// causeOf drops the path from an error, which the caller names.
func causeOf(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

const (
	// maxExpansion is how many times larger than its gzip a text may be. Events
	// have ids that do not compress; only a bomb comes near.
	maxExpansion = 100
	// freeExpansion is the size up to which the expansion is not looked at.
	freeExpansion = 16 << 20
)

// gunzip reads one gzip member, and refuses what follows it.
type gunzip struct {
	raw *bufio.Reader
	in  *countingReader
	gz  *gzip.Reader
	out int64
}

// open returns the text of a file, told by its first bytes.
func open(raw io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(raw, 32<<10)
	magic, err := b.Peek(2)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(magic) != "\x1f\x8b" {
		return b, nil
	}
	in := &countingReader{Reader: b}
	gz, err := gzip.NewReader(in)
	if err != nil {
		return nil, gzipError(err)
	}
	gz.Multistream(false)
	return &gunzip{raw: b, in: in, gz: gz}, nil
}

// Read implements io.Reader.
func (g *gunzip) Read(p []byte) (int, error) {
	n, err := g.gz.Read(p)
	g.out += int64(n)
	if g.out > freeExpansion && g.out/maxExpansion > g.in.n {
		return 0, refuse("gzip expands more than %d times", maxExpansion).remedy("if it is meant to, decompress it and give the plain file")
	}
	switch {
	case errors.Is(err, io.EOF):
		if _, peekErr := g.raw.Peek(1); peekErr == nil {
			return n, refuse("gzip is followed by other data, want one gzip member").remedy("decompress it and give the plain file")
		}
	case err != nil:
		err = gzipError(err)
	}
	return n, err
}

func gzipError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return refuse("gzip is truncated").remedy(cutRemedy)
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt):
		return refuse("gzip is corrupt: %v", err).remedy(cutRemedy)
	}
	return err
}

// countingReader counts what was consumed, not what was buffered. It has
// ReadByte, without which gzip would read ahead of the member's end.
type countingReader struct {
	*bufio.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *countingReader) ReadByte() (byte, error) {
	b, err := c.Reader.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}
