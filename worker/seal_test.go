package worker

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
)

// variants returns the mark with each of its fields changed, by the field's name,
// also fields that come later.
func variants(t *testing.T, m Mark) map[string]Mark {
	t.Helper()
	out := map[string]Mark{}
	var each func(name string, field func(*Mark) reflect.Value)
	each = func(name string, field func(*Mark) reflect.Value) {
		changed := m
		v := field(&changed)
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Int, reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Array:
			for i := range v.Len() {
				each(fmt.Sprintf("%s[%d]", name, i), func(m *Mark) reflect.Value { return field(m).Index(i) })
			}
			return
		case reflect.Uint8:
			v.SetUint(v.Uint() ^ 1)
		case reflect.Struct:
			for i := range v.NumField() {
				each(name+"."+v.Type().Field(i).Name, func(m *Mark) reflect.Value { return field(m).Field(i) })
			}
			return
		default:
			t.Fatalf("%s is a %s: say how to change it", name, v.Kind())
		}
		out[name] = changed
	}
	each("Mark", func(m *Mark) reflect.Value { return reflect.ValueOf(m).Elem() })
	return out
}

func TestSealHoldsEveryField(t *testing.T) {
	t.Parallel()
	full := Mark{
		Position: 7, Source: "topic", Offset: 8, Of: 6, Lineage: "l@1", Server: "s+1", Digest: Digest{1, 15: 2}, Trail: "trail",
		Claim: Claim{To: 9, Events: 2, Times: 1}, Epoch: 3, Revision: 4,
	}
	for _, m := range []Mark{{}, full} {
		seals := map[Digest]string{Seal("totals", "p", m): "the mark"}
		add := func(what string, d Digest) {
			if other, ok := seals[d]; ok {
				t.Errorf("%s has the seal of %s", what, other)
			}
			seals[d] = what
		}
		for what, changed := range variants(t, m) {
			add(what, Seal("totals", "p", changed))
		}
		add("another reader", Seal("totals2", "p", m))
		add("another part", Seal("totals", "", m))
		if len(seals) < 30 {
			t.Errorf("%d seals, want one for each field", len(seals))
		}
		if again := m; Seal("totals", "p", again) != Seal("totals", "p", m) {
			t.Error("the same mark has two seals")
		}
	}
}

// What ends one text cannot begin the next one.
func TestSealKeepsTextsApart(t *testing.T) {
	t.Parallel()
	of := func(texts ...string) Digest {
		return Seal(texts[0], texts[1], Mark{Source: texts[2], Lineage: texts[3], Server: texts[4]})
	}
	for i := range 4 {
		seals := map[Digest]string{}
		for _, cut := range []int{0, 1, 2, 3} {
			texts := make([]string, 5)
			texts[i], texts[i+1] = "a\x00b"[:cut], "a\x00b"[cut:]
			d := of(texts...)
			if other, ok := seals[d]; ok {
				t.Errorf("%q has the seal of %s", texts, other)
			}
			seals[d] = fmt.Sprintf("%q", texts)
		}
	}
	// The length of a text is written as 8 bytes: as text, they are not taken for one.
	if of("a", "", "", "", "") == of("a\x00\x00\x00\x00\x00\x00\x00\x00", "", "", "", "") {
		t.Error("a text of zeros is taken for an empty one")
	}
}

// Seals are stored: a mark that was written by an earlier version is read.
func TestSealForm(t *testing.T) {
	t.Parallel()
	m := Mark{
		Position: 7, Source: "topic", Offset: 8, Of: 6, Lineage: "l@1", Server: "s+1", Digest: Digest{1, 15: 2}, Trail: "trail",
		Claim: Claim{To: 9, Events: 2, Times: 1}, Epoch: 3, Revision: 4,
	}
	want := "05423794c6aa83739d0dc45a6423ded9"
	if got := fmt.Sprintf("%x", Seal("totals", "p", m)); got != want {
		t.Errorf("seal %s, want %s", got, want)
	}
}

func TestAlteredError(t *testing.T) {
	t.Parallel()
	var err error = &AlteredError{Name: "totals", Part: "orders/1", Mark: Mark{Position: 99}}
	want := `checkpoint totals: part "orders/1": the mark at position 99 was not written by a worker: restore the row, or set the reader back to the beginning with annals rewind --force`
	if err.Error() != want || !errors.Is(err, ErrAltered) || errors.Is(err, ErrFenced) {
		t.Errorf("%v, want %s", err, want)
	}
}
