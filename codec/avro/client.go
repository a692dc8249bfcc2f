package avro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec"
)

// Client is a Registry that is reached over HTTP: that of Confluent, Apicurio (its path
// /apis/ccompat/v7), Redpanda, or another one with the same interface. It is safe for
// concurrent use.
//
// Errors match codec.ErrUnavailable if the registry did not answer, or refused who asks
// (401, 403: the settings can be mended, and no event is lost), or answered with 429, 5xx or
// what is no answer of a registry. A schema that a registry calls invalid, and one that it
// refuses as incompatible, are permanent errors. If it says no more than that it cannot compare
// schemas (422 of Apicurio), Check says whether they are incompatible, and how. Nothing is tried again: the caller's retry
// policy does that. A call ends after 5 s, or what the
// client of sr.HTTPClient says, and with its context.
//
// References of a schema are read with it, up to 256 of them.
type Client struct {
	sr *sr.Client
}

// NewClient returns a client of the registry that the options name: sr.URLs,
// sr.BasicAuth, sr.BearerToken, sr.DialTLSConfig and so on. It does no I/O. What it
// is authorized with stands in no error and no log.
//
// The user and password of a URL (https://user:password@host) are taken out of it and used
// for that host, unless sr.BasicAuth or sr.BearerToken say otherwise. Several URLs are one
// registry: the next one is tried if one does not answer. An answer is 16 MiB long at most.
func NewClient(opts ...sr.ClientOpt) (*Client, error) {
	given, err := sr.NewClient(opts...)
	if err != nil {
		return nil, fmt.Errorf("new registry client: %w", err)
	}
	urls, users, err := withoutUsers(given.OptValue("URLs").([]string))
	if err != nil {
		return nil, fmt.Errorf("new registry client: %w", err)
	}
	// The first client has put the TLS settings into the HTTP client, which is copied here
	// with a transport around its own.
	client, err := sr.NewClient(append(slices.Clone(opts), sr.URLs(urls...), sr.HTTPClient(guarded(given, users)), sr.DialTLSConfig(nil))...)
	if err != nil {
		return nil, fmt.Errorf("new registry client: %w", err)
	}
	return &Client{sr: client}, nil
}

// Schema implements Registry.
func (c *Client) Schema(ctx context.Context, id int) (Schema, error) {
	s, err := c.sr.SchemaByID(ctx, id)
	if err != nil {
		return Schema{}, fail(ctx, fmt.Sprintf("read schema %d", id), err, ErrUnknownID)
	}
	resolved, err := c.resolved(ctx, s)
	if err != nil {
		return Schema{}, fmt.Errorf("read schema %d: %w", id, err)
	}
	return resolved, nil
}

// Lookup implements Registry.
func (c *Client) Lookup(ctx context.Context, subject string, s Schema) (int, error) {
	doing := fmt.Sprintf("look up schema of subject %s", subject)
	sent, err := wire(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	found, err := c.sr.LookupSchema(ctx, subject, sent)
	if errorCode(err) == codeSchemaNotFound {
		// It may have been registered in the normal form of the registry.
		found, err = c.sr.LookupSchema(sr.WithParams(ctx, sr.Normalize), subject, sent)
	}
	if err != nil {
		return 0, fail(ctx, doing, err, ErrNotRegistered)
	}
	return positive(doing, found.ID)
}

// Register implements Registry.
func (c *Client) Register(ctx context.Context, subject string, s Schema) (int, error) {
	doing := fmt.Sprintf("register schema of subject %s", subject)
	sent, err := wire(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", doing, err)
	}
	id, err := c.sr.RegisterSchema(ctx, subject, sent, -1, -1)
	if statusCode(err) == statusConflict {
		return 0, c.incompatible(ctx, subject, s, err)
	}
	if code := errorCode(err); statusCode(err) == http.StatusUnprocessableEntity && (code == 0 || code == http.StatusUnprocessableEntity) {
		err = c.unsaid(ctx, subject, s, err)
	}
	if errors.Is(err, ErrIncompatible) {
		return 0, err
	}
	if err != nil {
		return 0, fail(ctx, doing, err, nil)
	}
	return positive(doing, id)
}

// positive refuses an id that no payload can name.
func positive(doing string, id int) (int, error) {
	if id <= 0 {
		return 0, fmt.Errorf("%s: %w: the answer has the id %d: is the URL that of a schema registry", doing, codec.ErrUnavailable, id)
	}
	return id, nil
}

// Subjects returns the names of all subjects, sorted.
func (c *Client) Subjects(ctx context.Context) ([]string, error) {
	subjects, err := c.sr.Subjects(ctx)
	if err != nil {
		return nil, fail(ctx, "list subjects", err, nil)
	}
	slices.Sort(subjects)
	return subjects, nil
}

// Registered is a version of a subject.
type Registered struct {
	Subject string
	Version int
	ID      int
	Schema  Schema
}

// Versions returns the versions of a subject, oldest first, and none if there is no such
// subject.
func (c *Client) Versions(ctx context.Context, subject string) ([]Registered, error) {
	doing := fmt.Sprintf("list versions of subject %s", subject)
	versions, err := c.sr.SubjectVersions(ctx, subject)
	if errorCode(err) == codeSubjectNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, fail(ctx, doing, err, nil)
	}
	slices.Sort(versions)
	var out []Registered
	for _, v := range versions {
		s, err := c.sr.SchemaByVersion(ctx, subject, v)
		if errorCode(err) == codeVersionNotFound {
			continue // deleted since
		}
		if err != nil {
			return nil, fail(ctx, fmt.Sprintf("read version %d of subject %s", v, subject), err, nil)
		}
		resolved, err := c.resolved(ctx, s.Schema)
		if err != nil {
			return nil, fmt.Errorf("read version %d of subject %s: %w", v, subject, err)
		}
		out = append(out, Registered{Subject: subject, Version: v, ID: s.ID, Schema: resolved})
	}
	return out, nil
}

// Mode returns the compatibility of a subject: its own, or that of the registry.
func (c *Client) Mode(ctx context.Context, subject string) (Mode, error) {
	doing := fmt.Sprintf("read compatibility of subject %s", subject)
	got := c.sr.Compatibility(sr.WithParams(ctx, sr.DefaultToGlobal), subject)[0]
	if code := errorCode(got.Err); code == codeNoConfig || code == codeSubjectNotFound {
		got = c.sr.Compatibility(ctx)[0] // of a registry that does not know the parameter
	}
	if got.Err != nil {
		return 0, fail(ctx, doing, got.Err, nil)
	}
	m, err := ParseMode(got.Level.String())
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %w", doing, codec.ErrUnavailable, err)
	}
	return m, nil
}

// SetMode sets the compatibility of a subject, and returns an error if the registry says
// yes and does otherwise. For Apicurio, None of a subject is that of the registry: set that.
func (c *Client) SetMode(ctx context.Context, subject string, m Mode) error {
	doing := fmt.Sprintf("set compatibility of subject %s to %v", subject, m)
	var level sr.CompatibilityLevel
	if err := level.UnmarshalText([]byte(m.String())); err != nil {
		return errors.New(doing + ": there is no such mode")
	}
	if got := c.sr.SetCompatibility(ctx, sr.SetCompatibility{Level: level}, subject)[0]; got.Err != nil {
		return fail(ctx, doing, got.Err, nil)
	}
	now, err := c.Mode(ctx, subject)
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if now != m {
		return fmt.Errorf("%s: the registry has not done it: it is %v: set the compatibility of the registry", doing, now)
	}
	return nil
}
