package postgres

import (
	"crypto/sha256"
	"hash"
	"strconv"

	"github.com/annals-go/annals/transfer"
)

// summer computes checksum_v1 of migrations/001_events.sql.
type summer struct {
	hash hash.Hash
	buf  []byte
}

// append appends the checksum of a row.
func (s *summer) append(b []byte, r *transfer.Row) []byte {
	const tab = '\x1f'
	if s.hash == nil {
		s.hash = sha256.New()
	}
	s.hash.Reset()
	t := append(append(s.buf[:0], r.Stream.Category...), tab)
	t = append(append(t, r.Stream.ID...), tab)
	t = append(strconv.AppendInt(t, int64(r.Version), 10), tab)
	t = append(t, r.ID.String()...)
	t = append(append(append(t, tab), r.Name...), tab)
	t = append(strconv.AppendInt(t, int64(r.Schema), 10), tab)
	t = append(append(t, r.ContentType...), tab)
	t = append(strconv.AppendBool(t, r.Closes), tab)
	t = append(strconv.AppendInt(t, int64(len(r.Metadata)), 10), tab)
	s.buf = t
	_, _ = s.hash.Write(t) // a hash returns no error
	_, _ = s.hash.Write(r.Metadata)
	_, _ = s.hash.Write(r.Payload)
	return append(b, s.hash.Sum(t[:0])[:8]...)
}
