package transfer

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
)

// lines reads a file line by line and sums up its bytes.
type lines struct {
	ctx   context.Context
	close func() error
	text  *bufio.Reader
	long  []byte // a line that the reader's buffer does not hold
	n     int64  // of the last line, from 1
	bytes int64
	most  int64 // bytes of all lines, 0: any
	sum   hash.Hash
	last  []byte // with its end
}

func openLines(ctx context.Context, src Source, most int64) (*lines, error) {
	f, err := src()
	if err != nil {
		return nil, err
	}
	text, err := open(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &lines{ctx: ctx, close: f.Close, text: bufio.NewReaderSize(text, 64<<10), most: most, sum: sha256.New()}, nil
}

// next returns a line without its end, valid until the next call. The sum has
// all lines before it: count adds the line. At the end of the file it returns
// io.EOF.
func (l *lines) next() ([]byte, error) {
	if l.n%256 == 0 {
		if err := l.ctx.Err(); err != nil {
			return nil, err
		}
	}
	l.n++
	line, err := l.text.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		l.long = l.long[:0]
		for errors.Is(err, bufio.ErrBufferFull) {
			if l.long = append(l.long, line...); len(l.long) > MaxLineBytes {
				break
			}
			if ctxErr := l.ctx.Err(); ctxErr != nil {
				return nil, ctxErr
			}
			line, err = l.text.ReadSlice('\n')
		}
		l.long = append(l.long, line...)
		line = l.long
	}
	l.bytes += int64(len(line))
	switch {
	case len(line) > MaxLineBytes:
		return nil, refuse("longer than %d bytes, which no event needs", MaxLineBytes)
	case l.most > 0 && l.bytes > l.most:
		return nil, refuse("the file is larger than %d bytes, decompressed", l.most).remedy("raise the limit if it is meant to be")
	case errors.Is(err, io.EOF) && len(line) == 0:
		return nil, io.EOF
	case errors.Is(err, io.EOF):
		return nil, refuse("the file ends within the line").remedy(cutRemedy)
	case err != nil:
		return nil, err
	}
	l.last = line
	return line[:len(line)-1], nil
}

// count adds the last line to the sum.
func (l *lines) count() { _, _ = l.sum.Write(l.last) } // never fails

func (l *lines) total() (sum [32]byte) {
	l.sum.Sum(sum[:0])
	return sum
}
