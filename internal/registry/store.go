package registry

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Store keeps schemas, versions and settings. Safe for concurrent use.
type Store interface {
	// View calls fn with a Tx that sees one state of the store and changes nothing.
	View(ctx context.Context, fn func(tx Tx) error) error
	// Update calls fn alone among all updates of the store. What fn did is kept if it
	// returns nil, and none of it otherwise.
	Update(ctx context.Context, fn func(tx Tx) error) error
}

// Schema is a schema with its id. Ids begin at 1 and have no gaps, unless they were imported.
type Schema struct {
	ID   int
	Text string
	Refs []Reference
	// Identity is the same for two schemas that are the same schema, written differently.
	Identity string
}

// Reference names a version of a subject that a schema uses.
type Reference struct {
	Name    string `json:"name"`
	Subject string `json:"subject"`
	Version int    `json:"version"`
}

// Version is a schema under a subject. One that is deleted is seen by those who ask for it.
type Version struct {
	Subject string
	Version int
	ID      int
	Deleted bool
}

// Tx is a transaction of a Store. It is not safe for concurrent use. Lists are sorted by
// subject and version.
type Tx interface {
	// Versions returns those of a subject, the deleted ones too.
	Versions(subject string) ([]Version, error)
	// All returns the versions of all subjects with a prefix.
	All(prefix string) ([]Version, error)
	// Uses returns the versions that have a schema.
	Uses(id int) ([]Version, error)
	// Put adds a version, or replaces it.
	Put(v Version) error
	// Remove removes a version for good. Its schema stays.
	Remove(subject string, version int) error

	// Schema returns the schema of an id, false if there is none.
	Schema(id int) (Schema, bool, error)
	// Find returns the schema of an identity, false if there is none.
	Find(identity string) (Schema, bool, error)
	// Add adds a schema and returns its id, which is the next one if it is 0.
	Add(s Schema) (int, error)
	// Referrers returns the ids of the schemas that refer to a version, sorted.
	Referrers(subject string, version int) ([]int, error)

	// Setting returns a setting of a subject, or of all subjects if it is empty; the empty
	// string if it is not set.
	Setting(kind Setting, subject string) (string, error)
	// Set sets it; the empty string takes it away.
	Set(kind Setting, subject, value string) error
}

// Setting is a kind of setting.
type Setting string

// The settings.
const (
	Compatibility Setting = "compatibility"
	Mode          Setting = "mode"
)

// Memory returns a store that forgets everything when the process ends.
func Memory() Store {
	return &memory{state: state{schemas: map[int]Schema{}, versions: map[string][]Version{}, settings: map[setting]string{}}}
}

type memory struct {
	mu    sync.RWMutex
	state state // guarded by mu
}

type setting struct {
	kind    Setting
	subject string
}

type state struct {
	schemas  map[int]Schema
	versions map[string][]Version // of a subject, sorted; what is in it is never written to
	settings map[setting]string
}

func (m *memory) View(ctx context.Context, fn func(tx Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return fn(&m.state)
}

func (m *memory) Update(ctx context.Context, fn func(tx Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	next := state{schemas: maps.Clone(m.state.schemas), versions: maps.Clone(m.state.versions), settings: maps.Clone(m.state.settings)}
	if err := fn(&next); err != nil {
		return err
	}
	m.state = next
	return nil
}

func (s *state) Versions(subject string) ([]Version, error) { return s.versions[subject], nil }

func (s *state) All(prefix string) ([]Version, error) {
	var out []Version
	for _, subject := range slices.Sorted(maps.Keys(s.versions)) {
		if strings.HasPrefix(subject, prefix) {
			out = append(out, s.versions[subject]...)
		}
	}
	return out, nil
}

func (s *state) Uses(id int) ([]Version, error) {
	all, err := s.All("")
	return slices.DeleteFunc(all, func(v Version) bool { return v.ID != id }), err
}

func (s *state) Put(v Version) error {
	list := slices.Clone(s.versions[v.Subject])
	i, found := slices.BinarySearchFunc(list, v, func(a, b Version) int { return cmp.Compare(a.Version, b.Version) })
	if found {
		list[i] = v
	} else {
		list = slices.Insert(list, i, v)
	}
	s.versions[v.Subject] = list
	return nil
}

func (s *state) Remove(subject string, version int) error {
	list := slices.DeleteFunc(slices.Clone(s.versions[subject]), func(v Version) bool { return v.Version == version })
	if s.versions[subject] = list; len(list) == 0 {
		delete(s.versions, subject)
	}
	return nil
}

func (s *state) Schema(id int) (Schema, bool, error) {
	found, ok := s.schemas[id]
	return found, ok, nil
}

func (s *state) Find(identity string) (Schema, bool, error) {
	for _, found := range s.schemas {
		if found.Identity == identity {
			return found, true, nil
		}
	}
	return Schema{}, false, nil
}

func (s *state) Add(added Schema) (int, error) {
	if added.ID == 0 {
		for id := range s.schemas {
			added.ID = max(added.ID, id)
		}
		added.ID++
	}
	s.schemas[added.ID] = added
	return added.ID, nil
}

func (s *state) Referrers(subject string, version int) ([]int, error) {
	var ids []int
	for id, user := range s.schemas {
		if slices.ContainsFunc(user.Refs, func(r Reference) bool { return r.Subject == subject && r.Version == version }) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

func (s *state) Setting(kind Setting, subject string) (string, error) {
	return s.settings[setting{kind, subject}], nil
}

func (s *state) Set(kind Setting, subject, value string) error {
	if value == "" {
		delete(s.settings, setting{kind, subject})
		return nil
	}
	s.settings[setting{kind, subject}] = value
	return nil
}
