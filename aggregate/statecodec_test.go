package aggregate_test

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/aggregate"
)

// Kept is a type of everything that JSON keeps.
type Kept struct {
	Bool    bool
	Int     int64  `json:",string"`
	Uint    uint64 `json:"u,omitempty"`
	Float   float64
	Text    string `json:",omitempty"`
	Bytes   []byte
	Array   [2]*int
	Slice   [][]int
	Map     map[string][]string
	Numbers map[int]map[uint8]bool `json:",omitzero"`
	At      time.Time
	Until   *time.Time
	Big     big.Int
	Times   map[Key]time.Duration
	Next    *Kept
	Own     own
	Inner
	inline
	_ int
}

type (
	Inner  struct{ A, B string }
	inline struct{ C int }
	Key    struct{ X, Y int }
	own    struct{ hidden int }
)

func (k Key) MarshalText() ([]byte, error)  { return json.Marshal([]int{k.X, k.Y}) }
func (k *Key) UnmarshalText(b []byte) error { return json.Unmarshal(b, &[]*int{&k.X, &k.Y}) }
func (o *own) MarshalJSON() ([]byte, error) { return json.Marshal(o.hidden) }
func (o *own) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &o.hidden) }

func TestJSONStateIsLossless(t *testing.T) {
	t.Parallel()
	c := aggregate.JSONState[Kept]()
	at := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.UTC)
	one := 1
	full := Kept{
		Bool: true, Int: math.MinInt64, Uint: math.MaxUint64, Float: math.Copysign(0, -1), Text: "Zo\u00eb \ufffd <&>\x00",
		Bytes: []byte{0, 255}, Array: [2]*int{nil, &one}, Slice: [][]int{nil, {}, {1}}, Map: map[string][]string{"": nil, "a": {}, "b": {"x"}},
		Numbers: map[int]map[uint8]bool{-1: nil, 2: {3: true}}, At: at, Until: &at, Big: *new(big.Int).Lsh(big.NewInt(1), 200),
		Times: map[Key]time.Duration{{1, 2}: 3}, Own: own{7}, Inner: Inner{"a", "b"}, inline: inline{4},
	}
	empty := Kept{Bytes: []byte{}, Slice: [][]int{}, Map: map[string][]string{}, Numbers: map[int]map[uint8]bool{}, Next: &Kept{}}
	full.Next = &empty
	for _, want := range []Kept{full, empty, {}} {
		data, err := c.Encode(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.Decode(data)
		diff := cmp.Diff(want, got, cmp.AllowUnexported(Kept{}, own{}, inline{}), cmp.Comparer(func(a, b big.Int) bool { return a.Cmp(&b) == 0 }))
		if err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", data, err, diff)
		}
		if math.Signbit(want.Float) != math.Signbit(got.Float) {
			t.Error("-0 is 0")
		}
	}
	if _, err := c.Encode(Kept{Text: "\xff"}); err == nil || err.Error() != "text is not valid UTF-8" {
		t.Errorf("Encode = %v, want an error", err)
	}
	for data, want := range map[string]string{
		"": "payload is empty", "{} {}": "payload goes on after byte 4", "\"\xff\"": "payload is not valid UTF-8",
	} {
		if _, err := c.Decode([]byte(data)); err == nil || err.Error() != want {
			t.Errorf("Decode(%q) = %v, want %s", data, err, want)
		}
	}
}

type (
	halfText    int
	halfJSON    struct{ A int }
	pointerText struct{ A int }
	textKey     string
	zeroer      struct{ A int }
	stamped     struct {
		time.Time
		N int
	}
	shadowed struct {
		Inner
		Outer struct{ A string } `json:"A"`
	}
	recursive struct {
		Next []recursive
		Hook func()
	}
)

func (halfText) MarshalText() ([]byte, error)     { return nil, nil }
func (*halfJSON) UnmarshalJSON([]byte) error      { return nil }
func (*pointerText) MarshalText() ([]byte, error) { return nil, nil }
func (*pointerText) UnmarshalText([]byte) error   { return nil }
func (textKey) MarshalText() ([]byte, error)      { return nil, nil }
func (*textKey) UnmarshalText([]byte) error       { return nil }
func (zeroer) IsZero() bool                       { return true }

// What encoding/json loses without a word is refused when the program starts.
func TestJSONStateRefuses(t *testing.T) {
	t.Parallel()
	const unkept = ", which JSON cannot give back: use a concrete type, or give the type around it MarshalJSON and UnmarshalJSON"
	const badKey = ", which JSON cannot give back: use a string, an integer, or give it MarshalText and UnmarshalText on the value"
	type order struct{ placed bool }
	_ = order{placed: true}.placed
	for want, build := range map[string]func(){
		"aggregate_test.order.placed: unexported field, which encoding/json leaves out: export it, or give aggregate_test.order MarshalJSON and UnmarshalJSON": func() { aggregate.JSONState[order]() },
		".A[][].placed: unexported field, which encoding/json leaves out: export it, or give aggregate_test.order MarshalJSON and UnmarshalJSON": func() {
			aggregate.JSONState[struct{ A map[string][]*order }]()
		},
		`.A: tag json:"-", which leaves the field out: remove it, or give struct { A int "json:\"-\"" } MarshalJSON and UnmarshalJSON`: func() {
			aggregate.JSONState[struct {
				A int `json:"-"`
			}]()
		},
		".A: interface {}" + unkept: func() { aggregate.JSONState[struct{ A any }]() },
		".Hook: func()" + unkept:    func() { aggregate.JSONState[recursive]() },
		".A: chan int" + unkept:     func() { aggregate.JSONState[struct{ A chan int }]() },
		".A: complex128" + unkept:   func() { aggregate.JSONState[struct{ A complex128 }]() },
		".A: **int, where nil and a pointer to nil are the same in JSON: use the ptr without the pointer":    func() { aggregate.JSONState[struct{ A **int }]() },
		".A: *[]int, where nil and a pointer to nil are the same in JSON: use the slice without the pointer": func() { aggregate.JSONState[struct{ A *[]int }]() },
		".A: json.Number, whose zero value encoding/json changes: use a type of your own":                    func() { aggregate.JSONState[struct{ A json.Number }]() },
		".A: json.RawMessage, whose zero value encoding/json changes: use a type of your own":                func() { aggregate.JSONState[struct{ A json.RawMessage }]() },
		".A: option omitempty, which makes an empty map nil: use omitzero": func() {
			aggregate.JSONState[struct {
				A map[string]int `json:",omitempty"`
			}]()
		},
		".A: option omitempty, which makes -0 to 0: use omitzero": func() {
			aggregate.JSONState[struct {
				A float32 `json:"a,omitempty"`
			}]()
		},
		".A: option omitzero, with which the IsZero of aggregate_test.zeroer decides what is left out: remove it": func() {
			aggregate.JSONState[struct {
				A zeroer `json:",omitzero"`
			}]()
		},
		".Inner: embedded pointer, whose fields are left out when it is nil: give the field a name": func() { aggregate.JSONState[struct{ *Inner }]() },
		"aggregate_test.stamped: aggregate_test.stamped embeds time.Time, whose MarshalJSON leaves out the other fields: give the field a name": func() {
			aggregate.JSONState[stamped]()
		},
		`aggregate_test.shadowed.Outer: has the name "A" in JSON, like aggregate_test.shadowed.Inner.A, so encoding/json leaves one out: give it another`: func() {
			aggregate.JSONState[shadowed]()
		},
		"aggregate_test.halfText: aggregate_test.halfText is written by MarshalText and read by no method: give it both, on the value":   func() { aggregate.JSONState[halfText]() },
		"aggregate_test.halfJSON: aggregate_test.halfJSON is written by no method and read by UnmarshalJSON: give it both, on the value": func() { aggregate.JSONState[halfJSON]() },
		".A[]: aggregate_test.pointerText is written by no method and read by UnmarshalText: give it both, on the value":                 func() { aggregate.JSONState[struct{ A map[string]pointerText }]() },
		".A: key of type aggregate_test.textKey" + badKey:                                                                                func() { aggregate.JSONState[struct{ A map[textKey]int }]() },
		".A: key of type aggregate_test.pointerText" + badKey:                                                                            func() { aggregate.JSONState[struct{ A map[pointerText]int }]() },
		".A: key of type float64" + badKey:      func() { aggregate.JSONState[struct{ A map[float64]int }]() },
		".A: key of type interface {}" + badKey: func() { aggregate.JSONState[struct{ A map[any]int }]() },
	} {
		func() {
			defer func() {
				got, _ := recover().(string)
				if !strings.HasPrefix(got, "aggregate: JSONState: ") || !strings.HasSuffix(got, want) {
					t.Errorf("panic %q\nwant  %q", got, want)
				}
			}()
			build()
		}()
	}
	aggregate.JSONState[struct{ A pointerText }]() // has an address
}

// Any bytes decode to a state or to an error, and a state that decodes goes back
// and forth without a change.
func FuzzDecodeState(f *testing.F) {
	c := aggregate.JSONState[Ledger]()
	f.Add([]byte(`{"open":true,"sum":3,"by":{"1":2},"last":[1,2],"names":{"ada":{"Text":"ada","Times":1},"":null}}`))
	f.Add([]byte(`{"open":true,"sum":1e400}`))
	f.Add([]byte("\"\xff\" []"))
	f.Fuzz(func(t *testing.T, data []byte) {
		state, err := c.Decode(data)
		if err != nil {
			return
		}
		kept, err := c.Encode(state)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.Decode(kept)
		if diff := cmp.Diff(state, again); err != nil || diff != "" {
			t.Errorf("%s: %v %s", kept, err, diff)
		}
	})
}
