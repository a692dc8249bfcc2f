package intake

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

var gzipMagic = []byte{0x1f, 0x8b}

const (
	// maxExpansion is how many times larger than its gzip a text may be. Order
	// lines shrink to a tenth; only a decompression bomb comes near.
	maxExpansion = 200

	// freeExpansion is the size up to which the expansion is not looked at.
	freeExpansion = 8 << 20
)

// gunzip decompresses one gzip member after the other, as gzip.Reader does, but
// tells data that follows the last member from a broken member, and stops when
// the text grows out of proportion.
type gunzip struct {
	raw *bufio.Reader
	in  *countingReader
	gz  *gzip.Reader
	out int64
}

func newGunzip(raw *bufio.Reader) (*gunzip, error) {
	in := &countingReader{Reader: raw}
	gz, err := gzip.NewReader(in)
	if err != nil {
		return nil, gzipError(err)
	}
	gz.Multistream(false)
	return &gunzip{raw: raw, in: in, gz: gz}, nil
}

// Read implements io.Reader.
func (g *gunzip) Read(p []byte) (int, error) {
	for {
		n, err := g.gz.Read(p)
		g.out += int64(n)
		if g.out > freeExpansion && g.out/maxExpansion > g.in.n {
			return 0, fmt.Errorf("gzip expands more than %d times", maxExpansion)
		}
		if errors.Is(err, io.EOF) {
			err = g.nextMember()
		} else if err != nil {
			err = gzipError(err)
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// nextMember returns io.EOF where the file ends.
func (g *gunzip) nextMember() error {
	magic, err := g.raw.Peek(len(gzipMagic))
	switch {
	case len(magic) == 0 && err == io.EOF:
		return io.EOF
	case err != nil && err != io.EOF:
		return err
	case string(magic) != string(gzipMagic):
		return errors.New("gzip is followed by other data")
	}
	if err := g.gz.Reset(g.in); err != nil {
		return gzipError(err)
	}
	g.gz.Multistream(false)
	return nil
}

// gzipError names what is wrong with the gzip and leaves errors of the file
// underneath as they are.
func gzipError(err error) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return errors.New("gzip is truncated")
	case errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt):
		return fmt.Errorf("gzip is corrupt: %w", err)
	default:
		return causeOf(err)
	}
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
