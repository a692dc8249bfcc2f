package apache

import (
	"context"
	"fmt"
)

// ApicurioVersion is the version of Apicurio Registry that is tested: the newest that runs on Java 17.
const ApicurioVersion = "3.0.9"

// Apicurio is a registry of schemas to use until Close. Safe for concurrent use.
type Apicurio struct {
	// URL is that of its interface like Confluent's.
	URL string

	// Dir is the directory that Close removes.
	Dir string

	super interface{ close() error }
}

// StartApicurio starts Apicurio Registry on a free port of 127.0.0.1, and returns when it answers. It is empty, keeps
// everything in memory and checks no compatibility until it is told to. The context bounds the start only, together with
// a limit of five minutes behind the download of 108 MB, which happens once. It runs until Close or the end of this
// process. Its errors are like those of Start.
func StartApicurio(ctx context.Context) (*Apicurio, error) {
	r, err := startApicurio(ctx, env{}.orDefault())
	if err != nil {
		return nil, fmt.Errorf("start Apicurio Registry %s: %w", ApicurioVersion, err)
	}
	return r, nil
}

// Close kills the registry, removes its directory and returns when both are gone. It may be called more than once.
func (r *Apicurio) Close() error { return r.super.close() }
