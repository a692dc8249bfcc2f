package bus

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// cursor is what a Ledger keeps of a relay: the number of its last transaction, from 1,
// and the write to the outbox that belongs to it.
type cursor struct {
	number int64
	write  worker.Write
}

// cursorFormat is that of the bytes. It changes with what an older program must not pass
// over.
const cursorFormat = 1

type keptCursor struct {
	Format int                 `json:"format"`
	Number int64               `json:"number"`
	Marks  map[string]keptMark `json:"marks"`
	Park   []keptParked        `json:"park,omitempty"`
	Items  []keptItems         `json:"items,omitempty"`
	Done   []keptItems         `json:"done,omitempty"`
	Free   []keptKey           `json:"free,omitempty"`
}

type keptMark struct {
	Position event.Position `json:"position"`
	Source   string         `json:"source,omitempty"`
	Offset   int64          `json:"offset,omitempty"`
	Of       int            `json:"of,omitempty"`
	Lineage  string         `json:"lineage,omitempty"`
	Server   string         `json:"server,omitempty"`
	Digest   []byte         `json:"digest,omitempty"`
	Trail    []byte         `json:"trail,omitempty"`
	Claim    keptClaim      `json:"claim,omitzero"`
}

type keptClaim struct {
	To     event.Position `json:"to"`
	Events int            `json:"events"`
	Times  int            `json:"times"`
}

type keptKey struct {
	Part string `json:"part,omitempty"`
	Key  string `json:"key"`
}

// keptItems are items of one key. All of a relay are in the log, so that their places say
// all.
type keptItems struct {
	keptKey
	Events []int64 `json:"events"`
}

type keptParked struct {
	keptKey
	State    worker.State     `json:"state"`
	Since    time.Time        `json:"since"`
	Next     time.Time        `json:"next"`
	Attempts int              `json:"attempts"`
	Error    string           `json:"error"`
	Stack    string           `json:"stack,omitempty"`
	Version  string           `json:"version,omitempty"`
	History  []worker.Attempt `json:"history,omitempty"`
	Owner    string           `json:"owner,omitempty"`
	Note     string           `json:"note,omitempty"`
}

// encode returns the bytes that decodeCursor reads. Revisions and epochs are not kept:
// only a store knows them.
func (c cursor) encode() ([]byte, error) {
	k := keptCursor{
		Format: cursorFormat, Number: c.number, Marks: map[string]keptMark{},
		Items: keepItems(c.write.Items), Done: keepItems(c.write.Done),
	}
	for part, m := range c.write.Marks {
		mark := keptMark{
			Position: m.Position, Source: m.Source, Offset: m.Offset, Of: m.Of, Lineage: m.Lineage, Server: m.Server,
			Trail: []byte(m.Trail), Claim: keptClaim(m.Claim),
		}
		if m.Digest != (worker.Digest{}) {
			mark.Digest = m.Digest[:]
		}
		k.Marks[part] = mark
	}
	for _, p := range c.write.Park {
		k.Park = append(k.Park, keptParked{
			keptKey(p.Key), p.State, p.Since.UTC(), p.Next.UTC(), p.Attempts, p.Error, p.Stack, p.Version, p.History, p.Owner, p.Note,
		})
	}
	for _, key := range c.write.Free {
		k.Free = append(k.Free, keptKey(key))
	}
	b, err := json.Marshal(k)
	if err != nil {
		return nil, fmt.Errorf("encode the cursor: %w", err)
	}
	return b, nil
}

// keepItems puts items of one key together that follow each other.
func keepItems(items []worker.Item) (out []keptItems) {
	at := map[worker.Key]int{}
	for _, i := range items {
		n, ok := at[i.Key]
		if !ok {
			n, out = len(out), append(out, keptItems{keptKey: keptKey(i.Key)})
			at[i.Key] = n
		}
		out[n].Events = append(out[n].Events, i.Seq)
	}
	return out
}

func itemsOf(kept []keptItems) (out []worker.Item) {
	for _, k := range kept {
		for _, seq := range k.Events {
			out = append(out, worker.Item{Key: worker.Key(k.keptKey), Seq: seq})
		}
	}
	return out
}

func decodeCursor(b []byte) (cursor, error) {
	var k keptCursor
	if err := json.Unmarshal(b, &k); err != nil {
		return cursor{}, fmt.Errorf("decode the cursor: %w", err)
	}
	if k.Format != cursorFormat {
		return cursor{}, fmt.Errorf("decode the cursor: it has format %d, and this program knows %d: run the one that has written it", k.Format, cursorFormat)
	}
	c := cursor{k.Number, worker.Write{Marks: worker.Checkpoint{}, Items: itemsOf(k.Items), Done: itemsOf(k.Done)}}
	for part, m := range k.Marks {
		mark := worker.Mark{
			Position: m.Position, Source: m.Source, Offset: m.Offset, Of: m.Of, Lineage: m.Lineage, Server: m.Server,
			Trail: worker.Trail(m.Trail), Claim: worker.Claim(m.Claim),
		}
		copy(mark.Digest[:], m.Digest)
		c.write.Marks[part] = mark
	}
	for _, p := range k.Park {
		c.write.Park = append(c.write.Park, worker.Parked{
			Key: worker.Key(p.keptKey), State: p.State, Since: p.Since, Next: p.Next, Attempts: p.Attempts,
			Error: p.Error, Stack: p.Stack, Version: p.Version, History: p.History, Owner: p.Owner, Note: p.Note,
		})
	}
	for _, key := range k.Free {
		c.write.Free = append(c.write.Free, worker.Key(key))
	}
	return c, nil
}
