package registry

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/annals-go/annals/codec/avro"
)

// entry is a version of a subject, as clients are told of it.
type entry struct {
	Subject    string      `json:"subject"`
	Version    int         `json:"version"`
	ID         int         `json:"id"`
	References []Reference `json:"references,omitempty"`
	Schema     string      `json:"schema"`
}

func (r *request) entry(v Version) (entry, error) {
	s, _, err := r.tx.Schema(v.ID)
	return entry{Subject: v.Subject, Version: v.Version, ID: v.ID, References: s.Refs, Schema: s.Text}, err
}

func noSubject(subject string) error {
	return refuse(http.StatusNotFound, 40401, fmt.Sprintf("Subject '%s' not found.", bounded(subject)))
}

func noVersion(version int) error {
	return refuse(http.StatusNotFound, 40402, fmt.Sprintf("Version %d not found.", version))
}

// versions returns those of a subject, at least one.
func (r *request) versions(subject string) ([]Version, error) {
	all, err := r.tx.Versions(subject)
	if err == nil && len(all) == 0 {
		err = noSubject(subject)
	}
	return all, err
}

// visibleOf returns the versions of a subject that the request asks for, at least one.
func (r *request) visibleOf(subject string) ([]Version, error) {
	all, err := r.tx.Versions(subject)
	if err != nil {
		return nil, err
	}
	list := r.visible(all)
	if len(list) == 0 {
		return nil, noSubject(subject)
	}
	return list, nil
}

// visible returns the versions that the request asks for: those that are not deleted, with
// deleted=true all, with deletedOnly=true the others.
func (r *request) visible(list []Version) []Version {
	all, others := r.flag("deleted"), r.flag("deletedOnly")
	return slices.DeleteFunc(slices.Clone(list), func(v Version) bool {
		if others {
			return !v.Deleted
		}
		return v.Deleted && !all
	})
}

// find returns the version that the path names.
func (r *request) find() (Version, error) {
	subject, err := r.subject()
	if err != nil {
		return Version{}, err
	}
	number, err := r.versionOf()
	if err != nil {
		return Version{}, err
	}
	list, err := r.visibleOf(subject)
	if err != nil {
		return Version{}, err
	}
	if number == 0 {
		return list[len(list)-1], nil
	}
	for _, v := range list {
		if v.Version == number {
			return v, nil
		}
	}
	return Version{}, noVersion(number)
}

// prefixed returns the versions of the subjects that the request asks for.
func (r *request) prefixed() ([]Version, error) {
	prefix := r.URL.Query().Get("subjectPrefix")
	if prefix != "" && !isSubject(prefix) {
		return nil, nil // no subject begins so
	}
	return r.tx.All(prefix)
}

func subjects(r *request) (any, error) {
	all, err := r.prefixed()
	if err != nil {
		return nil, err
	}
	names := []string{}
	for _, v := range r.visible(all) {
		if len(names) == 0 || names[len(names)-1] != v.Subject {
			names = append(names, v.Subject)
		}
	}
	return names, nil
}

func versions(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	list, err := r.visibleOf(subject)
	return numbers(list), err
}

func numbers(list []Version) []int {
	out := []int{}
	for _, v := range list {
		out = append(out, v.Version)
	}
	return out
}

func version(r *request) (any, error) {
	v, err := r.find()
	if err != nil {
		return nil, err
	}
	return r.entry(v)
}

func versionText(r *request) (any, error) {
	v, err := r.find()
	if err != nil {
		return nil, err
	}
	e, err := r.entry(v)
	return rawText(e.Schema), err
}

func referencedBy(r *request) (any, error) {
	v, err := r.find()
	if err != nil {
		return nil, err
	}
	ids, err := r.referrers(v)
	if ids == nil {
		ids = []int{}
	}
	return ids, err
}

// referrers returns the ids of schemas that refer to a version, and are under a subject.
func (r *request) referrers(v Version) ([]int, error) {
	ids, err := r.tx.Referrers(v.Subject, v.Version)
	if err != nil {
		return nil, err
	}
	var out []int
	for _, id := range ids {
		uses, err := r.tx.Uses(id)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(uses, func(v Version) bool { return !v.Deleted }) {
			out = append(out, id)
		}
	}
	return out, nil
}

// lookup finds a schema under a subject.
func lookup(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	sent, err := r.schema()
	if err != nil {
		return nil, err
	}
	list, err := r.visibleOf(subject)
	if err != nil {
		return nil, err
	}
	found, ok, err := r.tx.Find(sent.identity())
	if err != nil {
		return nil, err
	}
	for _, v := range slices.Backward(list) {
		if ok && v.ID == found.ID {
			return r.entry(v)
		}
	}
	return nil, refuse(http.StatusNotFound, 40403, "Schema not found")
}

// register adds a schema to a subject that does not have it.
func register(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	sent, err := r.schema()
	if err != nil {
		return nil, err
	}
	mode, err := r.mode(subject)
	if err != nil {
		return nil, err
	}
	all, err := r.tx.Versions(subject)
	if err != nil {
		return nil, err
	}
	schema, known, err := r.tx.Find(sent.identity())
	if err != nil {
		return nil, err
	}
	if mode == "IMPORT" {
		return r.imported(subject, sent, schema, all)
	}
	for _, v := range all {
		if known && v.ID == schema.ID && !v.Deleted {
			return map[string]int{"id": v.ID}, nil
		}
	}
	switch {
	case mode == "READONLY":
		return nil, unprocessable(42205, "Subject %s is in read-only mode", bounded(subject))
	case sent.body.ID > 0:
		return nil, unprocessable(42205, "Subject %s is not in import mode", bounded(subject))
	}
	if err := r.goesWith(subject, sent.schema, all); err != nil {
		return nil, err
	}
	if !known {
		if schema.ID, err = r.tx.Add(Schema{Text: sent.text(r.flag("normalize")), Refs: sent.body.References, Identity: sent.identity()}); err != nil {
			return nil, err
		}
	}
	next := 1
	if len(all) > 0 {
		next = all[len(all)-1].Version + 1
	}
	return map[string]int{"id": schema.ID}, r.tx.Put(Version{Subject: subject, Version: next, ID: schema.ID})
}

// maxImported bounds imported ids and versions, so that there are some left to count on from.
const maxImported = 1 << 30

// imported registers a schema under the id and version that it has elsewhere, without a check.
func (r *request) imported(subject string, sent *parsed, same Schema, all []Version) (any, error) {
	b := sent.body
	if b.ID <= 0 || b.ID > maxImported || b.Version < 0 || b.Version > maxImported {
		return nil, unprocessable(42205, "Subject %s is in import mode: the schema needs an id, and may have a version, both from 1 to %d", bounded(subject), maxImported)
	}
	there, taken, err := r.tx.Schema(b.ID)
	if err != nil {
		return nil, err
	}
	switch {
	case taken && there.Identity != sent.identity():
		return nil, unprocessable(42205, "Overwrite new schema with id %d is not permitted.", b.ID)
	case !taken && same.ID != 0:
		return nil, unprocessable(42205, "The schema has the id %d: it cannot have %d as well", same.ID, b.ID)
	case !taken:
		if _, err := r.tx.Add(Schema{ID: b.ID, Text: b.Schema, Refs: b.References, Identity: sent.identity()}); err != nil {
			return nil, err
		}
	}
	if b.Version == 0 {
		b.Version = 1
		if len(all) > 0 {
			b.Version = all[len(all)-1].Version + 1
		}
	}
	for _, v := range all {
		if v.Version == b.Version && v.ID != b.ID {
			return nil, unprocessable(42205, "Version %d of subject %s has the id %d: it is not overwritten", v.Version, bounded(subject), v.ID)
		}
	}
	return map[string]int{"id": b.ID}, r.tx.Put(Version{Subject: subject, Version: b.Version, ID: b.ID})
}

// texts returns the schemas of versions that are not deleted.
func (r *request) texts(list []Version) (versions []Version, texts []avro.Schema, err error) {
	for _, v := range list {
		if v.Deleted {
			continue
		}
		s, _, err := r.tx.Schema(v.ID)
		if err != nil {
			return nil, nil, err
		}
		refs, err := resolve(r.tx, s.Refs, true)
		if err != nil {
			return nil, nil, err
		}
		versions, texts = append(versions, v), append(texts, avro.Schema{Text: s.Text, References: refs})
	}
	return versions, texts, nil
}
