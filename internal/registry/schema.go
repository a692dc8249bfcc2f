package registry

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/annals-go/annals/codec/avro"
)

// body is a schema as clients send it.
type body struct {
	Schema     string          `json:"schema"`
	Type       string          `json:"schemaType"`
	References []Reference     `json:"references"`
	ID         int             `json:"id"`
	Version    int             `json:"version"`
	Metadata   json.RawMessage `json:"metadata"`
	Rules      json.RawMessage `json:"ruleSet"`
}

// parsed is a schema that was sent, and is one.
type parsed struct {
	body   body
	schema avro.Schema
	normal string
}

func (p *parsed) identity() string {
	refs, err := json.Marshal(p.body.References)
	if err != nil {
		panic(fmt.Sprintf("registry: references do not marshal: %v", err)) // names and numbers
	}
	sum := sha256.Sum256([]byte(p.normal + "\x00" + string(refs)))
	return hex.EncodeToString(sum[:])
}

// text is what is stored.
func (p *parsed) text(normalize bool) string {
	if normalize {
		return p.normal
	}
	return p.body.Schema
}

func unprocessable(code int, format string, args ...any) error {
	return refuse(http.StatusUnprocessableEntity, code, fmt.Sprintf(format, args...))
}

// schema reads the schema of the body.
func (r *request) schema() (*parsed, error) {
	var p parsed
	if err := r.decode(&p.body); err != nil {
		return nil, err
	}
	b := &p.body
	switch {
	case b.Type != "" && b.Type != "AVRO":
		return nil, unprocessable(42201, "Invalid schema type %s: this registry has AVRO only", bounded(b.Type))
	case given(b.Metadata) || given(b.Rules):
		return nil, unprocessable(42210, "this registry has no metadata and no rules")
	case b.Schema == "":
		return nil, unprocessable(42201, "Empty schema")
	case len(b.Schema) > avro.DefaultLimits().SchemaBytes:
		return nil, unprocessable(42209, "Schema is too large: %d bytes, the limit is %d", len(b.Schema), avro.DefaultLimits().SchemaBytes)
	}
	if len(b.References) == 0 {
		b.References = nil // an empty list is none
	}
	refs, err := resolve(r.tx, b.References, false)
	if err != nil {
		return nil, err
	}
	p.schema = avro.Schema{Text: b.Schema, References: refs}
	if p.normal, err = avro.Normal(p.schema); err != nil {
		return nil, unprocessable(42201, "Invalid schema: %s", bounded(err.Error()))
	}
	return &p, nil
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// maxReferences bounds what a schema refers to, directly and through others.
const maxReferences = 256

// resolve returns the schemas that are referred to, each after those that it refers to. Deleted
// ones are found as well if they are asked for: what is stored refers to them still.
func resolve(tx Tx, refs []Reference, deleted bool) ([]avro.Reference, error) {
	var out []avro.Reference
	seen := map[Reference]bool{}
	var add func(refs []Reference, deleted bool) error
	add = func(refs []Reference, deleted bool) error {
		for _, ref := range refs {
			at := Reference{Subject: ref.Subject, Version: ref.Version}
			if seen[at] {
				continue
			}
			if seen[at] = true; len(seen) > maxReferences {
				return unprocessable(42201, "Invalid schema: it refers to more than %d others", maxReferences)
			}
			var list []Version
			if isSubject(ref.Subject) {
				var err error
				if list, err = tx.Versions(ref.Subject); err != nil {
					return err
				}
			}
			i := slices.IndexFunc(list, func(v Version) bool { return v.Version == ref.Version && (deleted || !v.Deleted) })
			if i < 0 {
				return unprocessable(42201, "Invalid schema: No schema reference found for subject \"%s\" and version %d", bounded(ref.Subject), ref.Version)
			}
			found, _, err := tx.Schema(list[i].ID)
			if err != nil {
				return err
			}
			if err := add(found.Refs, true); err != nil { // it was there first: no cycles
				return err
			}
			out = append(out, avro.Reference{Name: ref.Name, Subject: ref.Subject, Version: ref.Version, Text: found.Text})
		}
		return nil
	}
	return out, add(refs, deleted)
}

// latest returns the newest version that is not deleted, and a zero one if there is none.
func latest(list []Version) Version {
	for _, v := range slices.Backward(list) {
		if !v.Deleted {
			return v
		}
	}
	return Version{}
}
