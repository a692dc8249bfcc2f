package main

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// clock counts from the start of a trial. Appender and reader are in one
// process and have the same one.
type clock struct{ start time.Time }

func (c clock) now() time.Duration { return time.Since(c.start) }

const stampFrame = `{"at":"%020d","text":"%0*d"}`

// stamp returns a payload that carries the time.
func (c clock) stamp() []byte {
	const rest = payloadBytes - len(`{"at":"","text":""}`) - 20
	return fmt.Appendf(make([]byte, 0, payloadBytes), stampFrame, c.now(), rest, 0)
}

// read returns the time that the payload carries.
func (c clock) read(payload []byte) time.Duration {
	const begin = len(`{"at":"`)
	n, err := strconv.ParseInt(string(payload[begin:begin+20]), 10, 64)
	if err != nil {
		panic("bench: a payload without a time: " + err.Error()) // nobody else writes there
	}
	return time.Duration(n)
}

// sleep returns early, with an error, when ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
