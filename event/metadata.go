package event

import (
	"context"
	"maps"
	"time"

	"github.com/google/uuid"
)

// ID identifies one event for ever. Annals makes ids as UUID version 7, so
// that they grow with time and stay local in an index; any UUID is accepted.
type ID = uuid.UUID

// NewID returns a new random UUID version 7 (RFC 9562). It panics when the
// operating system has no randomness left, as crypto/rand does.
func NewID() ID { return uuid.Must(uuid.NewV7()) }

// Metadata says where an event comes from. Only ID means something to Annals;
// all else is carried unchanged to the store, to Kafka and to every handler.
// Its JSON form, without the ID, is part of the storage format.
type Metadata struct {
	// ID makes an append idempotent: within its stream an id is appended once.
	// Zero: the store draws a new one.
	ID ID `json:"-"`
	// Correlation is shared by everything that one request set off.
	Correlation string `json:"correlation,omitempty"`
	// Causation is the id of the event or command that led to this event.
	Causation string `json:"causation,omitempty"`
	// Actor is the person or service on whose behalf it happened.
	Actor string `json:"actor,omitempty"`
	// Tenant is the customer whose data it is, in a store shared by several.
	Tenant string `json:"tenant,omitempty"`
	// EventTime is when the fact happened, which may be long before it was
	// recorded: the instant is kept, to the nanosecond, and its zone if that is of
	// whole minutes. Years 0 to 9999. Zero: it was not stated.
	EventTime time.Time `json:"event_time,omitzero"`
	// TraceParent and TraceState are the W3C trace context headers.
	TraceParent string `json:"traceparent,omitempty"`
	TraceState  string `json:"tracestate,omitempty"`
	// Extra holds the user's own keys.
	Extra map[string]string `json:"extra,omitempty"`
}

type metadataKey struct{}

// WithMetadata returns a context whose appends carry m. The context's ID is
// never used: every event gets its own.
func WithMetadata(ctx context.Context, m Metadata) context.Context {
	m.ID = ID{}
	m.Extra = maps.Clone(m.Extra)
	return context.WithValue(ctx, metadataKey{}, m)
}

// MetadataFrom returns the metadata that ctx carries, or a zero one. The map
// in it is the context's own: do not change it.
func MetadataFrom(ctx context.Context) Metadata {
	m, _ := ctx.Value(metadataKey{}).(Metadata)
	return m
}

// WithCause returns a context for work that r sets off: what is appended under
// it carries r's correlation, actor, tenant and trace context, and names r as
// its cause. Handlers of projections and consumers get such a context.
func WithCause(ctx context.Context, r Recorded) context.Context {
	m := r.Metadata
	if m.Correlation == "" {
		m.Correlation = m.ID.String()
	}
	m.Causation = m.ID.String()
	m.EventTime = time.Time{}
	m.Extra = nil
	return WithMetadata(ctx, m)
}
