package postgres

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/annals-go/annals/event"
)

// eventColumns is what decoder expects, in this order.
const eventColumns = `position, category, stream_id, version, event_id, name, schema_version, content_type, payload, metadata, closes, recorded_at`

// decoder turns rows into events. Rows in the binary format, which pgx asks for
// in most of its modes, are read as they are: it is the longest part of a read.
// Texts are the same bytes in both formats, and pgx asks for the other one. In other
// modes rows go through Scan.
type decoder struct {
	binary bool
	last   event.Recorded // the names of the row before, which mostly come again
}

func newDecoder(rows pgx.Rows) *decoder {
	d := &decoder{binary: true}
	for _, f := range rows.FieldDescriptions() {
		d.binary = d.binary && (f.Format == pgtype.BinaryFormatCode || f.DataTypeOID == pgtype.TextOID)
	}
	return d
}

// decode fills an event that owns its payload and metadata, and returns their size.
func (d *decoder) decode(rows pgx.Rows, r *event.Recorded) (size int, err error) {
	var metadata []byte
	if d.binary {
		metadata, err = d.raw(rows.RawValues(), r)
	} else {
		metadata, err = scan(rows, r)
	}
	if err != nil {
		return 0, err
	}
	if len(metadata) > len("{}") {
		if err := json.Unmarshal(metadata, &r.Metadata); err != nil {
			return 0, fmt.Errorf("metadata of %s: %w", r, err)
		}
	}
	return len(r.Payload) + len(metadata), nil
}

func scan(rows pgx.Rows, r *event.Recorded) (metadata []byte, err error) {
	var (
		schema int16
		at     time.Time
	)
	err = rows.Scan((*int64)(&r.Position), &r.Stream.Category, &r.Stream.ID, (*int64)(&r.Version), (*[16]byte)(&r.Metadata.ID),
		&r.Name, &schema, &r.ContentType, &r.Payload, &metadata, &r.Closes, &at)
	r.Schema, r.RecordedTime = int(schema), at.UTC()
	return metadata, err
}

// raw reads the binary format of the columns' types: integers in network order,
// texts and byte strings as they are, times in microseconds since 2000. What it
// returns is valid until the next row.
func (d *decoder) raw(v [][]byte, r *event.Recorded) (metadata []byte, err error) {
	if len(v) != 12 || len(v[0]) != 8 || len(v[3]) != 8 || len(v[4]) != 16 || len(v[6]) != 2 || len(v[10]) != 1 || len(v[11]) != 8 {
		return nil, errColumns
	}
	r.Position = event.Position(number(v[0]))
	r.Stream.Category = again(v[1], d.last.Stream.Category)
	r.Stream.ID = again(v[2], d.last.Stream.ID)
	r.Version = event.Version(number(v[3]))
	r.Metadata.ID = event.ID(v[4])
	r.Name = again(v[5], d.last.Name)
	r.Schema = int(int16(binary.BigEndian.Uint16(v[6])))
	r.ContentType = again(v[7], d.last.ContentType)
	r.Payload = append(make([]byte, 0, len(v[8])), v[8]...)
	r.Closes = v[10][0] != 0
	r.RecordedTime = time.UnixMicro(number(v[11]) + microseconds2000).UTC()
	d.last.Stream, d.last.Name, d.last.ContentType = r.Stream, r.Name, r.ContentType
	return v[9], nil
}

// microseconds2000 is 2000-01-01 00:00 UTC in Unix time.
const microseconds2000 = 946_684_800_000_000

var errColumns = fmt.Errorf("read events: want the columns %s", eventColumns)

func number(b []byte) int64 { return int64(binary.BigEndian.Uint64(b)) }

// again returns the text without a new string if it is the last one.
func again(b []byte, last string) string {
	if string(b) == last {
		return last
	}
	return string(b)
}
