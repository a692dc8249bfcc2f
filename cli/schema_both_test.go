package cli_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/codec"
)

// A service that goes from JSON to Avro: pinned files of both are read, and the schemas are
// registered before the first event is written with them.
func TestSchemaOfTwoFormats(t *testing.T) {
	t.Parallel()
	url, dir := schemaRegistry(t), t.TempDir()
	reads := func() cli.Option {
		return cli.WithCodecs(orderCodec[orderV2](codec.JSONFormat()).AlsoReading(avroAt(t, url)))
	}
	if got := run(t, "", []string{"schema", "register", "--registry", url}, reads()); got.Code != 0 || !strings.Contains(got.Stdout, "order.PlacedV2") {
		t.Errorf("schema register = %+v", got)
	}
	after := orderCodec[orderV2](avroAt(t, url)).AlsoReading(codec.JSONFormat())
	writeFile(t, filepath.Join(dir, "order.placed.v2.json"), `{"Cents":1}`)
	writeFile(t, filepath.Join(dir, "order.placed.v2.new.payload"), string(written(t, after, orderEvent(orderV2{Cents: 2})).Payload))
	for _, file := range []string{"order.placed.v2.json", "order.placed.v2.new.payload"} {
		writeFile(t, filepath.Join(dir, file+".want"), map[bool]string{true: `[{"Cents":1,"Note":""}]`, false: `[{"Cents":2,"Note":""}]`}[strings.HasSuffix(file, ".json")])
	}
	check(t, run(t, "", []string{"schema", "check", "--corpus", dir}, cli.WithCodecs(after)), result{Stderr: "checked 2 pinned payloads of " + dir + ": all as it should be\n"})
	if got := run(t, "", []string{"schema", "ls", "--registry", url}, reads()); got.Code != 0 || !strings.Contains(got.Stdout, "order.PlacedV2") || !strings.Contains(got.Stdout, "application/json") {
		t.Errorf("schema ls = %+v", got)
	}
}
