package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/annals-go/annals/postgres"
)

// readerNamed returns the full name of a reader: as it is, or with its kind in front
// if that is clear, so that totals is projection/totals. A name that nobody has stays
// as it is, and known is false.
func readerNamed(ctx context.Context, db *postgres.DB, name string) (full string, known bool, err error) {
	all, err := db.Readers(ctx)
	if err != nil || slices.Contains(all, name) {
		return name, err == nil, err
	}
	var fit []string
	for _, r := range all {
		if _, short, ok := strings.Cut(r, "/"); ok && short == name {
			fit = append(fit, r)
		}
	}
	switch len(fit) {
	case 0:
		return name, false, nil
	case 1:
		return fit[0], true, nil
	}
	return name, false, usage(fmt.Errorf("reader %s: there are several: %s", name, strings.Join(fit, ", ")))
}

// knownReader is readerNamed for commands that need one.
func knownReader(ctx context.Context, db *postgres.DB, name string) (string, error) {
	full, known, err := readerNamed(ctx, db, name)
	if err != nil || known {
		return full, err
	}
	all, err := db.Readers(ctx)
	if err != nil {
		return "", err
	}
	return "", fmt.Errorf("reader %s: there is none of that name, there are: %s", name, strings.Join(append(all, "no others"), ", "))
}

// storeOf opens the store for a reader that is known there, and returns its full name.
func (a *app) storeOf(ctx context.Context, name string) (db *postgres.DB, full string, done func(), err error) {
	db, done, err = a.store(ctx)
	if err != nil {
		return nil, "", nil, err
	}
	if full, err = knownReader(ctx, db, name); err != nil {
		done()
		return nil, "", nil, err
	}
	return db, full, done, nil
}

// chosenReaders are the one that is named in args, else all.
func chosenReaders(ctx context.Context, db *postgres.DB, args []string) ([]string, error) {
	if len(args) == 0 {
		return db.Readers(ctx)
	}
	name, err := knownReader(ctx, db, args[0])
	return []string{name}, err
}
