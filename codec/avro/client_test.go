package avro_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
)

func newClient(t *testing.T, opts ...sr.ClientOpt) *avro.Client {
	t.Helper()
	c, err := avro.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answering returns the URL of a server that gives one answer to everything.
func answering(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// dead returns the address of a port that nobody listens on.
func dead(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// wantReferences wants a schema that refers to one that refers to m.Cents to come back from
// the registry with both.
func wantReferences(t *testing.T, c *avro.Client) {
	t.Helper()
	ctx := t.Context()
	line := avro.Schema{
		Text:       `{"type":"record","name":"m.Line","fields":[{"name":"price","type":"m.Cents"}]}`,
		References: []avro.Reference{{Name: "m.Cents", Subject: "m.Cents", Version: 1, Text: cents.Text}},
	}
	if _, err := c.Register(ctx, "m.Line", line); err != nil {
		t.Fatal(err)
	}
	order := avro.Schema{
		Text:       `{"type":"record","name":"m.Order","fields":[{"name":"lines","type":{"type":"array","items":"m.Line"}}]}`,
		References: append(line.References, avro.Reference{Name: "m.Line", Subject: "m.Line", Version: 1, Text: line.Text}),
	}
	orderID, err := c.Register(ctx, "m.Order", order)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Schema(ctx, orderID)
	if diff := cmp.Diff(got, order); err != nil || diff != "" {
		t.Errorf("Schema with references: %v\n%s", err, diff)
	}
	if again, err := c.Lookup(ctx, "m.Order", got); err != nil || again != orderID {
		t.Errorf("Lookup of what was read = %d, %v, want %d", again, err, orderID)
	}
}

var cents = avro.Schema{Text: `{"type":"record","name":"m.Cents","fields":[{"name":"v","type":"long"}]}`}

func TestClientAgainstFake(t *testing.T) {
	t.Parallel()
	fake := srfake.New(srfake.WithGlobalCompat(sr.CompatBackward))
	t.Cleanup(fake.Close)
	c, ctx := newClient(t, sr.URLs(fake.URL())), t.Context()
	if _, err := c.Lookup(ctx, "m.Cents", cents); !errors.Is(err, avro.ErrNotRegistered) || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Lookup of what is not there: %v", err)
	}
	if _, err := c.Schema(ctx, 1); !errors.Is(err, avro.ErrUnknownID) || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Schema of what is not there: %v", err)
	}
	if got, err := c.Versions(ctx, "m.Cents"); err != nil || len(got) != 0 {
		t.Errorf("Versions of what is not there = %v, %v", got, err)
	}
	id, err := c.Register(ctx, "m.Cents", cents)
	if err != nil {
		t.Fatal(err)
	}
	wantReferences(t, c)
	versions, err := c.Versions(ctx, "m.Cents")
	if diff := cmp.Diff(versions, []avro.Registered{{Subject: "m.Cents", Version: 1, ID: id, Schema: cents}}); err != nil || diff != "" {
		t.Errorf("Versions: %v\n%s", err, diff)
	}
	subjects, err := c.Subjects(ctx)
	if diff := cmp.Diff(subjects, []string{"m.Cents", "m.Line", "m.Order"}); err != nil || diff != "" {
		t.Errorf("Subjects: %v\n%s", err, diff)
	}
	if m, err := c.Mode(ctx, "m.Cents"); err != nil || m != avro.Backward {
		t.Errorf("Mode = %v, %v", m, err)
	}
	if err := c.SetMode(ctx, "m.Cents", avro.FullTransitive); err != nil {
		t.Error(err)
	}
	if m, err := c.Mode(ctx, "m.Cents"); err != nil || m != avro.FullTransitive {
		t.Errorf("Mode = %v, %v", m, err)
	}
}

func TestClientErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		status      int
		body        string
		unavailable bool
		want        string
	}{
		{401, `{"error_code":401,"message":"Unauthorized"}`, true, "register schema of subject s: what the format looks up is out of reach: the registry does not know who asks (401): check the user and password, or the token: Unauthorized"},
		{403, `{"error_code":40301,"message":"denied"}`, true, "register schema of subject s: what the format looks up is out of reach: the registry does not allow it (403): check the rights of the user or token for the subject: denied"},
		{404, "<html>nothing here</html>", true, "register schema of subject s: what the format looks up is out of reach: there is no registry at this URL (404): check its path, that of Apicurio ends in /apis/ccompat/v7: <html>nothing here</html>"},
		{422, `{"error_code":42201,"message":"Invalid schema"}`, false, "register schema of subject s: the registry refuses it (42201): Invalid schema"},
		{422, `{"error_code":42205,"message":"read-only"}`, true, "register schema of subject s: what the format looks up is out of reach: the registry does not permit it at the moment (42205): check its mode: read-only"},
		{400, `{"error_code":400,"message":"bad"}`, false, "register schema of subject s: the registry refuses it (400): bad"},
		{400, "No required SSL certificate was sent", true, "register schema of subject s: what the format looks up is out of reach: what answers is no registry (400): check whether its URL is to begin with https, and whether it wants a certificate: No required SSL certificate was sent"},
		{413, ``, false, "register schema of subject s: the registry refuses it (413): no response"},
		{429, `{"error_code":42900,"message":"slow down"}`, true, "register schema of subject s: what the format looks up is out of reach: the registry answered 429: slow down"},
		{500, `{"error_code":50001,"message":"store"}`, true, "register schema of subject s: what the format looks up is out of reach: the registry answered 500: store"},
		{503, "try\nlater", true, "register schema of subject s: what the format looks up is out of reach: the registry answered 503: try later"},
		{200, `{"id":0}`, true, "register schema of subject s: what the format looks up is out of reach: the answer has the id 0: is the URL that of a schema registry"},
		{200, `{"id":"x"}`, true, "register schema of subject s: what the format looks up is out of reach: unable to decode ok response body from POST"},
		{409, `{"error_code":409,"message":"Schema being registered is incompatible with an earlier schema for subject \"s\", details: [{errorType:'READER_FIELD_MISSING_DEFAULT_VALUE', description:'The field 'by' at path '/fields/1' in the new schema has no default value and is missing in the old schema', additionalInfo:'by'}, {oldSchemaVersion: 4}, {oldSchema: '{\"type\":\"int\"}'}, {validateFields: 'false', compatibility: 'FULL'}]"}`, false, "subject s: schema is not compatible with version 4 (FULL): field by: READER_FIELD_MISSING_DEFAULT_VALUE: The field 'by' at path '/fields/1' in the new schema has no default value and is missing in the old schema"},
		{409, `{"error_code":409,"message":"io.apicurio.registry.rules.RuleViolationException: Incompatible artifact: s [AVRO], num of incompatible diffs: {2}, list of diff types: [by at /fields/1, by at /fields/1]"}`, false, "subject s: schema is not compatible (BACKWARD_TRANSITIVE): field by: the reader has no default for this field, which the writer lacks, at /fields/1"},
		{409, `{"error_code":409,"message":"Schema being registered is incompatible"}`, false, "subject s: schema is not compatible (BACKWARD_TRANSITIVE): Schema being registered is incompatible"},
	} {
		_, err := newClient(t, sr.URLs(answering(t, tt.status, tt.body))).Register(t.Context(), "s", cents)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) || errors.Is(err, codec.ErrUnavailable) != tt.unavailable {
			t.Errorf("%d %s:\ngot  %v\nwant %s", tt.status, tt.body, err, tt.want)
		}
		if errors.Is(err, avro.ErrIncompatible) != (tt.status == 409) {
			t.Errorf("%d: %v", tt.status, err)
		}
	}
}

// A registry that says no more than 422 may mean that the schema is incompatible: Check knows.
func TestClientSaysWhatARegistryDoesNot(t *testing.T) {
	t.Parallel()
	const said = `{"error_code":0,"message":"Could not execute compatibility rule on invalid Avro schema"}`
	for name, tt := range map[string]struct {
		refusal, mode, versions string
		schema                  avro.Schema
		want                    string
	}{
		"incompatible": {
			said, `{"compatibilityLevel":"FULL"}`, `[3,7]`, avro.Schema{Text: `{"type":"record","name":"m.Cents","fields":[{"name":"v","type":"string"}]}`},
			"subject s: schema is not compatible with version 7 (FULL): field m.Cents.v: the new schema does not read what this one has written: the writer has type long, the reader string (the registry says only: Could not execute compatibility rule on invalid Avro schema)",
		},
		"compatible":            {strings.Replace(said, "0", "422", 1), `{"compatibilityLevel":"FULL"}`, `[3,7]`, cents, ""},
		"no schema":             {said, `{"compatibilityLevel":"FULL"}`, `[3,7]`, avro.Schema{Text: `{`}, ""},
		"no mode":               {said, `{"compatibilityLevel":"SIDEWARD"}`, `[3,7]`, avro.Schema{Text: `"string"`}, ""},
		"no versions":           {said, `{"compatibilityLevel":"FULL"}`, `{}`, avro.Schema{Text: `"string"`}, ""},
		"a code that says more": {strings.Replace(said, "0", "42201", 1), `{"compatibilityLevel":"FULL"}`, `[3,7]`, avro.Schema{Text: `"string"`}, "register schema of subject s: the registry refuses it (42201): Could not execute compatibility rule on invalid Avro schema"},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.Method == http.MethodPost:
				w.WriteHeader(http.StatusUnprocessableEntity)
				_, _ = io.WriteString(w, tt.refusal)
			case strings.HasPrefix(r.URL.Path, "/config"):
				_, _ = io.WriteString(w, tt.mode)
			case strings.HasSuffix(r.URL.Path, "/versions"):
				_, _ = io.WriteString(w, tt.versions)
			default:
				_, _ = fmt.Fprintf(w, `{"subject":"s","version":%s,"id":1,"schema":%q}`, r.URL.Path[len(r.URL.Path)-1:], cents.Text)
			}
		}))
		t.Cleanup(s.Close)
		want := tt.want
		if want == "" {
			want = "register schema of subject s: the registry refuses it (422): Could not execute compatibility rule on invalid Avro schema"
		}
		_, err := newClient(t, sr.URLs(s.URL)).Register(t.Context(), "s", tt.schema)
		if err == nil || err.Error() != want || errors.Is(err, avro.ErrIncompatible) != (name == "incompatible") || errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, want)
		}
	}
}

// TestClientMissing: what is missing is permanent, whichever code says so.
func TestClientMissing(t *testing.T) {
	t.Parallel()
	for _, code := range []int{40401, 40402, 40403} {
		c := newClient(t, sr.URLs(answering(t, 404, fmt.Sprintf(`{"error_code":%d,"message":"not found"}`, code))))
		_, err := c.Schema(t.Context(), 3)
		if want := fmt.Sprintf("read schema 3: registry has no schema of this id (%d: not found)", code); err == nil || err.Error() != want || !errors.Is(err, avro.ErrUnknownID) {
			t.Errorf("got %v, want %s", err, want)
		}
		_, err = c.Lookup(t.Context(), "s", cents)
		if want := fmt.Sprintf("look up schema of subject s: schema is not registered (%d: not found)", code); err == nil || err.Error() != want || !errors.Is(err, avro.ErrNotRegistered) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	c := newClient(t, sr.URLs(answering(t, 200, `{"schema":"{}","schemaType":"JSON"}`)))
	if _, err := c.Schema(t.Context(), 3); err == nil || err.Error() != "read schema 3: schema is not Avro: schema is JSON, not AVRO" {
		t.Errorf("schema of another type: %v", err)
	}
}

// A registry that says yes to a mode and keeps another one is not believed.
func TestSetModeLooks(t *testing.T) {
	t.Parallel()
	c := newClient(t, sr.URLs(answering(t, 200, `{"compatibility":"FULL","compatibilityLevel":"FULL"}`)))
	if err := c.SetMode(t.Context(), "s", avro.Full); err != nil {
		t.Error(err)
	}
	want := "set compatibility of subject s to NONE: the registry has not done it: it is FULL: set the compatibility of the registry"
	if err := c.SetMode(t.Context(), "s", avro.None); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestClientBoundsAnswers(t *testing.T) {
	t.Parallel()
	c := newClient(t, sr.URLs(answering(t, 200, `{"schema":"`+strings.Repeat("x", 16<<20)+`"}`)))
	if _, err := c.Schema(t.Context(), 1); !errors.Is(err, codec.ErrUnavailable) || !strings.HasSuffix(err.Error(), "answer is longer than 16777216 bytes") {
		t.Errorf("got %v", err)
	}
	// a schema that refers to itself, and to another one each time
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n++
		_, _ = fmt.Fprintf(w, `{"schema":"\"int\"","references":[{"name":"a","subject":"s","version":%d},{"name":"a","subject":"s","version":1}]}`, n)
	}))
	t.Cleanup(s.Close)
	if _, err := newClient(t, sr.URLs(s.URL)).Schema(t.Context(), 1); err == nil || err.Error() != "read schema 1: references of schema are nested deeper than 64" || n > 70 {
		t.Errorf("got %v after %d requests", err, n)
	}
}

func TestClientGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	_, err := newClient(t, sr.URLs(s.URL)).Schema(ctx, 1)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestClientTriesTheNextURL(t *testing.T) {
	t.Parallel()
	c := newClient(t, sr.URLs("http://u:p@"+dead(t), answering(t, 200, `{"schema":"\"int\""}`)))
	if got, err := c.Schema(t.Context(), 1); err != nil || got.Text != `"int"` {
		t.Errorf("got %v, %v", got, err)
	}
}

// TestClientHidesSecrets: neither an error nor a log has what a request was authorized with,
// not even if the server repeats it.
func TestClientHidesSecrets(t *testing.T) {
	t.Parallel()
	const password, token = `s3cr3t"/&pass`, "t0k3n-t0k3n"
	var got []string
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pw, _ := r.BasicAuth()
		got = append(got, user+":"+pw, r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusConflict)
		_, _ = fmt.Fprintf(w, `{"error_code":409,"message":%q}`, fmt.Sprint(r.Header, user, pw, r.URL))
	}))
	t.Cleanup(echo.Close)
	escaped := "s3cr3t%22%2F%26pass"
	for name, opts := range map[string][]sr.ClientOpt{
		"option":         {sr.URLs(echo.URL), sr.BasicAuth("anna", password)},
		"token":          {sr.URLs(echo.URL), sr.BearerToken(token)},
		"URL":            {sr.URLs(strings.Replace(echo.URL, "://", "://anna:"+escaped+"@", 1))},
		"header":         {sr.URLs(echo.URL), sr.PreReq(func(r *http.Request) error { r.Header.Set("X-Api-Key", token); return nil })},
		"dead":           {sr.URLs("http://anna:" + escaped + "@" + dead(t)), sr.BearerToken(token)},
		"proxy":          {sr.URLs(echo.URL), sr.BasicAuth("anna", password), sr.HTTPClient(&http.Client{Transport: repeater{}})},
		"URL and option": {sr.URLs(strings.Replace(echo.URL, "://", "://bob:other-s3cr3t@", 1)), sr.BasicAuth("anna", password)},
	} {
		var log strings.Builder
		logger := slog.New(slog.NewTextHandler(&log, nil))
		opts = append(opts, sr.LogLevel(sr.LogLevelDebug), sr.LogFn(func(_ int8, msg string, kv ...any) { logger.Info(msg, kv...) }))
		c := newClient(t, opts...)
		_, one := c.Register(t.Context(), "s", cents)
		_, two := c.Subjects(t.Context())
		_, three := c.Schema(t.Context(), 1)
		for _, err := range []error{one, two, three} {
			if err == nil {
				t.Errorf("%s: no error", name)
				continue
			}
			for _, secret := range []string{"s3cr3t", "t0k3n", "YW5uYT", "anna:"} {
				if strings.Contains(fmt.Sprintf("%v %+v", err, err), secret) || strings.Contains(log.String(), secret) {
					t.Errorf("%s: %s in %v, or in the log %s", name, secret, err, log.String())
				}
			}
		}
	}
	for _, want := range []string{"anna:" + password, "Bearer " + token} {
		if !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("the server was not told %s", want)
		}
	}
	if strings.Contains(strings.Join(got, "\n"), "bob") {
		t.Error("the user of the URL was used, though there is an option")
	}
}

// repeater fails with what it was authorized with.
type repeater struct{}

func (repeater) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("proxy refuses %v", r.Header)
}

func TestNewClientRefuses(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"http://anna:s3cr3t@%zz", "http://", "http://h?token=s3cr3t", "http://h#s3cr3t"} {
		_, err := avro.NewClient(sr.URLs("http://ok", u))
		if want := "new registry client: URL 2 of 2 is not of the form https://host:port/path, without a query"; err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", u, err, want)
		}
	}
	if _, err := avro.NewClient(sr.URLs()); err == nil || err.Error() != "new registry client: unable to create client with no URLs" {
		t.Errorf("got %v", err)
	}
}
