package aggregate

import (
	"fmt"
	"reflect"

	"github.com/annals-go/annals/codec"
)

// StateCodec turns states into bytes and back. It must be lossless: what comes
// back decides and evolves as what went in. Implementations are safe for
// concurrent use. Each needs a Go type of its own, which tells its bytes from
// those of others.
type StateCodec[S any] interface {
	// ContentType is stored beside the bytes, such as "application/json": 1 to
	// 128 printable ASCII characters.
	ContentType() string
	Encode(state S) ([]byte, error)
	// Decode must accept any bytes without harm.
	Decode(data []byte) (S, error)
}

// JSONState returns the codec that writes states as encoding/json does, and
// refuses text that is not UTF-8. It panics if encoding/json would lose a part
// of an S without a word: an unexported field, one that it leaves out, an
// interface, and so on; the panic names the field and the remedy.
//
// Types that write and read themselves (MarshalJSON and UnmarshalJSON, or
// MarshalText and UnmarshalText) are trusted to be lossless. What JSON cannot
// keep is lost without a word: that two pointers point to the same thing, and
// what a time.Time has beside its instant and its zone's offset.
func JSONState[S any]() StateCodec[S] {
	t := reflect.TypeFor[S]()
	if err := checkLossless(t); err != nil {
		panic("aggregate: JSONState: " + err.Error())
	}
	return jsonState[S]{codec.JSONFormat()}
}

type jsonState[S any] struct{ format codec.Format }

func (c jsonState[S]) ContentType() string { return c.format.ContentType() }

func (c jsonState[S]) Encode(state S) ([]byte, error) {
	// A pointer, so that MarshalJSON on a pointer is found.
	return c.format.Marshal("", 0, &state)
}

func (c jsonState[S]) Decode(data []byte) (S, error) {
	var state S
	err := c.format.Unmarshal("", 0, data, &state)
	return state, err
}

// encode and decode are for codecs of users: a panic of one must not end a
// command, or the process, for the sake of a cache.
func encode[S any](c StateCodec[S], state S) (data []byte, err error) {
	defer recovered("encode", &err)
	return c.Encode(state)
}

func decode[S any](c StateCodec[S], data []byte) (state S, err error) {
	defer recovered("decode", &err)
	return c.Decode(data)
}

func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%s state: panic: %v", what, p)
	}
}
