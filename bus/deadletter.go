package bus

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// The headers of a dead letter, before those of the message itself. Their names are those
// that other tools use.
const (
	HeaderDeadTopic     = "dlq.topic" // where the message is
	HeaderDeadPartition = "dlq.partition"
	HeaderDeadOffset    = "dlq.offset"
	HeaderDeadTime      = "dlq.timestamp"     // of the record, RFC 3339
	HeaderDeadConsumer  = "dlq.group"         // the name of the consumer's checkpoint
	HeaderDeadError     = "dlq.error"         // of the last attempt
	HeaderDeadAttempts  = "dlq.attempts"      // how many there were
	HeaderDeadSince     = "dlq.first-failure" // RFC 3339
	HeaderDeadVersion   = "dlq.version"       // of the program
)

// deadLetters sends copies of messages that are about to wait.
type deadLetters struct {
	to       Publisher
	topic    Contract
	consumer string
	logger   *slog.Logger

	exist atomic.Bool // the topic does
}

// send is a Reader.Waiting. A copy that cannot be sent however long one waits, such as one
// that is too large with its headers, holds up nothing: what counts is what is parked.
func (d *deadLetters) send(ctx context.Context, p worker.Parked, e event.Recorded) error {
	m, err := Carried(e)
	if err != nil {
		err = worker.Permanent(err)
	} else {
		err = d.publish(ctx, d.letter(p, m))
	}
	switch {
	case worker.IsPermanent(err):
		d.logger.ErrorContext(ctx, "dead letter is refused, parking without it", "consumer", d.consumer, "topic", d.topic.Topic,
			"part", p.Part, "key", p.Key.Key, "error", err)
		return nil
	case err != nil:
		return fmt.Errorf("send dead letter to %s: %w", d.topic.Topic, err)
	}
	return nil
}

func (d *deadLetters) letter(p worker.Parked, m Received) Message {
	about := []Header{
		{HeaderDeadTopic, []byte(m.Topic)},
		{HeaderDeadPartition, strconv.AppendInt(nil, int64(m.Partition), 10)},
		{HeaderDeadOffset, strconv.AppendInt(nil, m.Offset, 10)},
		{HeaderDeadTime, keepable(m.Time).AppendFormat(nil, time.RFC3339Nano)},
		{HeaderDeadConsumer, []byte(d.consumer)},
		{HeaderDeadError, []byte(p.Error)},
		{HeaderDeadAttempts, strconv.AppendInt(nil, int64(p.Attempts), 10)},
		{HeaderDeadSince, p.Since.UTC().AppendFormat(nil, time.RFC3339Nano)},
		{HeaderDeadVersion, []byte(p.Version)},
	}
	return Message{Topic: d.topic.Topic, Key: m.Key, Value: m.Value, Headers: slices.Concat(about, m.Headers)}
}

// publish makes the topic first, if nobody has. Nobody waits for another one here: while
// the broker is away each partition would wait for all the others.
func (d *deadLetters) publish(ctx context.Context, m Message) error {
	if !d.exist.Load() {
		have, err := d.to.Topics(ctx, d.topic.Topic)
		if err != nil {
			return worker.Systemic(err)
		}
		if _, ok := have[d.topic.Topic]; !ok {
			if err := d.to.Create(ctx, d.topic); err != nil {
				return worker.Systemic(err)
			}
		}
		d.exist.Store(true)
	}
	err := d.to.Publish(ctx, []Message{m})
	if err != nil {
		d.exist.Store(false) // perhaps it was deleted meanwhile
	}
	return err
}
