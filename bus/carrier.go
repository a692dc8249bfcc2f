package bus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
)

// CarrierType is the content type of the events that a Consumer hands to its hooks, and
// parks: their payload is a message, which Carried returns.
const CarrierType = "application/vnd.annals.message"

// Carried returns the message that an event carries: see CarrierType.
func Carried(e event.Recorded) (Received, error) {
	if e.ContentType != CarrierType {
		return Received{}, fmt.Errorf("read carried message: content type %q, want %s", e.ContentType, CarrierType)
	}
	m, err := decodeReceived(e.Payload)
	if err != nil {
		return Received{}, fmt.Errorf("read carried message: %w", err)
	}
	return m, nil
}

// carrier returns the event that carries a message through a worker.
func carrier(d Delivery, m Received, h headers) event.Recorded {
	return event.Recorded{
		Raw: event.Raw{
			Name: h.name, ContentType: CarrierType, Payload: encodeReceived(m),
			Metadata: event.Metadata{ID: h.identify(d, m.Offset)},
		},
		Stream:       h.keyed(d.Part, m.Message),
		Position:     h.position,
		RecordedTime: keepable(m.Time),
	}
}

// keepable returns a time that every store can keep: producers may say anything.
func keepable(t time.Time) time.Time {
	if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// The stored form of a message: a byte that names the form, then its parts. A number is
// a varint; a text is its length and its bytes; bytes are 0 for nil, else the length plus
// one, and the bytes.
const carrierForm = 1

func encodeReceived(m Received) []byte {
	n := 1 + 8*binary.MaxVarintLen32 + len(m.Topic) + len(m.Key) + len(m.Value)
	for _, h := range m.Headers {
		n += 2*binary.MaxVarintLen32 + len(h.Key) + len(h.Value)
	}
	b := append(make([]byte, 0, n), carrierForm)
	b = appendBytes(b, []byte(m.Topic))
	b = binary.AppendVarint(b, int64(m.Partition))
	b = binary.AppendVarint(b, m.Offset)
	b = binary.AppendVarint(b, m.Time.Unix())
	b = binary.AppendUvarint(b, uint64(m.Time.Nanosecond())) //nolint:gosec // it is never negative
	b = appendBytes(b, m.Key)
	b = appendBytes(b, m.Value)
	b = binary.AppendUvarint(b, uint64(len(m.Headers)))
	for _, h := range m.Headers {
		b = appendBytes(b, []byte(h.Key))
		b = appendBytes(b, h.Value)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	if v == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(v))+1), v...)
}

// decodeReceived returns a message whose bytes are those of b.
func decodeReceived(b []byte) (Received, error) {
	if len(b) == 0 || b[0] != carrierForm {
		return Received{}, fmt.Errorf("its form is not known: %.8x, want %02x first", b, carrierForm)
	}
	r := carrierReader{b: b[1:]}
	var m Received
	m.Topic = string(r.bytes())
	m.Partition = int32(r.number()) //nolint:gosec // it was one
	m.Offset = r.number()
	seconds, nanos := r.number(), r.size(1e9-1)
	m.Time = time.Unix(seconds, int64(nanos)).UTC()
	m.Key, m.Value = r.bytes(), r.bytes()
	if n := r.size(len(r.b) / 2); n > 0 { // each takes two bytes at least
		m.Headers = make([]Header, n)
		for i := range m.Headers {
			m.Headers[i] = Header{known(r.bytes()), r.bytes()}
		}
	}
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes too many", len(r.b))
	}
	if r.err != nil {
		return Received{}, r.err
	}
	return m, nil
}

// known returns the key of a header, without a copy if it is one of ours.
func known(key []byte) string {
	switch string(key) {
	case HeaderID:
		return HeaderID
	case HeaderName:
		return HeaderName
	case HeaderSchema:
		return HeaderSchema
	case HeaderContentType:
		return HeaderContentType
	case HeaderCategory:
		return HeaderCategory
	case HeaderVersion:
		return HeaderVersion
	case HeaderPosition:
		return HeaderPosition
	case HeaderRecordedTime:
		return HeaderRecordedTime
	case HeaderMetadata:
		return HeaderMetadata
	case HeaderLineage:
		return HeaderLineage
	case HeaderTraceParent:
		return HeaderTraceParent
	}
	return string(key)
}

var errCutShort = errors.New("it is cut short")

// carrierReader keeps the first error.
type carrierReader struct {
	b   []byte
	err error
}

func (r *carrierReader) number() int64 {
	v, n := binary.Varint(r.b)
	return took(r, v, n)
}

// size returns a number that is no more than most.
func (r *carrierReader) size(most int) int {
	v, n := binary.Uvarint(r.b)
	if v = took(r, v, n); r.err == nil && v > uint64(most) { //nolint:gosec // it is never negative
		r.err = errCutShort
	}
	if r.err != nil {
		return 0
	}
	return int(v) //nolint:gosec // it is at most most
}

func took[T int64 | uint64](r *carrierReader, v T, n int) T {
	if r.err == nil && n <= 0 {
		r.err = errCutShort
	}
	if r.err != nil {
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *carrierReader) bytes() []byte {
	n := r.size(len(r.b)) // with the length itself it is one more
	if n == 0 {
		return nil
	}
	if n--; n > len(r.b) {
		r.err = errCutShort
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}
