package schemas

import (
	"context"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// Tests that set SCHEMA_REGISTRY_URL are not parallel.

var placed = avro.Schema{Text: `{"type":"record","name":"order.Placed","fields":[{"name":"cents","type":"long"}]}`}

func connect(t *testing.T, r *Registry) *avro.Client {
	t.Helper()
	c, err := avro.NewClient(sr.URLs(r.URL), sr.HTTPClient(&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestStartEmbedded(t *testing.T) {
	t.Setenv("SCHEMA_REGISTRY_URL", "https://registry.example.com")
	r, err := StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if r.External || !strings.HasPrefix(r.URL, "http://127.0.0.1:") {
		t.Errorf("got %+v, want one of our own on 127.0.0.1", r)
	}
	if id, err := connect(t, r).Register(t.Context(), "order.Placed", placed); err != nil || id != 1 {
		t.Errorf("Register = %d, %v", id, err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Setenv("SCHEMA_REGISTRY_URL", "")
	r, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, r).Subjects(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Close()
	r.Close()
	if conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://")); err == nil {
		conn.Close()
		t.Error("connected to a closed registry")
	}
	stacks := make([]byte, 1<<20)
	if n := runtime.Stack(stacks, true); strings.Contains(string(stacks[:n]), "schemas.serve.func") {
		t.Errorf("a goroutine is left:\n%s", stacks[:n])
	}
}

func TestStartOn(t *testing.T) {
	t.Parallel()
	pool := postgrestest.Pool(t)
	first, err := StartOn(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(first.Close)
	id, err := connect(t, first).Register(t.Context(), "order.Placed", placed)
	if err != nil {
		t.Fatal(err)
	}
	first.Close()
	second, err := StartOn(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(second.Close)
	if got, err := connect(t, second).Schema(t.Context(), id); err != nil || got.Text != placed.Text {
		t.Errorf("after a restart: %+v, %v", got, err)
	}
}

func TestExternalRegistry(t *testing.T) {
	inner, err := StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(inner.Close)
	t.Setenv("SCHEMA_REGISTRY_URL", inner.URL)
	r, err := Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !r.External || r.URL != inner.URL {
		t.Errorf("got %+v, want %s, external", r, inner.URL)
	}
	r.Close()
	if _, err := connect(t, inner).Subjects(t.Context()); err != nil {
		t.Errorf("after Close of an external registry: %v", err)
	}
}

func TestStartFails(t *testing.T) {
	for _, u := range []string{"registry:8081", "http://", "http://anna:s3cr3t@%zz"} {
		t.Setenv("SCHEMA_REGISTRY_URL", u)
		_, err := Start(t.Context())
		if want := "start schema registry: SCHEMA_REGISTRY_URL is not of the form https://host:port"; err == nil || err.Error() != want {
			t.Errorf("%s: got error %v, want %s", u, err, want)
		}
	}
	t.Setenv("SCHEMA_REGISTRY_URL", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want context.Canceled", err)
	}
}
