package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/annals-go/annals/event"
)

// Digest stands for all events that a reader of the log was given, in order. It
// is the first half of SHA-256 over the digest before and the next event. The
// zero value stands for none.
type Digest [16]byte

// Next returns the digest after more events.
func (d Digest) Next(events ...event.Recorded) Digest {
	w := digester{Hash: sha256.New(), buf: make([]byte, 0, 256)}
	for _, e := range events {
		d = w.next(d, e)
	}
	return d
}

type digester struct {
	hash.Hash
	buf []byte
}

// next hashes all of an event but its recorded time and, beside the id, its
// metadata. Lengths go first, so that no two events make the same bytes.
func (w *digester) next(d Digest, e event.Recorded) Digest {
	w.Reset()
	b := append(w.buf[:0], d[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Position))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Version))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Schema))
	b = append(b, e.Metadata.ID[:]...)
	for _, s := range [...]string{e.Stream.Category, e.Stream.ID, e.Name, e.ContentType} {
		b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
		b = append(b, s...)
	}
	if e.Closes {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	w.buf = b
	_, _ = w.Write(b) // a hash returns no error
	_, _ = w.Write(e.Payload)
	copy(d[:], w.Sum(w.buf[:0]))
	return d
}
