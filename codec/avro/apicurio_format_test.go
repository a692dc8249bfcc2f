package avro_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/upcast"
)

type (
	trip       interface{ isTrip() }
	tripBefore struct {
		City  string `avro:"city"`
		Cents int64  `avro:"cents"`
	}
	tripNow struct {
		City  string `avro:"city"`
		Cents int64  `avro:"cents"`
		Note  string `avro:"note,default=none"`
	}
	tripBroken struct {
		City string `avro:"city"`
		By   string `avro:"by"`
	}
	tripV2 struct {
		Place string `avro:"place"`
	}
)

func (tripBefore) isTrip() {}
func (tripNow) isTrip()    {}
func (tripBroken) isTrip() {}
func (tripV2) isTrip()     {}

// trips is a program whose shape of trip.booked is the one given.
func trips(c *avro.Client, shape trip, steps []upcast.Rule, opts ...avro.Option) (*avro.Format, *codec.Codec[trip]) {
	f := avro.New(c, opts...)
	return f, codec.New[trip](f, codec.Types[trip]{"trip.booked": shape}, steps...)
}

func apicurioFormat(t *testing.T, c *avro.Client) {
	ctx := t.Context()
	careful, _ := trips(c, tripBefore{}, nil)
	if err := careful.Prepare(ctx); !errors.Is(err, avro.ErrNotRegistered) || errors.Is(err, codec.ErrUnavailable) {
		t.Errorf("Prepare without registration: %v", err)
	}
	if got, err := c.Versions(ctx, "trip.Booked"); err != nil || len(got) != 0 {
		t.Errorf("it has registered %v, %v", got, err)
	}
	format, before := trips(c, tripBefore{}, nil, avro.WithRegistration())
	if err := format.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	careful, _ = trips(c, tripBefore{}, nil)
	if err := careful.Prepare(ctx); err != nil {
		t.Errorf("Prepare of what is registered: %v", err)
	}
	format, now := trips(c, tripNow{}, nil, avro.WithRegistration())
	if err := format.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	renamed, today := trips(c, tripV2{}, []upcast.Rule{upcast.Step("trip.booked", 1, func(v tripNow) tripV2 { return tripV2{v.City + " " + v.Note} })}, avro.WithRegistration())
	if err := renamed.Prepare(ctx); err != nil {
		t.Fatal(err)
	}
	old, err := before.Encode(tripBefore{"Bonn", 5})
	if err != nil {
		t.Fatal(err)
	}
	young, err := now.Encode(tripNow{"Ulm", 6, "n"})
	if err != nil {
		t.Fatal(err)
	}
	last, err := today.Encode(tripV2{"Kiel"})
	if err != nil || last.Schema != 2 {
		t.Fatal(last, err)
	}
	read := func(c *codec.Codec[trip], raw event.Raw) func() (trip, error) {
		return func() (trip, error) {
			out, err := c.Decode(event.Recorded{Raw: raw})
			if err != nil || len(out) != 1 {
				return nil, fmt.Errorf("%d events: %w", len(out), err)
			}
			return out[0].Data, nil
		}
	}
	var got []trip
	for _, read := range []func() (trip, error){
		read(before, old),
		read(before, young), // a program of before, still running
		read(now, old),
		read(now, young),
		read(today, old),
		read(today, young),
		read(today, last),
	} {
		v, err := read()
		if err != nil {
			t.Error(err)
		}
		got = append(got, v)
	}
	want := []trip{tripBefore{"Bonn", 5}, tripBefore{"Ulm", 6}, tripNow{"Bonn", 5, "none"}, tripNow{"Ulm", 6, "n"}, tripV2{"Bonn none"}, tripV2{"Ulm n"}, tripV2{"Kiel"}}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("(-got +want):\n%s", diff)
	}
	broken, events := trips(c, tripBroken{}, nil, avro.WithRegistration())
	for _, err := range []error{broken.Prepare(ctx), func() error { _, err := events.Encode(tripBroken{}); return err }()} {
		var refused *avro.IncompatibleError
		if !errors.As(err, &refused) || refused.Subject != "trip.Booked" || refused.Field != "trip.Booked.by" || errors.Is(err, codec.ErrUnavailable) {
			t.Errorf("a field without a default: %v", err)
		}
	}
}
