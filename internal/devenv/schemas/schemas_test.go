package schemas

import (
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
)

func TestRegistryServes(t *testing.T) {
	t.Parallel()
	r, err := StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	client, err := avro.NewClient(sr.URLs(r.URL))
	if err != nil {
		t.Fatal(err)
	}
	s := avro.Schema{Text: `{"type":"record","name":"order.Placed","fields":[{"name":"cents","type":"long"}]}`}
	id, err := client.Register(t.Context(), "order.Placed", s)
	if err != nil || id != 1 {
		t.Fatalf("Register = %d, %v", id, err)
	}
	got, err := client.Schema(t.Context(), id)
	if err != nil || got.Text != s.Text {
		t.Errorf("Schema = %+v, %v", got, err)
	}
	if id, err := client.Lookup(t.Context(), "order.Placed", s); err != nil || id != 1 {
		t.Errorf("Lookup = %d, %v", id, err)
	}
	next := avro.Schema{Text: `{"type":"record","name":"order.Placed","fields":[{"name":"cents","type":"long"},{"name":"by","type":"string"}]}`}
	_, err = client.Register(t.Context(), "order.Placed", next)
	t.Log(err)
	_, err = client.Lookup(t.Context(), "order.Placed", next)
	t.Log(err)
	_, err = client.Schema(t.Context(), 7)
	t.Log(err)
	vs, err := client.Versions(t.Context(), "order.Placed")
	t.Log(vs, err)
	m, err := client.Mode(t.Context(), "order.Placed")
	t.Log(m, err, client.SetMode(t.Context(), "order.Placed", avro.Full))
	m, err = client.Mode(t.Context(), "order.Placed")
	t.Log(m, err)
}
