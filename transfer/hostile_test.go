package transfer_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/transfer"
)

// hostile files, and why each is refused.
func hostile() map[string]struct{ file, want string } {
	cut, again := ": it was cut or changed on the way, export or copy it again", ": lines were reordered or repeated: export again"
	head := `: the first line of an export begins with {"format":"annals.log"`
	one := line(1, "order-1", 1)
	id := "0197d3a0-0000-7000-8000-0000000000"
	sized := func(n int) string {
		return line(1, "order-1", 1, `{"n":1}`, `"`+strings.Repeat("x", n-2)+`"`)
	}
	return map[string]struct{ file, want string }{
		"empty":                {"", "line 1: the file is empty"},
		"not NDJSON":           {"position,stream\n1,order-1\n", `line 1: not a JSON object: byte 1 is "p", want '{'` + head},
		"byte order mark":      {"\ufeff" + file(one), `line 1: not a JSON object: byte 1 is "\xef", want '{'` + head},
		"another format":       {trailed(0, 0, `{"format":"other.log","format_version":1}`), `line 1: format is "other.log", want "annals.log"` + head},
		"no format":            {trailed(0, 0, `{"format_version":1}`), `line 1: format is missing` + head},
		"newer version":        {trailed(0, 0, `{"format":"annals.log","format_version":2}`), `line 1: format_version is 2, want 1: read it with a newer annals`},
		"unknown header key":   {trailed(0, 0, `{"format":"annals.log","format_version":1,"x":1}`), `line 1: unknown key "x" in the header` + head},
		"twice in the header":  {trailed(0, 0, `{"format":"annals.log","format_version":1,"format":"annals.log"}`), `line 1: key "format" comes twice` + head},
		"store is no UUID":     {trailed(0, 0, `{"format":"annals.log","format_version":1,"store":"\u001b[2J"}`), `line 1: store is "\x1b[2J", want a UUID` + head},
		"no header":            {trailed(1, 1, one), `line 1: unknown key "position" in the header` + head},
		"written time":         {trailed(0, 0, `{"format":"annals.log","format_version":1,"written_time":"now"}`), `line 1: written_time is "now", want UTC to the microsecond, such as 2026-01-31T09:00:00.000001Z` + head},
		"line too long":        {file(line(1, "order-1", 1, `{"n":1}`, `"`+strings.Repeat("x", transfer.MaxLineBytes)+`"`)), "line 2: longer than 6291456 bytes, which no event needs"},
		"endless line":         {header + "\n" + strings.Repeat("x", 2*transfer.MaxLineBytes), "line 2: longer than 6291456 bytes, which no event needs"},
		"blank line":           {file(one, ""), `line 3: not a JSON object: it ends too soon, want '{'`},
		"an array":             {file("[1]"), `line 2: not a JSON object: byte 1 is "[", want '{'`},
		"two objects":          {file(one + one), `line 2: order-1: not a JSON object: byte 235 is "{", want the end of the line`},
		"unknown key":          {file(line(1, "order-1", 1, `"schema"`, `"sql":"DROP","schema"`)), `line 2: order-1: unknown key "sql"`},
		"duplicate key":        {file(line(1, "order-1", 1, `"version":1`, `"version":1,"version":2`)), `line 2: order-1: key "version" comes twice`},
		"duplicate by escape":  {file(line(1, "order-1", 1, `"version":1`, `"version":1,"versio\u006e":2`)), `line 2: order-1: key "version" comes twice`},
		"two payloads":         {file(line(1, "order-1", 1, `"payload"`, `"payload_text":"","payload"`)), `line 2: order-1: key "payload" comes after another payload: one of payload, payload_text and payload_base64 is wanted`},
		"event and trailer":    {file(line(1, "order-1", 1, `"payload"`, `"events":1,"payload"`)), `line 2: order-1: keys of an event and of the trailer in one line`},
		"missing key":          {file(line(1, "order-1", 1, `"schema":1,`, "")), "line 2: order-1: schema is missing"},
		"missing payload":      {file(line(1, "order-1", 1, `,"payload":{"n":1}`, "")), "line 2: order-1: payload, payload_text or payload_base64 is missing"},
		"empty object":         {file("{}"), "line 2: position is missing"},
		"not UTF-8":            {file(line(1, "order-1", 1, "order.placed", "order.\xffplaced")), `line 2: order-1: not valid UTF-8: "order.\xffplaced"`},
		"not UTF-8 in payload": {file(line(1, "order-1", 1, `{"n":1}`, "\"\xff\"")), `line 2: order-1: not valid UTF-8: "\"\xff\""`},
		"lone surrogate":       {file(line(1, "order-1", 1, `"payload":{"n":1}`, `"payload_text":"\ud800x"`)), `line 2: order-1: not valid UTF-8: a lone surrogate \ud800`},
		"control character":    {file(line(1, "order-1", 1, "order.placed", "order.\x00placed")), `line 2: order-1: not a JSON object: byte 104 is "\x00", want control characters to be escaped`},
		"unknown escape":       {file(line(1, "order-1", 1, "order.placed", `order.\xplaced`)), `line 2: order-1: not a JSON object: byte 105 is "x", want an escape of JSON`},
		"payload is no JSON":   {file(line(1, "order-1", 1, `{"n":1}`, `{"n":01}`)), `line 2: order-1: not JSON: "{\"n\":01}"`},
		"no base64":            {file(line(1, "order-1", 1, `"payload":{"n":1}`, `"payload_base64":"A"`)), "line 2: order-1: payload_base64 is no base64: illegal base64 data at input byte 0"},
		"loose base64":         {file(line(1, "order-1", 1, `"payload":{"n":1}`, `"payload_base64":"AB=="`)), "line 2: order-1: payload_base64 is no base64: illegal base64 data at input byte 2"},
		"broken base64":        {file(line(1, "order-1", 1, `"payload":{"n":1}`, `"payload_base64":"AA\n=="`)), "line 2: order-1: payload_base64 is no base64: a line break in it"},
		"nested too deep":      {file(line(1, "order-1", 1, `{"n":1}`, strings.Repeat("[", 100_000))), "line 2: order-1: JSON is nested more than 64 deep: write a payload like that as payload_text"},
		"no category":          {file(line(1, "order", 1)), `line 2: invalid stream "order": want category-id, such as order-o-1`},
		"bad category":         {file(line(1, "1order-1", 1)), `line 2: invalid category "1order": want letters, digits and underscores, beginning with a letter`},
		"bad stream id":        {file(line(1, "order-1", 1, `"order-1"`, `"order-\u202e"`)), `line 2: invalid stream id "\u202e": character U+202E is not printable`},
		"long stream id":       {file(line(1, "order-"+strings.Repeat("x", 193), 1)), `line 2: invalid stream id "` + strings.Repeat("x", 80) + `...": 193 bytes long, at most 192`},
		"bad name":             {file(line(1, "order-1", 1, "order.placed", "placed")), `line 2: order-1: invalid event name "placed": want family.fact, such as order.placed`},
		"bad content type":     {file(line(1, "order-1", 1, "application/json", "a b")), `line 2: order-1: invalid content type "a b": want 1 to 128 printable ASCII characters`},
		"bad id":               {file(line(1, "order-1", 1, id+"01", "one")), `line 2: order-1: id is "one", want a UUID`},
		"other form of id":     {file(line(1, "order-1", 1, id+"01", "{"+id+"01}")), `line 2: order-1: id is "{` + id + `01}", want a UUID`},
		"zero id":              {file(line(1, "order-1", 1, id+"01", "00000000-0000-0000-0000-000000000000")), `line 2: order-1: id is zero, want a UUID that is none other's`},
		"schema 0":             {file(line(1, "order-1", 1, `"schema":1`, `"schema":0`)), "line 2: order-1: schema version of order.placed, from 1: 0, at most 32767"},
		"schema 40000":         {file(line(1, "order-1", 1, `"schema":1`, `"schema":40000`)), "line 2: order-1: schema version of order.placed, from 1: 40000, at most 32767"},
		"version 0":            {file(line(1, "order-1", 0)), "line 2: order-1: version is 0, want 1 to 281474976710655"},
		"version of 64 bits":   {file(line(1, "order-1", 1, `"version":1`, `"version":9223372036854775807`)), "line 2: order-1: version is 9223372036854775807, want 1 to 281474976710655"},
		"number of 65 bits":    {file(line(1, "order-1", 1, `"version":1`, `"version":9223372036854775808`)), `line 2: order-1: number "9223372036854775808" is out of range`},
		"a fraction":           {file(line(1, "order-1", 1, `"version":1`, `"version":1.0`)), `line 2: order-1: not a JSON object: byte 44 is "1", want a whole number`},
		"number as text":       {file(line(1, "order-1", 1, `"version":1`, `"version":"1"`)), `line 2: order-1: not a JSON object: byte 44 is "\"", want a whole number`},
		"position 0":           {file(line(0, "order-1", 1)), "line 2: order-1: position is 0, want 1 to 281474976710655"},
		"position too high":    {file(line(1, "order-1", 1, `"position":1`, `"position":281474976710656`)), "line 2: order-1: position is 281474976710656, want 1 to 281474976710655"},
		"positions go back":    {file(line(2, "order-1", 1), line(1, "order-2", 1)), "line 3: order-2: position 1 follows 2, want them to grow" + again},
		"position twice":       {file(one, line(1, "order-2", 1)), "line 3: order-2: position 1 follows 1, want them to grow" + again},
		"reordered versions":   {file(one, line(2, "order-1", 3), line(3, "order-1", 2), line(4, "order-1", 4)), "line 3: order-1: version 3 follows 1, want 2: lines are missing: export again, without a selection by name"},
		"versions go back":     {file(line(1, "order-1", 2), line(2, "order-1", 1)), "line 3: order-1: version 1 follows 2, want 3" + again},
		"version twice":        {file(one, line(2, "order-2", 1), line(3, "order-1", 1)), "line 4: order-1: version 1 follows 1, want 2" + again},
		"version missing":      {file(one, line(2, "order-1", 2), line(3, "order-1", 4)), "line 4: order-1: version 4 follows 2, want 3: lines are missing: export again, without a selection by name"},
		"id twice":             {file(one, line(2, "order-2", 1), line(3, "order-1", 2, id+"03", id+"01", `"n":3`, `"n":1`)), "line 4: order-1: id " + id + "01 is that of line 2 too: an id is used once in a stream"},
		"id with other bytes":  {file(one, line(2, "order-1", 2, id+"02", id+"01")), "line 3: order-1: id " + id + "01 is that of line 2 too, for other content: an id is used once in a stream"},
		"after the last":       {file(line(1, "order-1", 1, `"payload"`, `"closes":true,"payload"`), line(2, "order-1", 2)), "line 3: order-1: version 2 follows an event that closes the stream"},
		"payload too large":    {file(sized(eventstore.MaxPayloadBytes + 1)), "line 2: order-1: payload bytes of order.placed: 921601, at most 921600"},
		"metadata too large":   {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"actor":"`+strings.Repeat("x", 17_000)+`"}`)), "line 2: order-1: metadata bytes of order.placed: 17012, at most 16384"},
		"metadata key":         {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"user":"x"}`)), `line 2: order-1: metadata: unknown key "user": keys of your own belong under extra`},
		"metadata key's case":  {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"ACTOR":"x"}`)), `line 2: order-1: metadata: unknown key "ACTOR": keys of your own belong under extra`},
		"metadata key twice":   {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"actor":"x","actor":"y"}`)), `line 2: order-1: metadata: key "actor" comes twice`},
		"extra key twice":      {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"extra":{"a":"x","\u0061":"y"}}`)), `line 2: order-1: metadata: extra key "a" comes twice`},
		"metadata no object":   {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":null`)), `line 2: order-1: not a JSON object: byte 1 is "n", want '{'`},
		"event time":           {file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"event_time":"never"}`)), "line 2: order-1: metadata: event_time is no time such as 2026-01-31T09:00:00Z"},
		"recorded time":        {file(line(1, "order-1", 1, "2026-01-31T08", "2026-01-31 08")), `line 2: order-1: recorded_time is "2026-01-31 08:59:59.123456Z", want UTC to the microsecond, such as 2026-01-31T09:00:00.000001Z`},
		"nanoseconds":          {file(line(1, "order-1", 1, ".123456Z", ".1234567Z")), `line 2: order-1: recorded_time is "2026-01-31T08:59:59.1234567Z", want UTC to the microsecond, such as 2026-01-31T09:00:00.000001Z`},
		"a zone":               {file(line(1, "order-1", 1, ".123456Z", "+01:00")), `line 2: order-1: recorded_time is "2026-01-31T08:59:59+01:00", want UTC to the microsecond, such as 2026-01-31T09:00:00.000001Z`},
		"year 0":               {file(line(1, "order-1", 1, "2026-01-31", "0000-01-31")), `line 2: order-1: recorded_time is "0000-01-31T08:59:59.123456Z", want the years 1970 to 9999`},
		"no trailer":           {header + "\n" + one + "\n", "line 3: the file ends without the trailer" + cut},
		"wrong count":          {trailed(2, 1, header, one), "line 3: the trailer says 2 events, the file has 1" + cut},
		"wrong last position":  {trailed(1, 2, header, one), "line 3: the trailer says last position 2, the file has 1" + cut},
		"half a trailer":       {header + "\n" + `{"events":0}` + "\n", "line 2: last_position is missing"},
		"short sum":            {header + "\n" + `{"events":0,"last_position":0,"sha256":"abcd"}` + "\n", `line 2: sha256 is "abcd", want 64 hexadecimal digits`},
		"changed":              {strings.Replace(file(one), `"n":1`, `"n":2`, 1), "line 3: the trailer says sha256 aaae1cdc38a781a4034ba40edf110736958edf228b6f9164476f21306268544b, the lines before it have 74f12ff789e1525f2e217a4589f297a2f260099c99ed60350d9093c2606cec71" + cut},
		"goes on":              {file(one) + "\n", "line 4: the file goes on after the trailer: two files are not one: import them one after the other"},
		"two files":            {file(one) + file(one), "line 4: the file goes on after the trailer: two files are not one: import them one after the other"},
		"rest of a line":       {file(one) + "x", "line 4: the file goes on after the trailer: two files are not one: import them one after the other"},
		"truncated gzip":       {zipped(file(one))[:100], "line 1: gzip is truncated" + cut},
		"corrupt gzip":         {corrupt(zipped(file(one))), "line 4: gzip is corrupt: gzip: invalid checksum" + cut},
		"half a gzip header":   {"\x1f\x8b", "gzip is truncated" + cut},
		"no gzip":              {"\x1f\x8b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", "gzip is corrupt: gzip: invalid header" + cut},
		"two gzips":            {zipped(header+"\n", file(one)), "line 2: gzip is followed by other data, want one gzip member: decompress it and give the plain file"},
		"gzip and more":        {zipped(file(one)) + "x", "line 4: gzip is followed by other data, want one gzip member: decompress it and give the plain file"},
		"bomb":                 {zipped(header + "\n" + strings.Repeat(strings.Repeat(" ", 1<<20)+"\n", 64)), "line 2: not a JSON object: it ends too soon, want '{'"},
		"bomb in one line":     {zipped(header + "\n" + strings.Repeat(" ", 64<<20)), "line 2: longer than 6291456 bytes, which no event needs"},
	}
}

// corrupt damages the sum at the end of a gzip.
func corrupt(s string) string {
	b := []byte(s)
	b[len(b)-6] ^= 1
	return string(b)
}

func TestHostileFilesAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range hostile() {
		_, err := transfer.Check(ctx(t), text(c.file))
		var refused *transfer.Error
		if !errors.As(err, &refused) || !errors.Is(err, transfer.ErrRefused) {
			t.Errorf("%s: %v, want a refusal", name, err)
			continue
		}
		want := "check file: file refused: " + c.want
		if got := err.Error(); got != want {
			t.Errorf("%s:\ngot  %.400s\nwant %.400s", name, got, want)
		}
	}
}

// A bomb of good events: each payload is zeros.
func TestBombIsRefused(t *testing.T) {
	t.Parallel()
	var lines []string
	for i := range 40 {
		lines = append(lines, line(i+1, "order-1", i+1, fmt.Sprintf(`{"n":%d}`, i+1), `"`+strings.Repeat("0", 600_000)+`"`))
	}
	whole := file(lines...)
	_, err := transfer.Check(ctx(t), text(zipped(whole)))
	if want := "check file: file refused: line 29: gzip expands more than 100 times: if it is meant to, decompress it and give the plain file"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if f, err := transfer.Check(ctx(t), text(whole)); err != nil || f.Events != 40 {
		t.Errorf("the plain file: %v", err)
	}
	_, err = transfer.Check(ctx(t), text(whole), transfer.WithMaxBytes(1_000_000))
	if want := "check file: file refused: line 3: the file is larger than 1000000 bytes, decompressed: raise the limit if it is meant to be"; err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestTooManyExtraKeys(t *testing.T) {
	t.Parallel()
	var extra []string
	for i := range eventstore.MaxExtraKeys + 1 {
		extra = append(extra, fmt.Sprintf(`"k%d":""`, i))
	}
	_, err := transfer.Check(ctx(t), text(file(line(1, "order-1", 1, `"metadata":{}`, `"metadata":{"extra":{`+strings.Join(extra, ",")+`}}`))))
	if want := "check file: file refused: line 2: order-1: extra metadata keys of order.placed: 65, at most 64"; err == nil || err.Error() != want || !errors.Is(err, eventstore.ErrLimit) {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// FuzzLine: a line that is read is written and read again as the same event.
func FuzzLine(f *testing.F) {
	f.Add([]byte(line(1, "order-1", 1)))
	f.Add([]byte(line(1, "order-1", 1, `"payload":{"n":1}`, `"payload_text":"\u0000\ud83d\ude00"`)))
	f.Add([]byte(line(1, "order-1", 1, `"payload":{"n":1}`, `"payload_base64":"//8="`, `"metadata":{}`, `"metadata":{"extra":{"a":"b"}}`)))
	f.Add([]byte(`{"events":1,"last_position":1,"sha256":"00"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		row, err := transfer.ParseLine(b)
		if err != nil || row == nil || bytes.ContainsRune(b, '\n') {
			return
		}
		var out bytes.Buffer
		if _, err := transfer.Write(ctx(t), &out, &logOf{rows: []transfer.Row{*row}}); err != nil {
			t.Fatal(err)
		}
		if row.Position < 1 {
			return // nothing is behind the beginning
		}
		again, err := transfer.ParseLine(bytes.Split(out.Bytes(), []byte("\n"))[1])
		if err != nil || again == nil {
			t.Fatalf("%q became %q: %v", b, &out, err)
		}
		if !bytes.Equal(row.Payload, again.Payload) || row.ID != again.ID || row.Stream != again.Stream || row.Version != again.Version ||
			row.Position != again.Position || row.Name != again.Name || row.Schema != again.Schema || row.ContentType != again.ContentType ||
			row.Closes != again.Closes || !row.RecordedTime.Equal(again.RecordedTime) {
			t.Fatalf("%q became %q", b, &out)
		}
	})
}

// FuzzCheck: whatever the bytes are, they are refused or give as many rows as
// they say.
func FuzzCheck(f *testing.F) {
	f.Add([]byte(file(line(1, "order-1", 1), line(2, "order-2", 1))))
	f.Add([]byte(zipped(file(line(1, "order-1", 1)))))
	f.Add([]byte(header + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		source := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
		checked, err := transfer.Check(ctx(t), source)
		if err != nil {
			if !errors.Is(err, transfer.ErrRefused) {
				t.Fatal(err)
			}
			return
		}
		if rows := collect(t, checked, 0); int64(len(rows)) != checked.Events {
			t.Fatalf("%d rows of %d events", len(rows), checked.Events)
		}
	})
}
