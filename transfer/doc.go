// Package transfer is the log as a file: it writes the events of any
// eventstore.Log as lines of JSON, and reads such a file with distrust. Package
// postgres imports what has passed Check; package cli has both as commands.
//
// # Usage
//
//	summary, err := transfer.Write(ctx, w, db)
//
//	file, err := transfer.Check(ctx, transfer.File("events.ndjson.gz"))
//	result, err := db.Import(ctx, file)
//
// # Format
//
// NDJSON: one JSON object a line, each ended by "\n", plain or as one gzip
// member. The first line is the header, the last one the trailer, each line in
// between an event:
//
//	{"format":"annals.log","format_version":1,"store":"5b0c...","written_time":"2026-01-31T09:00:00Z"}
//	{"position":7,"stream":"order-o-1","version":1,"id":"0197...","name":"order.placed","schema":1,
//	 "recorded_time":"2026-01-31T08:59:59.123456Z","metadata":{"actor":"ada"},"content_type":"application/json",
//	 "payload":{"cents":1250}}
//	{"events":1,"last_position":7,"sha256":"9f86..."}
//
// The trailer has the SHA-256 of all bytes before it, so a file that was cut or
// changed anywhere is seen to be. That sum names the content: an import that was
// interrupted is found again by it, whether the file is compressed or not.
//
// A payload is kept byte for byte, in the most readable of three keys that can:
// payload is JSON as it is stored, payload_text a text, payload_base64 anything.
// Metadata is in the form in which it is stored; a file in another spelling is
// read, and stored in that form. closes is there when it is true. Keys may come
// in any order, and unknown ones are refused.
//
// Write escapes every character that a terminal could act on.
//
// # Ordering
//
// Write writes in the order of the log, up to the newest event that there was
// when it began, and nothing that is not final. In a file positions grow, and
// the versions of each stream follow on each other without a hole, from
// whichever the file begins with.
//
// # Failure
//
// Check reads the whole file and touches no store. It refuses a file as a whole,
// with a *Error that names the line and the stream; package comment and Error
// text say what is wanted. Rows reads a checked file again and says where every
// byte up to there is as it was checked: nothing behind such a place should be
// committed. It is ErrChanged when the file is another one by then.
//
// Memory is bounded: about 40 MiB with the garbage, one line, and two bits for each event. What
// does not fit goes to temporary files of 80 bytes an event.
package transfer

import (
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
)

const (
	formatName    = "annals.log"
	formatVersion = 1

	// MaxLineBytes is the longest line of a file. Every event within the limits of
	// package eventstore has a shorter one, however its characters are escaped.
	MaxLineBytes = 6 << 20

	// MaxPosition is the greatest position that a store draws.
	MaxPosition event.Position = 1<<48 - 1

	// TimeSlack is how far the recorded times of a file may go back from the
	// latest one before. Times are taken by appends that run at once, so a log
	// goes back by moments; PositionBefore halves over them.
	TimeSlack = time.Second

	// A chunk is what an import commits together: as many events or bytes of
	// lines, whichever comes first.
	chunkEvents = 10_000
	chunkBytes  = 8 << 20
)

// The longest spelling of an event writes each byte of payload and metadata as
// \u0000.
var _ [MaxLineBytes - 6*(eventstore.MaxPayloadBytes+eventstore.MaxMetadataBytes+event.MaxIDBytes) - 4096]struct{}

// Header is the first line of a file: where the events come from.
type Header struct {
	// Store is the incarnation of the store, empty if it is not known.
	Store string
	// WrittenTime is when the file was begun, in UTC.
	WrittenTime time.Time
}

// Row is an event of a file, as it is stored.
type Row struct {
	// Line is that of the file, from 1; events begin at 2.
	Line int64
	// Position is that of the store that the file comes from.
	Position     event.Position
	Stream       event.Stream
	Version      event.Version
	ID           event.ID
	Name         string
	Schema       int
	ContentType  string
	Payload      []byte // valid until the next row
	Metadata     []byte // as JSON; valid until the next row
	Closes       bool
	RecordedTime time.Time

	// First: the file has no event of the stream before.
	First bool
	// Checked: every byte of the file up to here is as it was checked. The rows
	// up to one with it set may be committed.
	Checked bool
}
