package postgres_test

import (
	"testing"

	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/postgres"
	"github.com/annals-go/annals/postgres/postgrestest"
)

// One database for all inputs: a clone for each would be most of the time.

func FuzzAppend(f *testing.F) {
	eventstoretest.FuzzAppend(f, eventstoretest.Target{Store: postgres.New(postgrestest.Pool(f))})
}

func FuzzRead(f *testing.F) {
	eventstoretest.FuzzRead(f, eventstoretest.Target{Store: postgres.New(postgrestest.Pool(f))})
}
