package event_test

import (
	"context"
	"fmt"

	"github.com/annals-go/annals/event"
)

func ExampleWithMetadata() {
	// At the edge of the service, once for each request:
	ctx := event.WithMetadata(context.Background(), event.Metadata{Actor: "ada", Correlation: "req-17"})
	// Whatever is appended under ctx carries it.
	fmt.Println(event.MetadataFrom(ctx).Actor, event.MetadataFrom(ctx).Correlation)
	// Output: ada req-17
}
