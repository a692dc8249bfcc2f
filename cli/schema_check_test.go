package cli_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/registry"
	"github.com/annals-go/annals/upcast"
)

// jsonOrders returns a codec of JSON that writes order.placed schema version 2 as E.
func jsonOrders[E orderEvent](of func(orderV1) E) *codec.Codec[orderEvent] {
	var zero E
	return codec.JSON(codec.Types[orderEvent]{"order.placed": zero}, upcast.Step("order.placed", 1, of))
}

// A required field that goes, or comes, is named before the program is deployed.
func TestSchemaCheckNamesTheField(t *testing.T) {
	t.Parallel()
	url, dir := schemaRegistry(t), t.TempDir()
	old := cli.WithCodecs(orderCodec[orderV2](avroAt(t, url)))
	if got := run(t, "", []string{"schema", "register", "--registry", url, "--mode", "FULL_TRANSITIVE"}, old); got.Code != 0 {
		t.Fatalf("schema register = %+v", got)
	}
	wrote := "wrote " + filepath.Join(dir, "order.Placed.v1.avsc") + "\nwrote " + filepath.Join(dir, "order.PlacedV2.v1.avsc") + "\n"
	check(t, run(t, "", []string{"schema", "check", "--dir", dir, "--write"}, old),
		result{Stderr: wrote + "checked 2 schemas against 0 files of " + dir + ": all as it should be\n"})
	check(t, run(t, "", []string{"schema", "check", "--registry", url}, old), result{Stderr: "checked 2 schemas against the registry: all as it should be\n"})
	check(t, run(t, "", []string{"schema", "check", "--dir", dir}, old), result{Stderr: "checked 2 schemas against 2 files of " + dir + ": all as it should be\n"})

	less := cli.WithCodecs(orderCodec[orderLess](avroAt(t, url)))
	removed := "incompatible  order.PlacedV2 (order.placed v2) against version 1 under FULL_TRANSITIVE: field order.PlacedV2.Note: " +
		"it does not read what the new schema writes: the reader needs this field, it has no default, and the writer lacks it\n"
	check(t, run(t, "", []string{"schema", "check"}, less, env("SCHEMA_REGISTRY_URL", url)),
		result{Code: 1, Stdout: removed, Stderr: "annals: check schemas: 1 finding in 2 schemas against the registry\n"})
	check(t, run(t, "", []string{"schema", "check", "--dir", dir, "--mode", "FULL_TRANSITIVE"}, less),
		result{Code: 1, Stdout: removed, Stderr: "annals: check schemas: 1 finding in 2 schemas against 2 files of " + dir + "\n"})
	check(t, run(t, "", []string{"schema", "check", "--registry", url, "--output", "json"}, less), result{Code: 1,
		Stdout: `{"finding":"incompatible","subject":"order.PlacedV2","event":"order.placed","schema":2,"version":1,"mode":"FULL_TRANSITIVE","field":"order.PlacedV2.Note","rule":"it does not read what the new schema writes: the reader needs this field, it has no default, and the writer lacks it"}` + "\n",
		Stderr: "annals: check schemas: 1 finding in 2 schemas against the registry\n"})
	// What the subject may have is no finding beside a registry, and one beside a
	// directory, which would not know of it next time.
	check(t, run(t, "", []string{"schema", "check", "--registry", url, "--mode", "BACKWARD"}, less),
		result{Stderr: "checked 2 schemas against the registry (1 not registered yet: run annals schema register): all as it should be\n"})
	check(t, run(t, "", []string{"schema", "check", "--dir", dir}, less), result{Code: 1,
		Stdout: "uncommitted   order.PlacedV2 (order.placed v2): " + dir + " does not have the schema, add it as order.PlacedV2.v2.avsc, or run with --write\n",
		Stderr: "annals: check schemas: 1 finding in 2 schemas against 2 files of " + dir + "\n"})
	// With --dir the registry of the environment is not asked.
	if got := run(t, "", []string{"schema", "check", "--dir", dir}, old, env("SCHEMA_REGISTRY_URL", "http://127.0.0.1:1")); got.Code != 0 {
		t.Errorf("schema check = %+v", got)
	}
	if got := run(t, "", []string{"schema", "check", "--registry", "http://127.0.0.1:1"}, old); got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: list versions of subject order.Placed: what the format looks up is out of reach: http://127.0.0.1:1/") {
		t.Errorf("schema check = %+v", got)
	}
	writeFile(t, filepath.Join(dir, "order.Bad.v1.avsc"), "{")
	if got := run(t, "", []string{"schema", "check", "--dir", dir}, old); got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: read --dir: order.Bad.v1.avsc: not an Avro schema: unexpected EOF") {
		t.Errorf("schema check = %+v", got)
	}
}

// Stored events: what nobody covers, and what is not read any more.
func TestSchemaCheckStored(t *testing.T) {
	t.Parallel()
	database, db := database(t)
	url := schemaRegistry(t)
	register := avro.WithRegistration()
	appendTo(t, db, "order-1",
		written(t, orderCodec[orderV2](avroAt(t, url, register)), orderEvent(orderV2{Cents: 1, Note: "n"})),
		event.Raw{Name: "order.noted", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Cents":1}`)},
		event.Raw{Name: "payment.made", Schema: 3, ContentType: "text/plain", Payload: []byte(`?`)})
	noted := codec.JSON(codec.Types[any]{"item.added": struct{ Cents int64 }{}})
	codecs := cli.WithCodecs
	appendTo(t, db, "item-1",
		event.Raw{Name: "item.added", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Cents":"1"}`)},
		event.Raw{Name: "item.added", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Cents":1}`)},
		event.Raw{Name: "item.added", Schema: 2, ContentType: "application/json", Payload: []byte(`{"Cents":1}`)},
		event.Raw{Name: "item.added", Schema: 1, ContentType: "text/plain", Payload: []byte(`{"Cents":1}`)})
	got := run(t, database, []string{"schema", "check"}, codecs(orderCodec[orderText](avroAt(t, url)), noted))
	want := `undecodable   item.added v1 at position 4: field Cents: decode item-1@1 (item.added, position 4): event cannot be decoded: json: cannot unmarshal string into Go struct field .Cents of type int64 (1 of 2 samples failed, of 2 events)
undecodable   item.added v1 at position 7: decode item-1@4 (item.added, position 7): event cannot be decoded: content type is "text/plain", this codec reads "application/json" (1 of 1 samples failed, of 1 event)
undecodable   item.added v2 at position 6: decode item-1@3 (item.added, position 6): event cannot be decoded: unknown schema version 2 of item.added: this program knows up to 1 (1 of 1 samples failed, of 1 event)
undecodable   order.noted v1 at position 2: decode order-1@2 (order.noted, position 2): event cannot be decoded: unknown event name "order.noted" (1 of 1 samples failed, of 1 event)
undecodable   order.placed v2 at position 1: field order.PlacedV2.Cents: decode order-1@1 (order.placed, position 1): event cannot be decoded: schema id 1: schema is not compatible: field order.PlacedV2.Cents: this program does not read what it has written: the writer has type long, the reader string (1 of 1 samples failed, of 1 event)
unknown       payment.made v3 at position 3: no codec of this program covers it, and 1 event is stored up to position 3: give cli.WithCodecs its codec, or leave it out with --ignore payment
`
	check(t, got, result{Code: 1, Stdout: want, Stderr: "annals: check schemas: 6 findings in 6 samples of 6 stored shapes\n"})
	got = run(t, database, []string{"schema", "check", "--ignore", "item,order", "--output", "json"}, codecs(codec.JSON(codec.Types[any]{"basket.made": struct{}{}})))
	check(t, got, result{Code: 1, Stdout: `{"finding":"unknown","event":"payment.made","schema":3,"rule":"no codec of this program covers it, and 1 event is stored up to position 3: give cli.WithCodecs its codec, or leave it out with --ignore payment","position":3}` + "\n",
		Stderr: "annals: check schemas: 1 finding in 0 samples of 1 stored shape (5 ignored)\n"})
	check(t, run(t, database, []string{"schema", "check", "--ignore", "item,payment,order"}, codecs(codec.JSON(codec.Types[any]{"basket.made": struct{}{}}))),
		result{Stderr: "checked 0 samples of 0 stored shapes (6 ignored): all as it should be\n"})
	// A registry that is away says nothing of the events.
	got = run(t, database, []string{"schema", "check", "--ignore", "item,payment"}, codecs(orderCodec[orderV2](avroAt(t, "http://127.0.0.1:1"))))
	if got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: check stored order.placed v2: decode order-1@1 (order.placed, position 1): ") || !strings.Contains(got.Stderr, "out of reach") {
		t.Errorf("schema check = %+v, want that the registry is out of reach", got)
	}
	if got := run(t, database, []string{"schema", "check", "--schema", "elsewhere"}, codecs(noted)); got.Code != 1 || !strings.Contains(got.Stderr, "run annals migrate") {
		t.Errorf("schema check = %+v", got)
	}
}

// A single event among many is sampled, and so are the first and the last of the many.
func TestSchemaCheckSamples(t *testing.T) {
	t.Parallel()
	database, db := database(t)
	for i := range 60 {
		raw := event.Raw{Name: "item.added", Schema: 1, ContentType: "application/json", Payload: []byte(`{"Cents":1}`)}
		if i == 59 {
			raw.Payload = []byte(`{"Cents":true}`)
		}
		if i == 33 {
			raw.Schema = 2
		}
		appendTo(t, db, "item-1", raw)
	}
	got := run(t, database, []string{"schema", "check", "--samples", "5"}, cli.WithCodecs(codec.JSON(codec.Types[any]{"item.added": struct{ Cents int64 }{}})))
	if got.Code != 1 || !strings.Contains(got.Stdout, "item.added v1 at position 60: field Cents: ") || !strings.Contains(got.Stdout, "(1 of 5 samples failed, of 59 events)") ||
		!strings.Contains(got.Stdout, "item.added v2 at position 34: ") || got.Stderr != "annals: check schemas: 2 findings in 6 samples of 2 stored shapes\n" {
		t.Errorf("schema check = %+v", got)
	}
}

func TestSchemaCheckCorpus(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"order.placed.v1.json":        `{"Euros":12}`,
		"order.placed.v1.json.want":   `[{"Cents":1200,"Note":"old"}]`,
		"order.placed.v2.json":        `{"Cents":1,"Note":"n"}`,
		"order.placed.v2.json.want":   `[{"Cents":1,"Note":"n"}]`,
		"order.placed.v2.free.json":   `{"Cents":1}`,
		"payment.made.v1.json":        `{}`,
		"order.shipped.v1.README.txt": "",
	} {
		writeFile(t, filepath.Join(dir, name), text)
	}
	args := []string{"schema", "check", "--corpus", dir, "--no-database", "--ignore", "payment"}
	old := jsonOrders(func(v orderV1) orderV2 { return orderV2{Cents: v.Euros * 100, Note: "old"} })
	check(t, run(t, "postgres://nowhere", args, cli.WithCodecs(old)), result{Stderr: "checked 4 pinned payloads of " + dir + ": all as it should be\n"})
	// A field that is gone is named; JSON itself would not miss it.
	less := jsonOrders(func(v orderV1) orderLess { return orderLess{v.Euros * 100} })
	shipped := codec.JSON(codec.Types[any]{"ship.sent": struct{}{}})
	check(t, run(t, "postgres://nowhere", args[:len(args)-2], cli.WithCodecs(less, shipped)), result{Code: 1, Stdout: `changed       order.placed v1 in order.placed.v1.json: field [0].Note: decodes to [{"Cents":1200}], want [{"Cents":1200,"Note":"old"}]
changed       order.placed v2 in order.placed.v2.json: field [0].Note: decodes to [{"Cents":1}], want [{"Cents":1,"Note":"n"}]
unknown       payment.made v1 in payment.made.v1.json: no codec covers payment.made
unpinned      ship.sent v1: corpus has no file for ship.sent.v1: store one as ship.sent.v1.json
`, Stderr: "annals: check schemas: 4 findings in 4 pinned payloads of " + dir + "\n"})
	text := jsonOrders(func(orderV1) orderText { return orderText{} })
	got := run(t, "", append(args, "--output", "json"), cli.WithCodecs(text))
	if o := objects(t, got.Stdout); got.Code != 1 || len(o) != 3 || o[1]["finding"] != "undecodable" || o[1]["field"] != "Cents" || o[1]["file"] != "order.placed.v2.free.json" {
		t.Errorf("schema check = %+v", got)
	}
	// Of Avro the schemas are compared, so it needs no files; those that are there are read.
	url := schemaRegistry(t)
	orders := orderCodec[orderV2](avroAt(t, url, avro.WithRegistration()))
	empty := t.TempDir()
	check(t, run(t, "", []string{"schema", "check", "--corpus", empty}, cli.WithCodecs(orders)), result{Stderr: "checked 0 pinned payloads of " + empty + ": all as it should be\n"})
	writeFile(t, filepath.Join(empty, "order.placed.v2.payload"), string(written(t, orders, orderEvent(orderV2{})).Payload))
	if got := run(t, "", []string{"schema", "check", "--corpus", empty}, cli.WithCodecs(orderCodec[orderText](avroAt(t, url)))); got.Code != 1 || !strings.HasPrefix(got.Stdout, "undecodable   order.placed v2 in order.placed.v2.payload: field order.PlacedV2.Cents: ") {
		t.Errorf("schema check = %+v", got)
	}
	if got := run(t, "", []string{"schema", "check", "--corpus", empty}, cli.WithCodecs(orderCodec[orderV2](avroAt(t, "http://127.0.0.1:1")))); got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: check pinned payload order.placed.v2.payload: ") {
		t.Errorf("schema check = %+v", got)
	}
}

// What the registry is asked with is in no output, whatever the registry answers.
func TestRegistrySecretsAreNeverShown(t *testing.T) {
	t.Parallel()
	plain := schemaRegistry(t, registry.WithBasicAuth("app", canary))
	old := orderCodec[orderV2](avroAt(t, strings.Replace(plain, "://", "://app:"+canary+"@", 1)))
	basic := base64.StdEncoding.EncodeToString([]byte("app:" + canary))
	// One that repeats what it was asked with, in the answers and their errors.
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(w, `{"error_code":409,"message":"no %s %s:%s %s"}`, r.Header.Get("Authorization"), user, password, r.URL)
	}))
	t.Cleanup(echo.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	tls := httptest.NewTLSServer(registry.New(registry.Memory(), registry.WithBasicAuth("app", canary)))
	t.Cleanup(tls.Close)
	writeFile(t, ca, "-----BEGIN CERTIFICATE-----\n"+base64.StdEncoding.EncodeToString(tls.Certificate().Raw)+"\n-----END CERTIFICATE-----\n")
	with := func(url, user string) string { return strings.Replace(url, "://", "://"+user+"@", 1) }
	for _, c := range []struct {
		url  string
		env  []string
		code int
	}{
		{with(plain, "app:"+canary), nil, 0},
		{plain, []string{"SCHEMA_REGISTRY_USER", "app", "SCHEMA_REGISTRY_PASSWORD", canary}, 0},
		{tls.URL, []string{"SCHEMA_REGISTRY_USER", "app", "SCHEMA_REGISTRY_PASSWORD", canary}, 0},
		{with(plain, "app:x"+canary), nil, 1},
		{with(plain, "app:x%20"+canary), nil, 1},
		{plain, []string{"SCHEMA_REGISTRY_TOKEN", canary}, 1},
		{with(echo.URL, "app:"+canary), nil, 1},
		{with(echo.URL, "app:%61"+canary), nil, 1},
		{echo.URL, []string{"SCHEMA_REGISTRY_USER", "app", "SCHEMA_REGISTRY_PASSWORD", canary}, 1},
		{echo.URL, []string{"SCHEMA_REGISTRY_TOKEN", canary}, 1},
		{with("http://127.0.0.1:1", "app:"+canary), nil, 1},
		{"http://app:12/" + canary + "@127.0.0.1:1", nil, 2},
		{"http://app:" + canary + "@127.0.0.1:nan", nil, 2},
		{"http://app:%zz" + canary + "@127.0.0.1", nil, 2},
		{"app:" + canary + "@127.0.0.1:1", nil, 2},
	} {
		for _, args := range [][]string{{"ls"}, {"check"}, {"register"}, {"register", "--mode", "FULL", "--dry-run"}} {
			for _, output := range []string{"table", "json"} {
				for _, flag := range []bool{true, false} {
					args, env := append([]string{"schema", "--output", output, "--registry-ca", ca}, args...), map[string]string{}
					for i := 0; i < len(c.env); i += 2 {
						env[c.env[i]] = c.env[i+1]
					}
					if flag {
						args = append(args, "--registry", c.url)
					} else {
						env["SCHEMA_REGISTRY_URL"] = c.url
					}
					got := run(t, "", args, cli.WithCodecs(old), cli.WithEnv(env))
					all := got.Stdout + got.Stderr
					if got.Code != c.code || strings.Contains(all, canary) || strings.Contains(all, basic) {
						t.Errorf("%s %q: %q = %+v, want exit code %d and no password", c.url, c.env, args, got, c.code)
					}
				}
			}
		}
	}
	// In the wrong place.
	for _, args := range [][]string{
		{"schema", "ls", with(plain, "app:"+canary)}, {"schema", "check", with(plain, "app:"+canary)}, {with(plain, "app:"+canary)},
		{"schema", "check", "--dir", with(plain, "app:"+canary)}, {"schema", "check", "--mode", with(plain, "app:"+canary)},
	} {
		if got := run(t, "", args, cli.WithCodecs(old)); got.Code == 0 || strings.Contains(got.Stdout+got.Stderr, canary) {
			t.Errorf("%q = %+v, want no password", args, got)
		}
	}
}

// Names of schemas are data.
func TestSchemaNamesAreNoTerminalControl(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i, name := range []string{"a\x1b[2J.v1.avsc", "b\u202e.v1.avsc", "c%0A%1B.v1.avsc"} {
		writeFile(t, filepath.Join(dir, name), fmt.Sprintf(`{"type":"record","name":"R%d","fields":[]}`, i))
	}
	url := schemaRegistry(t)
	for _, args := range [][]string{{"register", "--dir", dir, "--registry", url, "--mode", "FULL"}, {"check", "--dir", dir, "--registry", url}, {"ls", "--registry", url}} {
		got := run(t, "", append([]string{"schema"}, args...))
		if strings.ContainsAny(got.Stdout+got.Stderr, "\x1b\u202e") {
			t.Errorf("%q = %+v, want no control characters", args, got)
		}
	}
}
