package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/worker"
)

// parkedRecord is a parked key.
type parkedRecord struct {
	Reader   string           `json:"reader"`
	Part     string           `json:"part"`
	Key      string           `json:"key"`
	State    worker.State     `json:"state"`
	Events   int              `json:"events"`
	First    int64            `json:"first"`
	Since    time.Time        `json:"since"`
	Next     *time.Time       `json:"next,omitempty"` // if it is retrying
	Attempts int              `json:"attempts"`
	Owner    string           `json:"owner,omitempty"`
	Note     string           `json:"note,omitempty"`
	Error    string           `json:"error"`
	Stack    string           `json:"stack,omitempty"`
	Version  string           `json:"version,omitempty"`
	History  []worker.Attempt `json:"history,omitempty"`
	Items    []itemRecord     `json:"items,omitempty"` // with show
}

func newParkedRecord(reader string, p worker.Parked) parkedRecord {
	r := parkedRecord{
		Reader: reader, Part: p.Part, Key: p.Key.Key, State: p.State, Events: p.Events, First: p.First, Since: p.Since,
		Attempts: p.Attempts, Owner: p.Owner, Note: p.Note, Error: p.Error, Stack: p.Stack, Version: p.Version, History: p.History,
	}
	if p.State == worker.Retrying {
		r.Next = orNil(p.Next)
	}
	return r
}

var parkedHeader = []string{"READER", "PART", "KEY", "STATE", "EVENTS", "FIRST", "SINCE", "ATTEMPTS", "OWNER", "ERROR"}

func (r parkedRecord) cells(int) []string {
	return []string{
		r.Reader, orDash(r.Part), r.Key, string(r.State), strconv.Itoa(r.Events), number(r.First), r.Since.Format(tableTime),
		strconv.Itoa(r.Attempts), orDash(r.Owner), r.Error,
	}
}

// page writes all of it for people, each text of the database escaped.
func (r parkedRecord) page(w io.Writer) error {
	var b strings.Builder
	line := func(what, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", what, escape(text))
		}
	}
	line("reader", r.Reader)
	line("part", r.Part)
	line("key", r.Key)
	line("state", string(r.State))
	line("since", r.Since.Format(tableTime))
	if r.Next != nil {
		line("next", r.Next.Format(tableTime))
	}
	line("attempts", strconv.Itoa(r.Attempts))
	line("owner", r.Owner)
	line("note", r.Note)
	line("version", r.Version)
	line("error", r.Error)
	if r.Stack != "" {
		b.WriteString("stack\n")
		for l := range strings.Lines(r.Stack) {
			fmt.Fprintf(&b, "  %s\n", escape(strings.ReplaceAll(strings.TrimRight(l, "\n"), "\t", "  ")))
		}
	}
	b.WriteString("attempts, oldest first\n")
	for _, h := range r.History {
		fmt.Fprintf(&b, "  %s  %s  %s\n", h.Time.Format(tableTime), escape(orDash(h.Version)), escape(h.Error))
	}
	fmt.Fprintf(&b, "events, in order (%d)\n", r.Events)
	for _, i := range r.Items {
		fmt.Fprintf(&b, "  %d  %s\n", i.Seq, escape(i.text()))
		if i.Message != nil {
			i.Message.page(&b)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// itemRecord is one event, or message, that is held aside.
type itemRecord struct {
	Seq     int64          `json:"seq"`
	Stream  string         `json:"stream,omitempty"`
	Version int64          `json:"version,omitempty"`
	Name    string         `json:"name,omitempty"`
	Bytes   int            `json:"bytes,omitempty"` // of one that is kept here
	Gone    bool           `json:"gone,omitempty"`  // from the log
	Message *messageRecord `json:"message,omitempty"`
}

func (i itemRecord) text() string {
	switch {
	case i.Gone:
		return "(not in the log any more)"
	case i.Message != nil:
		return fmt.Sprintf("%s/%d  offset %d  %s", i.Message.Topic, i.Message.Partition, i.Message.Offset, orDash(i.Name))
	case i.Stream == "":
		return fmt.Sprintf("(%d bytes)", i.Bytes)
	}
	return fmt.Sprintf("%s  version %d  %s", i.Stream, i.Version, i.Name)
}

// keptItem is an item whose bytes are kept; what they say is told if it can be read.
func keptItem(i worker.Item) itemRecord {
	r := itemRecord{Seq: i.Seq, Bytes: len(i.Data), Message: keptMessage(i)}
	var e struct {
		Category string `json:"category"`
		StreamID string `json:"stream_id"`
		Version  int64  `json:"version"`
		Name     string `json:"name"`
	}
	switch err := json.Unmarshal(i.Data, &e); {
	case err != nil:
	case r.Message != nil:
		r.Name = e.Name
	case e.Category != "":
		r.Stream, r.Version, r.Name = event.Stream{Category: e.Category, ID: e.StreamID}.String(), e.Version, e.Name
	}
	return r
}

// auditRecord is what somebody has asked for.
type auditRecord struct {
	Time   time.Time `json:"time"`
	Actor  string    `json:"actor"`
	Action string    `json:"action"`
	Part   string    `json:"part"`
	Key    string    `json:"key"`
	Seq    int64     `json:"seq,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

var auditHeader = []string{"TIME", "ACTOR", "ACTION", "PART", "KEY", "SEQ", "DETAIL"}

func (r auditRecord) cells(int) []string {
	seq := "-"
	if r.Seq != 0 {
		seq = number(r.Seq)
	}
	return []string{r.Time.Format(tableTime), r.Actor, r.Action, orDash(r.Part), r.Key, seq, r.Detail}
}
