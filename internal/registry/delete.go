package registry

import (
	"fmt"
	"net/http"
	"slices"
)

// deleteSubject deletes all versions: softly, and for good with permanent=true if they were
// deleted softly before.
func deleteSubject(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	all, err := r.versions(subject)
	if err != nil {
		return nil, err
	}
	live := slices.ContainsFunc(all, func(v Version) bool { return !v.Deleted })
	permanent := r.flag("permanent")
	switch {
	case permanent && live:
		return nil, refuse(http.StatusNotFound, 40405, fmt.Sprintf("Subject '%s' was not deleted first before being permanently deleted", bounded(subject)))
	case !permanent && !live:
		return nil, refuse(http.StatusNotFound, 40404, fmt.Sprintf("Subject '%s' was soft deleted. Set permanent=true to delete permanently", bounded(subject)))
	}
	list := slices.DeleteFunc(slices.Clone(all), func(v Version) bool { return v.Deleted && !permanent })
	for _, v := range list {
		if err := r.remove(v, permanent); err != nil {
			return nil, err
		}
	}
	for _, kind := range []Setting{Compatibility, Mode} {
		if err := r.tx.Set(kind, subject, ""); err != nil {
			return nil, err
		}
	}
	return numbers(list), nil
}

// deleteVersion is deleteSubject for one version.
func deleteVersion(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	number, err := r.versionOf()
	if err != nil {
		return nil, err
	}
	all, err := r.versions(subject)
	if err != nil {
		return nil, err
	}
	if number == 0 {
		number = latest(all).Version
	}
	i := slices.IndexFunc(all, func(v Version) bool { return v.Version == number })
	if i < 0 {
		return nil, noVersion(number)
	}
	v, permanent := all[i], r.flag("permanent")
	switch {
	case permanent && !v.Deleted:
		return nil, refuse(http.StatusNotFound, 40407, fmt.Sprintf("Subject '%s' Version %d was not deleted first before being permanently deleted", bounded(subject), number))
	case !permanent && v.Deleted:
		return nil, refuse(http.StatusNotFound, 40406, fmt.Sprintf("Subject '%s' Version %d was soft deleted. Set permanent=true to delete permanently", bounded(subject), number))
	}
	return number, r.remove(v, permanent)
}

// remove deletes a version that no schema refers to.
func (r *request) remove(v Version, permanent bool) error {
	if mode, err := r.mode(v.Subject); err != nil {
		return err
	} else if mode == "READONLY" {
		return unprocessable(42205, "Subject %s is in read-only mode", bounded(v.Subject))
	}
	ids, err := r.tx.Referrers(v.Subject, v.Version)
	if err != nil {
		return err
	}
	for _, id := range ids {
		uses, err := r.tx.Uses(id)
		if err != nil {
			return err
		}
		// One that was deleted softly may be read still, so what it refers to stays.
		if slices.ContainsFunc(uses, func(u Version) bool { return permanent || !u.Deleted }) {
			return unprocessable(42206, "One or more references exist to the schema {subject=%s, version=%d}.", bounded(v.Subject), v.Version)
		}
	}
	if permanent {
		return r.tx.Remove(v.Subject, v.Version)
	}
	v.Deleted = true
	return r.tx.Put(v)
}
