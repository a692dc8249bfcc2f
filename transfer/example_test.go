package transfer_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/transfer"
)

func Example() {
	ctx := context.Background()
	db := memory.New()
	_, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.None(),
		event.Raw{Name: "order.placed", Schema: 1, ContentType: "application/json", Payload: []byte(`{"cents":1250}`)})
	if err != nil {
		fmt.Println(err)
		return
	}

	var out bytes.Buffer // or a file
	if _, err := transfer.Write(ctx, &out, db); err != nil {
		fmt.Println(err)
		return
	}

	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil }
	file, err := transfer.Check(ctx, open) // of a file: transfer.File("events.ndjson.gz")
	if err != nil {
		fmt.Println(err)
		return
	}
	for row, err := range file.Rows(ctx, 0) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s@%d %s %s\n", row.Stream, row.Version, row.Name, row.Payload)
	}

	cut := out.Bytes()[:out.Len()-10]
	_, err = transfer.Check(ctx, func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(cut)), nil })
	fmt.Println(err)
	// Output:
	// order-o-1@1 order.placed {"cents":1250}
	// check file: file refused: line 3: the file ends within the line: it was cut or changed on the way, export or copy it again
}
