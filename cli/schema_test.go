package cli_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/cli"
	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/internal/registry"
	"github.com/annals-go/annals/upcast"
)

// The order service as it was, and as somebody wants it to be.
type (
	orderEvent interface{ isOrder() }
	orderV1    struct{ Euros int64 }
	orderV2    struct {
		Cents int64
		Note  string
	}
	orderMore struct {
		Cents int64
		Note  string
		VAT   int64 `avro:",default=19"`
	}
	orderLess struct{ Cents int64 }
	orderText struct {
		Cents string
		Note  string
	}
)

func (orderV2) isOrder()   {}
func (orderMore) isOrder() {}
func (orderLess) isOrder() {}
func (orderText) isOrder() {}

// orderCodec returns a codec that writes order.placed schema version 2 as E.
func orderCodec[E orderEvent](f codec.Format) *codec.Codec[orderEvent] {
	var zero E
	return codec.New[orderEvent](f, codec.Types[orderEvent]{"order.placed": zero},
		upcast.Step("order.placed", 1, func(v orderV1) E { return zero }))
}

// schemaRegistry starts a registry and returns its URL.
func schemaRegistry(t *testing.T, opts ...registry.Option) string {
	t.Helper()
	s := httptest.NewServer(registry.New(registry.Memory(), opts...))
	t.Cleanup(s.Close)
	return s.URL
}

// avroAt returns a format with the registry.
func avroAt(t *testing.T, url string, opts ...avro.Option) *avro.Format {
	t.Helper()
	c, err := avro.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	return avro.New(c, opts...)
}

// written returns the event as it is stored.
func written[E any](t *testing.T, c *codec.Codec[E], e E) event.Raw {
	t.Helper()
	raw, err := c.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSchemaLs(t *testing.T) {
	t.Parallel()
	url := schemaRegistry(t)
	codecs := cli.WithCodecs(orderCodec[orderV2](avroAt(t, url)), codec.JSON(codec.Types[any]{"payment.made": struct{ Cents int64 }{}}))
	got := run(t, "", []string{"schema", "ls"}, codecs)
	want := `EVENT         SCHEMA  WRITTEN  SUBJECT         ID  NEWEST  MODE  STATE  CONTENT TYPE                    GO TYPE
order.placed  1       no       order.Placed    -   -       -     -      application/vnd.confluent.avro  cli_test.orderV1
order.placed  2       yes      order.PlacedV2  -   -       -     -      application/vnd.confluent.avro  cli_test.orderV2
payment.made  1       yes      -               -   -       -     -      application/json                struct { Cents int64 }
`
	check(t, got, result{Stdout: want})
	check(t, run(t, "", []string{"schema", "register", "--registry", url}, codecs), result{Stdout: `SUBJECT         EVENT            ID  RESULT
order.Placed    order.placed v1  1   registered
order.PlacedV2  order.placed v2  2   registered
`})
	// A version more of the one, an incompatible one of the other.
	next := cli.WithCodecs(orderCodec[orderMore](avroAt(t, url)))
	check(t, run(t, "", []string{"schema", "ls", "order.placed", "--registry", url, "--output", "json"}, next), result{Stdout: `` +
		`{"event":"order.placed","schema":1,"content_type":"application/vnd.confluent.avro","go_type":"cli_test.orderV1","written":false,"subject":"order.Placed","id":1,"version":1,"newest_version":1,"mode":"BACKWARD_TRANSITIVE","state":"registered"}` + "\n" +
		`{"event":"order.placed","schema":2,"content_type":"application/vnd.confluent.avro","go_type":"cli_test.orderMore","written":true,"subject":"order.PlacedV2","newest_version":1,"mode":"BACKWARD_TRANSITIVE","state":"differs"}` + "\n"})
	got = run(t, "", []string{"schema", "ls", "--registry", url}, cli.WithCodecs(orderCodec[orderText](avroAt(t, url))))
	if !strings.Contains(got.Stdout, "BACKWARD_TRANSITIVE  incompatible") {
		t.Errorf("schema ls = %+v, want that it is incompatible", got)
	}
	got = run(t, "", []string{"schema", "ls", "--registry", schemaRegistry(t)}, codecs)
	if strings.Count(got.Stdout, "not registered") != 2 {
		t.Errorf("schema ls = %+v, want that two are not registered", got)
	}
	// Without codecs: the subjects.
	check(t, run(t, "", []string{"schema", "ls"}, env("SCHEMA_REGISTRY_URL", url)), result{Stdout: `SUBJECT         ID  NEWEST  MODE
order.Placed    1   1       BACKWARD_TRANSITIVE
order.PlacedV2  2   1       BACKWARD_TRANSITIVE
`})
	check(t, run(t, "", []string{"schema", "ls", "order.Placed", "--registry", url, "--output", "json"}),
		result{Stdout: `{"subject":"order.Placed","id":1,"newest_version":1,"mode":"BACKWARD_TRANSITIVE"}` + "\n"})
	if got := run(t, "", []string{"__complete", "schema", "ls", ""}, codecs); !strings.HasPrefix(got.Stdout, "order.placed\npayment.made\n") {
		t.Errorf("completion of names = %+v", got)
	}
	if got := run(t, "", []string{"__complete", "schema", "check", "--mode", ""}); !strings.HasPrefix(got.Stdout, "BACKWARD_TRANSITIVE\n") || !strings.Contains(got.Stdout, "NONE\n") {
		t.Errorf("completion of --mode = %+v", got)
	}
}

// env sets variables of the environment.
func env(pairs ...string) cli.Option {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return cli.WithEnv(m)
}

func TestSchemaWrongUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	jsonOnly := cli.WithCodecs(codec.JSON(codec.Types[any]{"payment.made": struct{ Cents int64 }{}}))
	noPEM := filepath.Join(dir, "ca.pem")
	writeFile(t, noPEM, "none")
	noCodecs := "this program has no codecs: run the command in the binary of the service, made with cli.WithCodecs, or give --dir"
	noRegistry := "no schema registry, set --registry or the environment variable SCHEMA_REGISTRY_URL to https://host:port"
	for _, c := range []struct {
		args []string
		opt  cli.Option
		want string
	}{
		{[]string{"ls"}, env(), noRegistry},
		{[]string{"ls", "order.nosuch"}, jsonOnly, "list schemas: no codec knows the name order.nosuch"},
		{[]string{"check"}, env(), noCodecs},
		{[]string{"check"}, jsonOnly, "check schemas: nothing to compare with, give --registry, --dir, --corpus or a database"},
		{[]string{"check", "--write"}, jsonOnly, "--write: want --dir, the directory to write to"},
		{[]string{"check", "--mode", "SIDEWARD"}, jsonOnly, `invalid argument "SIDEWARD" for "--mode" flag: want BACKWARD_TRANSITIVE or BACKWARD or FORWARD or FORWARD_TRANSITIVE or FULL or FULL_TRANSITIVE or NONE`},
		{[]string{"check", "--samples", "1"}, jsonOnly, `invalid argument "1" for "--samples" flag: want a whole number from 2 to 10000`},
		{[]string{"check", "--ignore", "order.placed"}, jsonOnly, `invalid argument "order.placed" for "--ignore" flag: want the part of a name before its first dot, such as payment`},
		{[]string{"check", "extra"}, jsonOnly, "schema check: arguments: got 1, want none"},
		{[]string{"register"}, env(), noCodecs},
		{[]string{"register"}, jsonOnly, "register schemas: there are none: no codec has the format avro.Format, or --dir has no files SUBJECT.vVERSION.avsc"},
		{[]string{"register", "--dir", dir}, env(), "register schemas: there are none: no codec has the format avro.Format, or --dir has no files SUBJECT.vVERSION.avsc"},
		{[]string{"register"}, cli.WithCodecs(orderCodec[orderV2](avroAt(t, "http://127.0.0.1:1"))), noRegistry},
		{[]string{"gen"}, env(), "schema gen: arguments: got 0, want at least one FILE, such as order.placed.v1.avsc"},
		{[]string{"ls", "--registry", "http://r", "--registry-ca", noPEM}, env(), "read --registry-ca: " + noPEM + " has no certificate, want PEM"},
		{[]string{"ls", "--registry", "ftp://r"}, env(), "URL of the schema registry cannot be read (it is not shown, because it may hold a password), want https://user:password@host:port/path, with @ / ? in user and password as %40 %2F %3F"},
		{[]string{"ls"}, env("SCHEMA_REGISTRY_URL", "http://r", "SCHEMA_REGISTRY_USER", "u", "SCHEMA_REGISTRY_TOKEN", "t"), "SCHEMA_REGISTRY_TOKEN and SCHEMA_REGISTRY_USER are both set, want one of them"},
		{[]string{"ls"}, env("SCHEMA_REGISTRY_URL", "http://r", "SCHEMA_REGISTRY_PASSWORD", "p"), "SCHEMA_REGISTRY_PASSWORD is set and SCHEMA_REGISTRY_USER is not"},
	} {
		got := run(t, "", append([]string{"schema"}, c.args...), c.opt)
		if got.Code != 2 || !strings.HasPrefix(got.Stderr, "annals: "+c.want) || got.Stdout != "" {
			t.Errorf("schema %q = %+v\nwant %s", c.args, got, c.want)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"check", "--dir", dir + "/none"}, "read --dir: open "},
		{[]string{"check", "--corpus", dir + "/none"}, "read --corpus: open "},
		{[]string{"ls", "--registry", "http://r", "--registry-ca", dir + "/none"}, "read --registry-ca: open "},
		{[]string{"gen", dir + "/none.avsc"}, "generate types: open "},
	} {
		got := run(t, "", append([]string{"schema"}, c.args...), jsonOnly)
		if got.Code != 1 || !strings.HasPrefix(got.Stderr, "annals: "+c.want) || got.Stdout != "" {
			t.Errorf("schema %q = %+v\nwant %s", c.args, got, c.want)
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestSchemaRegister: idempotent, checked beforehand, and plain about what it has left.
func TestSchemaRegister(t *testing.T) {
	t.Parallel()
	url := schemaRegistry(t)
	register := func(c cli.Codec, args ...string) result {
		t.Helper()
		return run(t, "", append([]string{"schema", "register", "--registry", url}, args...), cli.WithCodecs(c))
	}
	old := orderCodec[orderV2](avroAt(t, url))
	header := "SUBJECT         EVENT            ID  RESULT\n"
	check(t, register(old, "--dry-run", "--mode", "FULL_TRANSITIVE"), result{Stdout: header +
		"order.Placed    order.placed v1  -   would be registered\norder.PlacedV2  order.placed v2  -   would be registered\n",
		Stderr: "compatibility of subject order.Placed would be FULL_TRANSITIVE, was BACKWARD_TRANSITIVE\ncompatibility of subject order.PlacedV2 would be FULL_TRANSITIVE, was BACKWARD_TRANSITIVE\n"})
	check(t, register(old), result{Stdout: header + "order.Placed    order.placed v1  1   registered\norder.PlacedV2  order.placed v2  2   registered\n"})
	check(t, register(old), result{Stdout: header + "order.Placed    order.placed v1  1   was registered\norder.PlacedV2  order.placed v2  2   was registered\n"})
	check(t, register(orderCodec[orderMore](avroAt(t, url)), "--output", "json", "--dry-run"), result{Stdout: `` +
		`{"subject":"order.Placed","event":"order.placed","schema":1,"id":1,"result":"was registered"}` + "\n" +
		`{"subject":"order.PlacedV2","event":"order.placed","schema":2,"result":"would be registered"}` + "\n"})
	// What is refused names subject, field and rule, and nothing else is registered.
	shipped := codec.New[orderEvent](avroAt(t, url), codec.Types[orderEvent]{"order.placed": orderText{}, "order.shipped": orderLess{}},
		upcast.Step("order.placed", 1, func(orderV1) orderText { return orderText{} }))
	got := register(shipped)
	check(t, got, result{Code: 1, Stdout: "SUBJECT         EVENT             ID  RESULT\norder.Placed    order.placed v1   1   was registered\norder.PlacedV2  order.placed v2   -   refused\norder.Shipped   order.shipped v1  -   not registered\n",
		Stderr: "annals: register schemas: subject order.PlacedV2: schema is not compatible with version 1 (BACKWARD_TRANSITIVE): field order.PlacedV2.Cents: " +
			"the new schema does not read what this one has written: the writer has type long, the reader string; 0 registered, 1 were before, 2 not\n"})
	if got := register(shipped, "--mode", "NONE", "--dry-run"); got.Code != 0 {
		t.Errorf("schema register = %+v", got)
	}
	// A mode is set only when it is asked for.
	check(t, register(old, "--mode", "FULL_TRANSITIVE", "--output", "json"), result{Stdout: `` +
		`{"subject":"order.Placed","event":"order.placed","schema":1,"id":1,"result":"was registered"}` + "\n" +
		`{"subject":"order.PlacedV2","event":"order.placed","schema":2,"id":2,"result":"was registered"}` + "\n",
		Stderr: "compatibility of subject order.Placed is FULL_TRANSITIVE, was BACKWARD_TRANSITIVE\ncompatibility of subject order.PlacedV2 is FULL_TRANSITIVE, was BACKWARD_TRANSITIVE\n"})
	if got := run(t, "", []string{"schema", "ls", "--registry", url}); strings.Count(got.Stdout, "FULL_TRANSITIVE") != 2 {
		t.Errorf("schema ls = %+v, want both under FULL_TRANSITIVE", got)
	}
	got = register(orderCodec[orderLess](avroAt(t, url)), "--output", "json")
	if o := objects(t, got.Stdout); got.Code != 1 || len(o) != 2 || o[1]["result"] != "refused" || o[1]["field"] != "order.PlacedV2.Note" || fmt.Sprint(o[1]["rule"]) == "" {
		t.Errorf("schema register = %+v, want a refusal that names order.PlacedV2.Note", got)
	}
}

// The registry may refuse what looked well: the rest is left, and listed.
func TestSchemaRegisterStopsAtARefusal(t *testing.T) {
	t.Parallel()
	url := readOnlyAfter(t, 1)
	shipped := codec.New[orderEvent](avroAt(t, url), codec.Types[orderEvent]{"order.placed": orderV2{}, "order.shipped": orderLess{}, "order.sold": orderMore{}})
	got := run(t, "", []string{"schema", "register", "--registry", url}, cli.WithCodecs(shipped))
	want := result{Code: 1, Stdout: `SUBJECT        EVENT             ID  RESULT
order.Placed   order.placed v1   1   registered
order.Shipped  order.shipped v1  -   refused
order.Sold     order.sold v1     -   not registered
`, Stderr: "annals: register schemas: register schema of subject order.Shipped: what the format looks up is out of reach: the registry answered 500: {}; 1 registered, 0 were before, 2 not\n"}
	check(t, got, want)
}

func TestSchemaRegisterDir(t *testing.T) {
	t.Parallel()
	url, dir := schemaRegistry(t), t.TempDir()
	record := `{"type":"record","name":"Placed","namespace":"order","fields":[{"name":"cents","type":"long"}%s]}`
	writeFile(t, filepath.Join(dir, "order.Placed.v1.avsc"), fmt.Sprintf(record, ""))
	writeFile(t, filepath.Join(dir, "order.Placed.v2.avsc"), fmt.Sprintf(record, `,{"name":"note","type":"string","default":""}`))
	writeFile(t, filepath.Join(dir, "orders%2Fplaced.v1.avsc"), fmt.Sprintf(record, ""))
	writeFile(t, filepath.Join(dir, "README.md"), "")
	check(t, run(t, "", []string{"schema", "register", "--dir", dir, "--registry", url}), result{Stdout: `SUBJECT        EVENT  ID  RESULT
order.Placed   -      1   registered
order.Placed   -      2   registered
orders/placed  -      1   registered
`})
	check(t, run(t, "", []string{"schema", "check", "--dir", dir, "--registry", url}),
		result{Stderr: "checked 0 schemas against 3 files of " + dir + ", 3 schemas against the registry: all as it should be\n"})
	writeFile(t, filepath.Join(dir, "order.Placed.v3.avsc"), fmt.Sprintf(record, `,{"name":"note","type":"string"}`))
	got := run(t, "", []string{"schema", "check", "--dir", dir})
	if got.Code != 1 || !strings.HasPrefix(got.Stdout, "incompatible  order.Placed against version 1 under BACKWARD_TRANSITIVE: field order.Placed.note: ") || !strings.HasSuffix(got.Stdout, " (in version 3 of "+dir+")\n") {
		t.Errorf("schema check = %+v, want that version 3 breaks with an earlier one", got)
	}
}

// Files of a directory use each other, whichever comes first; what is registered needs no
// other schema. Files that may change are no part of the history.
func TestSchemaRegisterDirThatRefers(t *testing.T) {
	t.Parallel()
	url, dir := schemaRegistry(t), t.TempDir()
	const address = `{"type":"record","name":"order.Address","fields":[{"name":"city","type":"string"}]}`
	moved := `{"type":"record","name":"Moved","namespace":"order","fields":[{"name":"from","type":"Address"},{"name":"to","type":["null","order.Address"],"default":null}]}`
	writeFile(t, filepath.Join(dir, "a.order.Moved.v1.avsc"), moved)
	register := []string{"schema", "register", "--dir", dir, "--registry", url}
	writeFile(t, filepath.Join(dir, "order.Address.avsc"), address)
	check(t, run(t, "", register), result{Code: 1, Stderr: `annals: register schemas: a.order.Moved: normal form of schema: not an Avro schema: unknown type "order.Address": nothing was registered` + "\n"})
	writeFile(t, filepath.Join(dir, "order.Address.v1.avsc"), address)
	check(t, run(t, "", register), result{Stdout: `SUBJECT        EVENT  ID  RESULT
a.order.Moved  -      1   registered
order.Address  -      2   registered
`})
	client, err := avro.NewClient(sr.URLs(url))
	if err != nil {
		t.Fatal(err)
	}
	got, err := client.Schema(t.Context(), 1)
	if err != nil || len(got.References) != 0 || got.Text != `{"type":"record","name":"order.Moved","fields":[{"type":`+
		`{"type":"record","name":"order.Address","fields":[{"type":"string","name":"city"}]},"name":"from"},{"type":["null","order.Address"],"name":"to","default":null}]}` {
		t.Errorf("registered: %+v, %v", got, err)
	}
	check(t, run(t, "", []string{"schema", "check", "--dir", dir, "--registry", url}),
		result{Stderr: "checked 0 schemas against 2 files of " + dir + ", 2 schemas against the registry: all as it should be\n"})
	// The same type in the file itself is the same schema.
	writeFile(t, filepath.Join(dir, "a.order.Moved.v1.avsc"), strings.Replace(moved, `"Address"`, address, 1))
	check(t, run(t, "", register), result{Stdout: `SUBJECT        EVENT  ID  RESULT
a.order.Moved  -      1   was registered
order.Address  -      2   was registered
`})
	// What is compared is what the types are.
	writeFile(t, filepath.Join(dir, "a.order.Moved.v2.avsc"), strings.Replace(moved, "Address", "Place", 2))
	writeFile(t, filepath.Join(dir, "order.Place.v1.avsc"), `{"type":"record","name":"order.Place","aliases":["order.Address"],"fields":[{"name":"city","type":"int"}]}`)
	if got := run(t, "", []string{"schema", "check", "--dir", dir}); got.Code != 1 || !strings.HasPrefix(got.Stdout, "incompatible  a.order.Moved against version 1 under BACKWARD_TRANSITIVE: field order.Moved.from.city: ") {
		t.Errorf("schema check = %+v, want that from.city is incompatible", got)
	}
	// Nothing says which version of a type is meant.
	writeFile(t, filepath.Join(dir, "a.order.Moved.v1.avsc"), moved)
	writeFile(t, filepath.Join(dir, "order.Address.v2.avsc"), strings.Replace(address, "}]", `},{"name":"zip","type":"string","default":""}]`, 1))
	for _, args := range [][]string{register, {"schema", "check", "--dir", dir}} {
		check(t, run(t, "", args), result{Code: 1, Stderr: "annals: read --dir: a.order.Moved.v1.avsc: uses order.Address, which order.Address.v1.avsc and order.Address.v2.avsc define, and not the same: define it in a.order.Moved.v1.avsc itself\n"})
	}
}

// readOnlyAfter starts a registry that takes so many schemas, and then fails.
func readOnlyAfter(t *testing.T, schemas int32) string {
	t.Helper()
	inner := registry.New(registry.Memory())
	var taken atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/versions") && taken.Add(1) > schemas {
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = io.WriteString(w, "{}")
			return
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
