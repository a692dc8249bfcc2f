package avro

import (
	"context"

	"github.com/twmb/franz-go/pkg/sr"
)

// Client is a Registry that is reached over HTTP: that of Confluent, Apicurio (its path
// /apis/ccompat/v7), Redpanda, or another one with the same interface. It is safe for
// concurrent use.
type Client struct {
	sr *sr.Client
}

// NewClient returns a client of the registry that the options name: sr.URLs,
// sr.BasicAuth, sr.BearerToken, sr.DialTLSConfig and so on. It does no I/O. What it
// is authorized with stands in no error and no log.
func NewClient(opts ...sr.ClientOpt) (*Client, error) {
	panic("not there yet")
}

// Schema implements Registry.
func (c *Client) Schema(ctx context.Context, id int) (Schema, error) { panic("not there yet") }

// Lookup implements Registry.
func (c *Client) Lookup(ctx context.Context, subject string, s Schema) (int, error) {
	panic("not there yet")
}

// Register implements Registry.
func (c *Client) Register(ctx context.Context, subject string, s Schema) (int, error) {
	panic("not there yet")
}

// Subjects returns the names of all subjects, sorted.
func (c *Client) Subjects(ctx context.Context) ([]string, error) { panic("not there yet") }

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
	panic("not there yet")
}

// Mode returns the compatibility of a subject: its own, or that of the registry.
func (c *Client) Mode(ctx context.Context, subject string) (Mode, error) { panic("not there yet") }

// SetMode sets the compatibility of a subject.
func (c *Client) SetMode(ctx context.Context, subject string, m Mode) error { panic("not there yet") }
