package main

import (
	"fmt"

	"github.com/annals-go/annals/event"
)

// streamLength is how many events an author appends to a stream before it goes
// on to the next one.
const streamLength = 20

// author is one caller. It knows the versions of its streams, because nobody
// else appends to them, and both sides get the same streams.
type author struct {
	caller int
	stream int
	at     event.Version
	events []event.Raw
}

func newAuthors(callers, events int) []*author {
	out := make([]*author, callers)
	for i := range out {
		out[i] = &author{caller: i, events: batch(events)}
	}
	return out
}

// batch returns events of 256 bytes without ids: each append draws its own.
func batch(n int) []event.Raw {
	out := make([]event.Raw, n)
	for i := range out {
		out[i] = event.Raw{Name: "bench.measured", Schema: 1, ContentType: "application/json", Payload: payload(i)}
	}
	return out
}

const payloadBytes = 256

func payload(i int) []byte {
	const frame = `{"number":%6d,"text":"%0*d"}`
	rest := payloadBytes - len(fmt.Sprintf(frame, 0, 1, 0)) + 1
	return fmt.Appendf(nil, frame, i, rest, i)
}

func (a *author) current() event.Stream {
	return event.Stream{Category: "bench", ID: fmt.Sprintf("%03d-%07d", a.caller, a.stream)}
}

// wrote is called after an append of the author's events was answered.
func (a *author) wrote() {
	a.at += event.Version(len(a.events))
	if a.at >= streamLength {
		a.stream, a.at = a.stream+1, 0
	}
}
