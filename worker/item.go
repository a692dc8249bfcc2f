package worker

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
)

// keptEvent is an event of another store as an item keeps it.
type keptEvent struct {
	Category    string         `json:"category"`
	StreamID    string         `json:"stream_id"`
	Version     int64          `json:"version"`
	Position    int64          `json:"position"`
	Recorded    time.Time      `json:"recorded"`
	ID          event.ID       `json:"id"`
	Name        string         `json:"name"`
	Schema      int            `json:"schema"`
	ContentType string         `json:"content_type"`
	Closes      bool           `json:"closes,omitempty"`
	Metadata    event.Metadata `json:"metadata"`
	Payload     []byte         `json:"payload"`
}

func encodeEvent(e event.Recorded) []byte {
	b, err := json.Marshal(keptEvent{
		e.Stream.Category, e.Stream.ID, int64(e.Version), int64(e.Position), e.RecordedTime,
		e.Metadata.ID, e.Name, e.Schema, e.ContentType, e.Closes, e.Metadata, e.Payload,
	})
	if err != nil {
		panic("worker: " + err.Error()) // all of it is text, numbers and times of the years that metadata may have
	}
	return b
}

func decodeEvent(b []byte) (event.Recorded, error) {
	var k keptEvent
	if err := json.Unmarshal(b, &k); err != nil {
		return event.Recorded{}, fmt.Errorf("decode a parked event: %w", err)
	}
	k.Metadata.ID = k.ID
	return event.Recorded{
		Raw: event.Raw{
			Name: k.Name, Schema: k.Schema, ContentType: k.ContentType, Payload: k.Payload,
			Metadata: k.Metadata, Closes: k.Closes,
		},
		Stream: event.Stream{Category: k.Category, ID: k.StreamID}, Version: event.Version(k.Version),
		Position: event.Position(k.Position), RecordedTime: k.Recorded,
	}, nil
}
