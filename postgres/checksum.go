package postgres

import (
	"crypto/sha256"
	"fmt"

	"github.com/annals-go/annals/event"
)

// checksum is checksum_v1 of migrations/001_events.sql.
func checksum(s event.Stream, v event.Version, r event.Raw, metadata []byte) []byte {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%s\x1f%s\x1f%d\x1f%s\x1f%s\x1f%d\x1f%s\x1f%t\x1f%d\x1f", s.Category, s.ID, v, r.Metadata.ID, r.Name, r.Schema, r.ContentType, r.Closes, len(metadata))
	_, _ = h.Write(metadata) // a hash returns no error
	_, _ = h.Write(r.Payload)
	return h.Sum(nil)[:8]
}
