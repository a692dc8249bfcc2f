package bus

import (
	"encoding/json"
	"maps"
	"slices"
	"unicode/utf8"

	"github.com/annals-go/annals/event"
)

// metadataSize is about how many bytes appendMetadata appends.
func metadataSize(m *event.Metadata) int {
	n := 160 + len(m.Correlation) + len(m.Causation) + len(m.Actor) + len(m.Tenant) + len(m.TraceParent) + len(m.TraceState)
	for k, v := range m.Extra {
		n += len(k) + len(v) + 6
	}
	return n
}

// appendMetadata appends m as JSON. It is what json.Marshal does, for texts that need no
// escapes, which are nearly all, at a fraction of the cost; it is never longer.
func appendMetadata(b []byte, m *event.Metadata) ([]byte, error) {
	w := jsonWriter{b: b}
	w.text(`"correlation":`, m.Correlation)
	w.text(`"causation":`, m.Causation)
	w.text(`"actor":`, m.Actor)
	w.text(`"tenant":`, m.Tenant)
	if !m.EventTime.IsZero() {
		w.comma(`"event_time":"`)
		var err error
		if w.b, err = m.EventTime.AppendText(w.b); err != nil {
			return b, err
		}
		w.b = append(w.b, '"')
	}
	w.text(`"traceparent":`, m.TraceParent)
	w.text(`"tracestate":`, m.TraceState)
	if len(m.Extra) > 0 {
		w.comma(`"extra":`)
		w.extra(m.Extra)
	}
	if w.hard {
		stored, err := json.Marshal(*m) // not m: each event would be moved to the heap for it
		return append(b, stored...), err
	}
	if w.any {
		return append(w.b, '}'), nil
	}
	return append(b, '{', '}'), nil
}

// jsonWriter writes an object.
type jsonWriter struct {
	b    []byte
	any  bool // there is a field
	hard bool // some text needs escapes: what was written is void
}

func (w *jsonWriter) comma(key string) {
	c := byte('{')
	if w.any {
		c = ','
	}
	w.b, w.any = append(append(w.b, c), key...), true
}

func (w *jsonWriter) text(key, s string) {
	if s != "" {
		w.comma(key)
		w.quoted(s)
	}
}

func (w *jsonWriter) quoted(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			w.hard = true
		}
	}
	w.hard = w.hard || !utf8.ValidString(s)
	w.b = append(append(append(w.b, '"'), s...), '"')
}

func (w *jsonWriter) extra(m map[string]string) {
	var few [8]string
	keys := slices.AppendSeq(few[:0], maps.Keys(m))
	slices.Sort(keys)
	c := byte('{')
	for _, k := range keys {
		w.b = append(w.b, c)
		w.quoted(k)
		w.b = append(w.b, ':')
		w.quoted(m[k])
		c = ','
	}
	w.b = append(w.b, '}')
}

// readMetadata is json.Unmarshal into a zero m. What appendMetadata writes, without
// escapes, it reads at a fraction of the cost.
func readMetadata(b []byte, m *event.Metadata) error {
	r := jsonReader{rest: string(b)}
	read := event.Metadata{ID: m.ID}
	if r.metadata(&read) && r.rest == "" && utf8.Valid(b) {
		*m = read
		return nil
	}
	slow := *m // with m itself each event would be moved to the heap
	err := json.Unmarshal(b, &slow)
	*m = slow
	return err
}

// jsonReader reads objects without spaces and escapes. Whatever is not plain ends it with
// false.
type jsonReader struct{ rest string }

func (r *jsonReader) skip(c byte) bool {
	if r.rest == "" || r.rest[0] != c {
		return false
	}
	r.rest = r.rest[1:]
	return true
}

func (r *jsonReader) text() (s string, ok bool) {
	if !r.skip('"') {
		return "", false
	}
	for i := range len(r.rest) {
		switch c := r.rest[i]; {
		case c == '"':
			s, r.rest = r.rest[:i], r.rest[i+1:]
			return s, true
		case c < ' ' || c == '\\':
			return "", false
		}
	}
	return "", false
}

// object calls field with each key; it reads the value.
func (r *jsonReader) object(field func(key string) bool) bool {
	if !r.skip('{') {
		return false
	}
	if r.skip('}') {
		return true
	}
	for {
		key, ok := r.text()
		if !ok || !r.skip(':') || !field(key) {
			return false
		}
		if !r.skip(',') {
			return r.skip('}')
		}
	}
}

func (r *jsonReader) metadata(m *event.Metadata) bool {
	return r.object(func(key string) bool {
		var to *string
		switch key {
		case "correlation":
			to = &m.Correlation
		case "causation":
			to = &m.Causation
		case "actor":
			to = &m.Actor
		case "tenant":
			to = &m.Tenant
		case "traceparent":
			to = &m.TraceParent
		case "tracestate":
			to = &m.TraceState
		case "event_time":
			s, ok := r.text()
			return ok && m.EventTime.UnmarshalText([]byte(s)) == nil
		case "extra":
			if m.Extra != nil {
				return false
			}
			m.Extra = map[string]string{}
			return r.object(func(key string) (ok bool) {
				m.Extra[key], ok = r.text()
				return ok
			})
		default:
			return false
		}
		s, ok := r.text()
		*to = s
		return ok
	})
}
