package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/internal/registry"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// both runs a test against each store.
func both(t *testing.T, test func(t *testing.T, store registry.Store)) {
	t.Parallel()
	t.Run("memory", func(t *testing.T) {
		t.Parallel()
		test(t, registry.Memory())
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		test(t, registry.Postgres(postgrestest.Pool(t)))
	})
}

func call(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// record is the body of a record R with the fields.
func record(fields string) string {
	return fmt.Sprintf(`{"schema":%q}`, recordText(fields))
}

func recordText(fields string) string {
	return `{"type":"record","name":"R","fields":[` + fields + `]}`
}

const (
	a      = `{"name":"a","type":"int"}`
	ab     = a + `,{"name":"b","type":"int","default":0}`
	broken = a + `,{"name":"c","type":"int"}`
)

func TestConformance(t *testing.T) {
	both(t, func(t *testing.T, store registry.Store) {
		h := registry.New(store)
		text := fmt.Sprintf("%q", recordText(a))
		uses := `{"schema":"{\"type\":\"record\",\"name\":\"U\",\"fields\":[{\"name\":\"r\",\"type\":\"R\"}]}","references":[{"name":"R","subject":"s","version":1}]}`
		for i, step := range []struct {
			call   string
			body   string
			status int
			want   string // a part of the answer, all of it if it begins with =
		}{
			{"GET /", "", 200, "={}"},
			{"GET /nothing", "", 404, `"error_code":404`},
			{"PATCH /subjects", "", 404, `"error_code":404`},
			{"GET /schemas/types", "", 200, `=["AVRO"]`},
			{"GET /subjects", "", 200, "=[]"},
			{"GET /schemas", "", 200, "=[]"},
			{"GET /config", "", 200, `={"compatibilityLevel":"BACKWARD_TRANSITIVE"}`},
			{"GET /mode", "", 200, `={"mode":"READWRITE"}`},
			{"GET /subjects/s/versions", "", 404, `={"error_code":40401,"message":"Subject 's' not found."}`},
			{"GET /schemas/ids/1", "", 404, `={"error_code":40403,"message":"Schema not found"}`},
			{"GET /schemas/ids/x", "", 404, `"error_code":404`},
			{"POST /subjects/s", record(a), 404, `"error_code":40401`},

			// registration
			{"POST /subjects/s/versions", record(a), 200, `={"id":1}`},
			{"POST /subjects/s/versions", record(a), 200, `={"id":1}`},
			{"POST /subjects/s/versions", `{"schema":" {\"fields\":[{\"type\":{\"type\":\"int\"},\"name\":\"a\"}],\"name\":\"R\",\"type\":\"record\"}"}`, 200, `={"id":1}`},
			{"POST /subjects/t/versions", record(a), 200, `={"id":1}`},
			{"POST /subjects/s/versions", record(broken), 409, `"error_code":409,"message":"Schema being registered is incompatible with an earlier schema for subject \"s\", details: [{errorType:'INCOMPATIBLE', description:'the new schema does not read what this one has written: the reader needs this field, it has no default, and the writer lacks it', additionalInfo:'R.c'}, {oldSchemaVersion: 1}, {validateFields: 'false', compatibility: 'BACKWARD_TRANSITIVE'}]"`},
			{"POST /subjects/s/versions", record(ab), 200, `={"id":2}`},
			{"POST /subjects/s/versions", `{"schema":"nothing"}`, 422, `"error_code":42201,"message":"Invalid schema: normal form of schema: not an Avro schema`},
			{"POST /subjects/s/versions", `{"schema":""}`, 422, `"error_code":42201`},
			{"POST /subjects/s/versions", `{"schema":"\"int\"","schemaType":"JSON"}`, 422, `={"error_code":42201,"message":"Invalid schema type JSON: this registry has AVRO only"}`},
			{"POST /subjects/s/versions", `{"schema":"\"int\"","ruleSet":{}}`, 422, `"error_code":42210`},
			{"POST /subjects/s/versions", `{"schema":"\"int\"","id":9}`, 422, `={"error_code":42205,"message":"Subject s is not in import mode"}`},
			{"POST /subjects/s/versions", fmt.Sprintf(`{"schema":%q}`, `"int"`+strings.Repeat(" ", 256<<10)), 422, `"error_code":42209`},
			{"POST /subjects/s/versions", strings.Repeat(" ", 1<<20+1), 413, `"error_code":413,"message":"request is longer than 1048576 bytes"`},
			{"POST /subjects/s/versions", `{`, 400, `"error_code":400`},
			{"POST /subjects/%00/versions", record(a), 422, `"error_code":42208`},
			{"POST /subjects/:.c:s/versions", record(a), 422, `"error_code":42208`},
			{"POST /subjects/" + strings.Repeat("x", 513) + "/versions", record(a), 422, `"error_code":42208`},

			// reading
			{"GET /subjects", "", 200, `=["s","t"]`},
			{"GET /subjects?subjectPrefix=t", "", 200, `=["t"]`},
			{"GET /subjects?subjectPrefix=%00", "", 200, `=[]`},
			{"GET /subjects/s/versions", "", 200, `=[1,2]`},
			{"GET /subjects/s/versions/1", "", 200, `={"subject":"s","version":1,"id":1,"schema":` + text + `}`},
			{"GET /subjects/s/versions/1/schema", "", 200, `=` + recordText(a)},
			{"GET /subjects/s/versions/latest", "", 200, `"version":2,"id":2`},
			{"GET /subjects/s/versions/-1", "", 200, `"version":2,"id":2`},
			{"GET /subjects/s/versions/3", "", 404, `={"error_code":40402,"message":"Version 3 not found."}`},
			{"GET /subjects/s/versions/0", "", 422, `"error_code":42202`},
			{"GET /subjects/s/versions/99999999999", "", 422, `"error_code":42202`},
			{"GET /schemas/ids/1", "", 200, `={"schema":` + text + `}`},
			{"GET /schemas/ids/1/schema", "", 200, `=` + recordText(a)},
			{"GET /schemas/ids/1/subjects", "", 200, `=["s","t"]`},
			{"GET /schemas/ids/1/versions", "", 200, `=[{"subject":"s","version":1},{"subject":"t","version":1}]`},
			{"GET /schemas?latestOnly=true&subjectPrefix=s", "", 200, `[{"subject":"s","version":2,"id":2`},
			{"POST /subjects/s", record(ab), 200, `={"subject":"s","version":2,"id":2,"schema":`},
			{"POST /subjects/s", record(broken), 404, `={"error_code":40403,"message":"Schema not found"}`},

			// compatibility
			{"POST /compatibility/subjects/s/versions/latest", record(broken), 200, `={"is_compatible":false}`},
			{"POST /compatibility/subjects/s/versions/1?verbose=true", record(broken), 200, `"messages":["{errorType:'INCOMPATIBLE'`},
			{"POST /compatibility/subjects/s/versions", record(ab), 200, `={"is_compatible":true}`},
			{"POST /compatibility/subjects/none/versions", record(ab), 200, `={"is_compatible":true}`},
			{"POST /compatibility/subjects/none/versions/1", record(ab), 404, `"error_code":40401`},
			{"POST /compatibility/subjects/s/versions/7", record(ab), 404, `"error_code":40402`},
			{"GET /config/s", "", 404, `={"error_code":40408,"message":"Subject 's' does not have subject-level compatibility configured"}`},
			{"GET /config/s?defaultToGlobal=true", "", 200, `"BACKWARD_TRANSITIVE"`},
			{"PUT /config/s", `{"compatibility":"LOOSE"}`, 422, `"error_code":42203`},
			{"PUT /config/s", `{"compatibility":"none"}`, 200, `={"compatibility":"NONE"}`},
			{"GET /config/s", "", 200, `={"compatibilityLevel":"NONE"}`},
			{"POST /subjects/s/versions", record(broken), 200, `={"id":3}`},
			{"DELETE /config/s", "", 200, `={"compatibility":"NONE","compatibilityLevel":"NONE"}`},
			{"DELETE /config/s", "", 404, `"error_code":40408`},
			{"PUT /config", `{"compatibility":"FULL"}`, 200, `FULL`},
			{"GET /config/s?defaultToGlobal=true", "", 200, `"FULL"`},
			{"DELETE /config", "", 200, `FULL`},

			// references
			{"POST /subjects/u/versions", strings.Replace(uses, `"version":1`, `"version":8`, 1), 422, `"error_code":42201,"message":"Invalid schema: No schema reference found for subject \"s\" and version 8"`},
			{"POST /subjects/u/versions", strings.Replace(uses, `"subject":"s"`, `"subject":"\u0000"`, 1), 422, `"error_code":42201`},
			{"POST /subjects/u/versions", uses, 200, `={"id":4}`},
			{"GET /schemas/ids/4", "", 200, `"references":[{"name":"R","subject":"s","version":1}]`},
			{"GET /subjects/s/versions/1/referencedby", "", 200, `=[4]`},
			{"GET /subjects/s/versions/2/referencedby", "", 200, `=[]`},
			{"DELETE /subjects/s/versions/1", "", 422, `"error_code":42206`},
			{"DELETE /subjects/s", "", 422, `"error_code":42206`},
			{"GET /subjects/s/versions", "", 200, `=[1,2,3]`}, // nothing of the refused call is kept

			// deletion
			{"DELETE /subjects/s/versions/2?permanent=true", "", 404, `"error_code":40407`},
			{"DELETE /subjects/s/versions/2", "", 200, `=2`},
			{"DELETE /subjects/s/versions/2", "", 404, `"error_code":40406`},
			{"GET /subjects/s/versions", "", 200, `=[1,3]`},
			{"GET /subjects/s/versions?deleted=true", "", 200, `=[1,2,3]`},
			{"GET /subjects/s/versions?deletedOnly=true", "", 200, `=[2]`},
			{"GET /subjects/s/versions/2", "", 404, `"error_code":40402`},
			{"GET /subjects/s/versions/2?deleted=true", "", 200, `"id":2`},
			{"GET /schemas/ids/2", "", 200, `"schema"`},
			{"POST /subjects/s", record(ab), 404, `"error_code":40403`},
			{"DELETE /subjects/s/versions/2?permanent=true", "", 200, `=2`},
			{"GET /schemas/ids/2", "", 404, `"error_code":40403`},
			{"DELETE /subjects/t?permanent=true", "", 404, `"error_code":40405`},
			{"DELETE /subjects/t", "", 200, `=[1]`},
			{"DELETE /subjects/t", "", 404, `"error_code":40404`},
			{"GET /subjects", "", 200, `=["s","u"]`},
			{"GET /subjects?deleted=true", "", 200, `=["s","t","u"]`},
			{"DELETE /subjects/t?permanent=true", "", 200, `=[1]`},
			{"DELETE /subjects/t", "", 404, `"error_code":40401`},
			{"POST /subjects/t/versions", record(ab), 200, `={"id":2}`}, // an id is that of its schema for ever

			// modes
			{"GET /mode/s", "", 404, `"error_code":40409`},
			{"PUT /mode/s", `{"mode":"WRITE"}`, 422, `"error_code":42204`},
			{"PUT /mode/s", `{"mode":"READONLY"}`, 200, `={"mode":"READONLY"}`},
			{"POST /subjects/s/versions", record(ab), 422, `={"error_code":42205,"message":"Subject s is in read-only mode"}`},
			{"DELETE /subjects/s/versions/3", "", 422, `"error_code":42205`},
			{"DELETE /mode/s", "", 200, `READONLY`},
			{"PUT /mode", `{"mode":"IMPORT"}`, 422, `"error_code":42205`},
			{"PUT /mode/i", `{"mode":"IMPORT"}`, 200, `IMPORT`},
			{"POST /subjects/i/versions", `{"schema":"\"long\""}`, 422, `"error_code":42205`},
			{"POST /subjects/i/versions", `{"schema":"\"long\"","id":1}`, 422, `"error_code":42205`},
			{"POST /subjects/i/versions", `{"schema":"\"long\"","id":20,"version":5}`, 200, `={"id":20}`},
			{"POST /subjects/i/versions", `{"schema":"\"long\"","id":21,"version":6}`, 422, `"error_code":42205`},
			{"POST /subjects/i/versions", `{"schema":"\"int\"","id":21,"version":5}`, 422, `"error_code":42205`},
			{"POST /subjects/i/versions", `{"schema":"\"int\"","id":9999999999}`, 422, `"error_code":42205`},
			{"DELETE /mode/i", "", 200, `IMPORT`},
			{"GET /subjects/i/versions", "", 200, `=[5]`},
			{"POST /subjects/i/versions?normalize=true", `{"schema":"{\"type\":\"double\"}"}`, 200, `={"id":21}`},
			{"GET /subjects/i/versions/6/schema", "", 200, `="double"`},
			{"POST /subjects/a%2Fb%20c/versions", record(a), 200, `={"id":1}`},
			{"GET /subjects/a%2Fb%20c/versions", "", 200, `=[1]`},
		} {
			method, path, _ := strings.Cut(step.call, " ")
			status, got := call(h, method, path, step.body)
			whole := strings.HasPrefix(step.want, "=") && !strings.HasSuffix(step.want, ":")
			want := strings.TrimPrefix(step.want, "=")
			if status != step.status || whole && got != want || !strings.Contains(got, want) {
				t.Errorf("%d %s %.200s:\ngot  %d %s\nwant %d %s", i, step.call, step.body, status, got, step.status, want)
			}
		}
	})
}

// TestRegistersAtTheSameTime: one id for a schema, and versions and ids without gaps.
func TestRegistersAtTheSameTime(t *testing.T) {
	both(t, func(t *testing.T, store registry.Store) {
		h := registry.New(store)
		const writers = 16
		var wg sync.WaitGroup
		same, own := make([]string, writers), make([]string, writers)
		for i := range writers {
			wg.Go(func() {
				_, same[i] = call(h, "POST", "/subjects/same/versions", record(a))
				_, own[i] = call(h, "POST", "/subjects/own/versions", record(fmt.Sprintf(`{"name":"f%d","type":"int","default":0}`, i)))
			})
		}
		wg.Wait()
		slices.Sort(same)
		if got := slices.Compact(same); len(got) != 1 {
			t.Errorf("one schema has the ids %v", got)
		}
		slices.Sort(own)
		if got := slices.Compact(own); len(got) != writers {
			t.Errorf("%d schemas have %d ids: %v", writers, len(got), got)
		}
		_, versions := call(h, "GET", "/subjects/own/versions", "")
		if want := "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]"; versions != want {
			t.Errorf("versions %s, want %s", versions, want)
		}
		for id := 1; id <= writers+1; id++ {
			if status, got := call(h, "GET", fmt.Sprintf("/schemas/ids/%d", id), ""); status != 200 {
				t.Errorf("id %d: %d %s", id, status, got)
			}
		}
	})
}

// TestClients: all that avro.Client and sr.Client ask is answered as they expect.
func TestClients(t *testing.T) {
	both(t, func(t *testing.T, store registry.Store) {
		server := httptest.NewServer(registry.New(store, registry.WithBasicAuth("anna", "secret")))
		t.Cleanup(server.Close)
		ctx := t.Context()
		c, err := avro.NewClient(sr.URLs(strings.Replace(server.URL, "://", "://anna:secret@", 1)))
		if err != nil {
			t.Fatal(err)
		}
		inner := avro.Schema{Text: recordText(a)}
		outer := avro.Schema{
			Text:       `{"type":"record","name":"U","fields":[{"name":"r","type":"R"}]}`,
			References: []avro.Reference{{Name: "R", Subject: "r/1", Version: 1, Text: inner.Text}},
		}
		if id, err := c.Register(ctx, "r/1", inner); err != nil || id != 1 {
			t.Fatalf("Register = %d, %v", id, err)
		}
		if id, err := c.Register(ctx, "u", outer); err != nil || id != 2 {
			t.Fatalf("Register = %d, %v", id, err)
		}
		got, err := c.Versions(ctx, "u")
		if diff := cmp.Diff(got, []avro.Registered{{Subject: "u", Version: 1, ID: 2, Schema: outer}}); err != nil || diff != "" {
			t.Errorf("Versions: %v\n%s", err, diff)
		}
		if id, err := c.Lookup(ctx, "u", outer); err != nil || id != 2 {
			t.Errorf("Lookup = %d, %v", id, err)
		}
		_, err = c.Register(ctx, "r/1", avro.Schema{Text: recordText(broken)})
		if want := "subject r/1: schema is not compatible with version 1 (BACKWARD_TRANSITIVE): field R.c: the new schema does not read what this one has written: the reader needs this field, it has no default, and the writer lacks it"; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		for m := avro.BackwardTransitive; m <= avro.None; m++ {
			if err := c.SetMode(ctx, "u", m); err != nil {
				t.Error(err)
			}
			if got, err := c.Mode(ctx, "u"); err != nil || got != m {
				t.Errorf("Mode = %v, %v, want %v", got, err, m)
			}
		}
		plain, err := sr.NewClient(sr.URLs(server.URL), sr.BasicAuth("anna", "secret"))
		if err != nil {
			t.Fatal(err)
		}
		if ss, err := plain.CreateSchema(ctx, "v", sr.Schema{Schema: recordText(ab)}); err != nil || ss.ID != 3 || ss.Version != 1 {
			t.Errorf("CreateSchema = %+v, %v", ss, err)
		}
		if refs, err := plain.SchemaReferences(ctx, "r/1", 1); err != nil || len(refs) != 1 || refs[0].Subject != "u" {
			t.Errorf("SchemaReferences = %+v, %v", refs, err)
		}
		if res, err := plain.CheckCompatibility(sr.WithParams(ctx, sr.Verbose), "r/1", -2, sr.Schema{Schema: recordText(broken)}); err != nil || res.Is || len(res.Messages) != 1 {
			t.Errorf("CheckCompatibility = %+v, %v", res, err)
		}
		if res := plain.ResetCompatibility(ctx, "u"); res[0].Err != nil || res[0].Level != sr.CompatNone {
			t.Errorf("ResetCompatibility = %+v", res)
		}
		if versions, err := plain.DeleteSubject(ctx, "u", sr.SoftDelete); err != nil || len(versions) != 1 {
			t.Errorf("DeleteSubject = %v, %v", versions, err)
		}
		stranger, err := avro.NewClient(sr.URLs(server.URL), sr.BasicAuth("anna", "wrong"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stranger.Subjects(ctx); err == nil || !strings.Contains(err.Error(), "check the user and password") {
			t.Errorf("a wrong password: %v", err)
		}
	})
}

func TestAnswersHaveTheType(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	registry.New(registry.Memory()).ServeHTTP(w, httptest.NewRequest("GET", "/subjects", nil))
	if got := w.Header().Get("Content-Type"); got != "application/vnd.schemaregistry.v1+json" {
		t.Errorf("Content-Type %s", got)
	}
}

// FuzzRegistry: whatever is asked, the answer is JSON, or the text of a schema, and no store
// error.
func FuzzRegistry(f *testing.F) {
	f.Add("POST", "subjects/s/versions", "", record(a))
	f.Add("DELETE", "subjects/s/versions/1", "permanent=true", "")
	f.Add("PUT", "mode/s", "force=true", `{"mode":"IMPORT"}`)
	f.Add("POST", "compatibility/subjects/s/versions/latest", "verbose=true", record(broken))
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		h := registry.New(registry.Memory())
		call(h, "POST", "/subjects/s/versions", record(a))
		req, err := http.NewRequest(method, "http://h/", io.NopCloser(strings.NewReader(body)))
		if err != nil {
			return
		}
		req.URL.Path, req.URL.RawQuery = "/"+path, query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		if w.Code >= 500 {
			t.Errorf("%s /%s?%s %s: %d %s", method, path, query, body, w.Code, w.Body)
		}
	})
}
