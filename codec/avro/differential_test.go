package avro

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	avrolib "github.com/twmb/avro"
)

// TestCheckAgreesWithTheSpecification: of random schemas, and what random changes made of
// them, Check says yes exactly if every value that the first writes is read by the second,
// as a resolver that shares no code with the package reads it. The format reads these, and
// those whose types have another name in the same place.
func TestCheckAgreesWithTheSpecification(t *testing.T) {
	t.Parallel()
	counts := map[string]int{}
	for seed := range uint64(4000) {
		g := &maker{Rand: rand.New(rand.NewPCG(seed, 0)), taken: map[string]bool{}}
		w := g.record(0)
		r := copied(w, map[*model]*model{})
		for range 1 + g.IntN(3) {
			g.change(r)
		}
		if g.IntN(3) == 0 {
			w, r = r, w
		}
		writer, err := parseBounded(Schema{Text: w.String()}, DefaultLimits())
		if err != nil {
			continue
		}
		reader, err := parseBounded(Schema{Text: r.String()}, DefaultLimits())
		if err != nil {
			continue
		}
		verdict, err := agree(g, w, r, writer, reader)
		if err != nil {
			t.Errorf("seed %d: %v\nwriter %s\nreader %s", seed, err, w, r)
		}
		counts[verdict]++
	}
	if counts["yes"] < 1000 || counts["no"] < 500 || counts["places"] < 100 {
		t.Errorf("%v: too few pairs to say anything", counts)
	}
}

// agree compares what the package says of a pair, and reads, with what the resolver does.
func agree(g *maker, w, r *model, writer, reader *avrolib.Schema) (verdict string, err error) {
	broken := Check(Backward, Schema{Text: r.String()}, Schema{Text: w.String()})
	byName, _ := avrolib.Resolve(writer, reader)
	byPlace, _, placeErr := resolve(writer, reader)
	if broken == nil && placeErr != nil {
		return "", fmt.Errorf("Check says yes, the format %w", placeErr)
	}
	root, err := compile(writer)
	if err != nil {
		return "", err
	}
	met := places(w, r)
	var unread error
	for range 40 {
		data := g.put(nil, w, 0)
		if g.endless {
			return "endless", nil
		}
		if err := wholeOnly(root, data); err != nil {
			return "", err
		}
		want, err := (&resolver{data: data}).read(w, r)
		if err != nil {
			unread = err
		}
		if broken == nil {
			if err := decodes(byName, data, want, err); err != nil {
				return "", err
			}
		}
		if placeErr == nil {
			want, err := (&resolver{data: data, met: met}).read(w, r)
			if err := decodes(byPlace, data, want, err); err != nil {
				return "", fmt.Errorf("by places: %w", err)
			}
		}
	}
	switch {
	case broken == nil:
		return "yes", nil
	case unread == nil:
		return "", fmt.Errorf("every value is read, but %w", broken)
	case placeErr == nil:
		return "places", nil
	}
	return "no", nil
}

// decodes returns an error if the schema does not read the value, or the resolver did not.
func decodes(s *avrolib.Schema, data []byte, want any, refused error) error {
	var got any
	rest, err := s.Decode(data, &got)
	if refused != nil || err != nil || len(rest) > 0 || !reflect.DeepEqual(plainly(got), want) {
		return fmt.Errorf("% x: got %v, %d bytes left, want %v: %w", data, got, len(rest), want, errors.Join(errors.New("they differ"), err, refused))
	}
	return nil
}

// wholeOnly returns an error if the walk does not take a payload, or takes a part of it, or
// more than it.
func wholeOnly(p *part, data []byte) error {
	if err := walk(p, data, DefaultLimits()); err != nil {
		return fmt.Errorf("% x: %w", data, err)
	}
	for n := range data {
		if walk(p, data[:n], DefaultLimits()) == nil {
			return fmt.Errorf("the first %d bytes of % x are taken for all", n, data)
		}
	}
	if walk(p, append(slices.Clone(data), 0), DefaultLimits()) == nil {
		return fmt.Errorf("% x is taken with a byte more", data)
	}
	return nil
}
