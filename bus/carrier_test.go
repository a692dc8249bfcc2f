package bus

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/event"
)

func carried() Received {
	return Received{
		Message: Message{
			Topic: "shop.order", Key: []byte("o-1"), Value: []byte{0, 255},
			Headers: []Header{{HeaderName, []byte("order.placed")}, {"", nil}, {"k", []byte{}}, {"k", []byte("\xff")}},
		},
		Partition: 3, Offset: 1 << 40, Time: time.Date(2026, 1, 2, 3, 4, 5, 6789, time.UTC),
	}
}

// Messages are kept in this form while they are parked.
func TestCarrierForm(t *testing.T) {
	t.Parallel()
	const want = "\x01\x0bshop.order\x06\x80\x80\x80\x80\x80\x40\xca\xd6\xb9\x95\x0d\x85\x35\x04o-1\x03\x00\xff\x04" +
		"\x0cannals-name\x0dorder.placed\x01\x00\x02k\x01\x02k\x02\xff"
	if got := string(encodeReceived(carried())); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for name, m := range map[string]Received{
		"whole": carried(), "empty": {Time: time.Time{}.UTC()},
		"the bounds": {Message: Message{Key: []byte{}}, Partition: math.MinInt32, Offset: math.MinInt64, Time: time.Unix(1<<55, 999_999_999).UTC()},
	} {
		got, err := Carried(event.Recorded{Raw: event.Raw{ContentType: CarrierType, Payload: encodeReceived(m)}})
		if diff := cmp.Diff(m, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

func TestCarriedFails(t *testing.T) {
	t.Parallel()
	whole := string(encodeReceived(carried()))
	for bad, want := range map[string]string{
		"":                                 "its form is not known: , want 01 first",
		"\x02too new for this program":     "its form is not known: 02746f6f206e6577, want 01 first",
		whole[:len(whole)-1]:               "it is cut short",
		whole[:1]:                          "it is cut short",
		whole + "x":                        "1 bytes too many",
		"\x01\xff\xff\xff\xff\xff\xff\xff": "it is cut short",
		"\x01\x7fa":                        "it is cut short",
	} {
		_, err := Carried(event.Recorded{Raw: event.Raw{ContentType: CarrierType, Payload: []byte(bad)}})
		if err == nil || err.Error() != "read carried message: "+want {
			t.Errorf("%q: %v, want %s", bad, err, want)
		}
	}
	_, err := Carried(event.Recorded{Raw: event.Raw{ContentType: "application/json"}})
	if want := `read carried message: content type "application/json", want application/vnd.annals.message`; err == nil || err.Error() != want {
		t.Errorf("Carried = %v, want %s", err, want)
	}
}

func FuzzCarried(f *testing.F) {
	f.Add(encodeReceived(carried()))
	f.Add(encodeReceived(Received{}))
	f.Add([]byte("\x01\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeReceived(b)
		if err != nil {
			return
		}
		again, err := decodeReceived(encodeReceived(m))
		if diff := cmp.Diff(m, again); err != nil || diff != "" {
			t.Errorf("%v (-first +again):\n%s", err, diff)
		}
	})
}

// FuzzInspect: what is an event here is one to EventOf as far as it is looked at, and what
// is none is none there; a key of a foreign message is no stream's.
func FuzzInspect(f *testing.F) {
	f.Add("0190a5a0-0000-7000-8000-000000000001", "order.placed", "order", "7", []byte("o-1"))
	f.Add("", "", "", "", []byte("order-1"))
	f.Add("x", "order.placed", "order", "-1", []byte{0xff})
	f.Add("0190a5a0-0000-7000-8000-000000000001", "order", "foreign/t", "9223372036854775808", []byte{})
	f.Fuzz(func(t *testing.T, id, name, category, position string, key []byte) {
		m := Message{Topic: "t", Key: key, Headers: []Header{
			{HeaderID, []byte(id)}, {HeaderName, []byte(name)}, {HeaderCategory, []byte(category)}, {HeaderPosition, []byte(position)},
			{HeaderSchema, []byte("1")}, {HeaderContentType, []byte("x")}, {HeaderVersion, []byte("1")},
			{HeaderRecordedTime, []byte("2026-01-02T03:04:05Z")}, {HeaderMetadata, []byte("{}")},
		}}
		about := inspect(m, "")
		e, err := EventOf(m)
		if about.isEvent != (err == nil) {
			t.Fatalf("%+v, but EventOf = %v", about, err)
		}
		if err == nil && (about.name != e.Name || about.stream != e.Stream || about.position != e.Position || about.id != e.Metadata.ID) {
			t.Errorf("%+v, but EventOf = %+v", about, e)
		}
		of := carrier(Delivery{Part: "t/0", Source: "s"}, Received{Message: m}, about)
		text := keyOf(of)
		s, err := event.ParseStream(text)
		if foreign := strings.HasPrefix(text, foreignPrefix); foreign == (err == nil) || !foreign && s != about.stream || len(text) > 300 {
			t.Errorf("key %q, parsed as %v, %v, of %+v", text, s, err, about)
		}
		if of.Metadata.ID == (event.ID{}) {
			t.Error("it is known by nothing")
		}
	})
}

// Times that a store cannot keep are left out where stores see them; the message has them.
func TestCarrierOfAnyTime(t *testing.T) {
	t.Parallel()
	for at, want := range map[time.Time]time.Time{
		time.UnixMilli(math.MaxInt64):                               {},
		time.UnixMilli(-1):                                          time.UnixMilli(-1).UTC(),
		time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC):                {},
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC):            time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
		time.Date(0, 12, 31, 0, 0, 0, 0, time.UTC):                  {},
		time.Date(2026, 1, 2, 3, 4, 5, 6, time.FixedZone("", 3600)): time.Date(2026, 1, 2, 2, 4, 5, 6, time.UTC),
	} {
		e := carrier(Delivery{Part: "t/0"}, Received{Time: at}, headers{})
		m, err := Carried(e)
		if !e.RecordedTime.Equal(want) || err != nil || !m.Time.Equal(at) {
			t.Errorf("%v: carried as %v, of a message of %v, %v", at, e.RecordedTime, m.Time, err)
		}
	}
}
