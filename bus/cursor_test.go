package bus

import (
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/worker"
)

// The bytes are read by the programs to come.
func TestCursorIsPinned(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	a, b := worker.Key{Key: "order-1"}, worker.Key{Key: "order-2"}
	want := cursor{7, worker.Write{
		Marks: worker.Checkpoint{
			"": {
				Position: 42, Lineage: "0198c0de-0000-7000-8000-000000000000@0", Server: "s+1", Digest: worker.Digest{1, 0xff},
				Trail: "\x00\xff", Claim: worker.Claim{To: 50, Events: 8, Times: 1},
			},
			"order/shop.order": {Position: 42, Source: "an id", Of: 3},
			"/":                {Position: 42, Offset: 7},
		},
		Park: []worker.Parked{{
			Key: a, State: worker.Waiting, Since: at, Next: at.Add(time.Second), Attempts: 2, Error: "an error", Stack: "a stack",
			Version: "v1", History: []worker.Attempt{{Time: at, Error: "an error", Version: "v1"}}, Owner: "ada", Note: "a note",
		}},
		Items: []worker.Item{{Key: a, Seq: 40}, {Key: a, Seq: 41}},
		Done:  []worker.Item{{Key: b, Seq: 3}},
		Free:  []worker.Key{b},
	}}
	pinned, err := os.ReadFile("testdata/cursor.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeCursor(pinned)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(cursor{})); diff != "" {
		t.Error(diff)
	}
	kept, err := want.encode()
	if err != nil || string(kept)+"\n" != string(pinned) {
		t.Errorf("encode = %s, %v, want %s", kept, err, pinned)
	}
}

func TestCursorOfAnotherProgram(t *testing.T) {
	t.Parallel()
	for kept, want := range map[string]string{
		`{"format":2}`: "decode the cursor: it has format 2, and this program knows 1: run the one that has written it",
		`x`:            "decode the cursor: invalid character 'x' looking for beginning of value",
	} {
		if _, err := decodeCursor([]byte(kept)); err == nil || err.Error() != want {
			t.Errorf("decodeCursor(%s) = %v, want %s", kept, err, want)
		}
	}
}
