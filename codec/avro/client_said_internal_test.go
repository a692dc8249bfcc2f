package avro

import "testing"

func TestFieldAt(t *testing.T) {
	t.Parallel()
	s := Schema{Text: placed(`{"name":"lines","type":{"type":"array","items":{"type":"record","name":"Line","fields":[{"name":"price","type":["null","int"]},{"name":"of","type":"Line"}]}}}`)}
	for pointer, want := range map[string]string{
		"/fields/0/type/items/fields/0/type/1":        "order.Placed.lines.price",
		"/fields/0/type/items/fields/1/type/fields/0": "order.Placed.lines.of",
		"/fields/0":  "order.Placed.lines",
		"/name":      "",
		"/fields/1":  "",
		"/fields/-1": "",
		"/fields/x":  "",
		"":           "",
	} {
		if got := fieldAt(s, pointer); got != want {
			t.Errorf("%s: got %q, want %q", pointer, got, want)
		}
	}
	if got := fieldAt(Schema{Text: "{"}, "/fields/0"); got != "" {
		t.Errorf("of no schema: %q", got)
	}
}
