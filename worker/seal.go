package worker

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrAltered is matched by *AlteredError.
var ErrAltered = errors.New("checkpoint was changed by other means")

// AlteredError says that a stored mark is not what a worker has written: somebody has
// changed the row, or it is the row of another reader. To go on from it could skip
// events, so nothing reads on.
type AlteredError struct {
	Name, Part string
	Mark       Mark // as it is stored
}

func (e *AlteredError) Error() string {
	return fmt.Sprintf("checkpoint %s: part %q: the mark at position %d was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force", e.Name, e.Part, e.Mark.Position)
}

// Is reports whether target is ErrAltered.
func (e *AlteredError) Is(target error) bool { return target == ErrAltered }

// Seal is a digest of a mark and of whose it is. A store keeps it beside the mark and
// compares it on every read, so that a row that was changed, or copied from another
// reader, is noticed. It is no signature: who wants to can compute it too.
func Seal(name, part string, m Mark) Digest {
	h := sha256.New()
	text := func(s string) {
		_ = binary.Write(h, binary.BigEndian, int64(len(s)))
		_, _ = h.Write([]byte(s))
	}
	for _, s := range []string{"annals mark 1", name, part, m.Source, m.Lineage, m.Server, string(m.Digest[:]), string(m.Trail)} {
		text(s)
	}
	for _, n := range []int64{int64(m.Position), m.Offset, int64(m.Of), int64(m.Claim.To), int64(m.Claim.Events), int64(m.Claim.Times), m.Epoch, m.Revision} {
		_ = binary.Write(h, binary.BigEndian, n)
	}
	var d Digest
	copy(d[:], h.Sum(nil))
	return d
}
