package registry

import (
	"net/http"
	"slices"
)

// used returns the schema of the path's id, and the versions that have it. A schema that no
// version has is not found any more.
func (r *request) used() (Schema, []Version, error) {
	id, err := r.id()
	if err != nil {
		return Schema{}, nil, err
	}
	s, ok, err := r.tx.Schema(id)
	if err != nil {
		return Schema{}, nil, err
	}
	uses, err := r.tx.Uses(id)
	if err != nil {
		return Schema{}, nil, err
	}
	if !ok || len(uses) == 0 {
		return Schema{}, nil, refuse(http.StatusNotFound, 40403, "Schema not found")
	}
	return s, uses, nil
}

func schemaByID(r *request) (any, error) {
	s, _, err := r.used()
	return struct {
		References []Reference `json:"references,omitempty"`
		Schema     string      `json:"schema"`
	}{s.Refs, s.Text}, err
}

func textByID(r *request) (any, error) {
	s, _, err := r.used()
	return rawText(s.Text), err
}

func subjectsByID(r *request) (any, error) {
	_, uses, err := r.used()
	names := []string{}
	for _, v := range r.visible(uses) {
		names = append(names, v.Subject)
	}
	return slices.Compact(names), err
}

func versionsByID(r *request) (any, error) {
	_, uses, err := r.used()
	type place struct {
		Subject string `json:"subject"`
		Version int    `json:"version"`
	}
	out := []place{}
	for _, v := range r.visible(uses) {
		out = append(out, place{v.Subject, v.Version})
	}
	return out, err
}

func schemas(r *request) (any, error) {
	all, err := r.prefixed()
	if err != nil {
		return nil, err
	}
	list := r.visible(all)
	out := []entry{}
	for i, v := range list {
		if r.flag("latestOnly") && i+1 < len(list) && list[i+1].Subject == v.Subject {
			continue
		}
		e, err := r.entry(v)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}
