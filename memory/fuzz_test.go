package memory_test

import (
	"testing"

	"github.com/annals-go/annals/eventstore/eventstoretest"
	"github.com/annals-go/annals/memory"
)

func FuzzAppend(f *testing.F) {
	eventstoretest.FuzzAppend(f, eventstoretest.Target{Store: memory.New()})
}

func FuzzRead(f *testing.F) { eventstoretest.FuzzRead(f, eventstoretest.Target{Store: memory.New()}) }
