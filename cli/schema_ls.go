package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/codec/avro"
)

// schemaRecord is a shape of a codec. What an Avro schema has beside it is empty for
// others, and without a registry.
type schemaRecord struct {
	Event       string `json:"event"`
	Schema      int    `json:"schema"`
	ContentType string `json:"content_type"`
	GoType      string `json:"go_type"`
	Written     bool   `json:"written"`
	Subject     string `json:"subject,omitempty"`
	ID          int    `json:"id,omitempty"`
	Version     int    `json:"version,omitempty"`
	Newest      int    `json:"newest_version,omitempty"`
	Mode        string `json:"mode,omitempty"`
	State       string `json:"state,omitempty"`
}

var schemaHeader = []string{"EVENT", "SCHEMA", "WRITTEN", "SUBJECT", "ID", "NEWEST", "MODE", "STATE", "CONTENT TYPE", "GO TYPE"}

func (r schemaRecord) cells(int) []string {
	written := "no"
	if r.Written {
		written = "yes"
	}
	return []string{r.Event, strconv.Itoa(r.Schema), written, orDash(r.Subject), orDash(positive(r.ID)), orDash(positive(r.Newest)), orDash(r.Mode), orDash(r.State), r.ContentType, r.GoType}
}

// positive is empty for 0.
func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// subjectRecord is a subject of the registry.
type subjectRecord struct {
	Subject string `json:"subject"`
	ID      int    `json:"id"`
	Newest  int    `json:"newest_version"`
	Mode    string `json:"mode"`
}

func (r subjectRecord) cells(int) []string {
	return []string{r.Subject, strconv.Itoa(r.ID), strconv.Itoa(r.Newest), r.Mode}
}

func (a *app) schemaList() *cobra.Command {
	var f registryFlags
	cmd := &cobra.Command{
		Use:   "ls [NAME]...",
		Short: "List the schemas of the program, and how they stand to the registry",
		Long: `List every name and schema version that the codecs of the program know, or those of the names given. Of Avro schemas
it shows the subject, and beside a registry the id, the newest version, the compatibility and the state: registered,
not registered, differs (the subject may have it as its next version) or incompatible.

A program without codecs lists the subjects of the registry.

  annals schema ls --registry https://registry:8081
  annals schema ls order.placed

` + registryHelp,
		ValidArgsFunction: a.eventNames,
		Args:              cobra.ArbitraryArgs,
		SilenceUsage:      true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			if len(a.codecs) == 0 {
				client, err := a.needRegistry(f)
				if err != nil {
					return err
				}
				return a.listSubjects(ctx, cmd, client, args)
			}
			return a.listSchemas(ctx, cmd, f, args)
		}),
	}
	f.add(cmd)
	return cmd
}

func (a *app) listSubjects(ctx context.Context, cmd *cobra.Command, client *avro.Client, only []string) error {
	subjects, err := client.Subjects(ctx)
	if err != nil {
		return err
	}
	p := a.printer(cmd, "SUBJECT", "ID", "NEWEST", "MODE")
	for _, s := range subjects {
		if len(only) > 0 && !slices.Contains(only, s) {
			continue
		}
		versions, err := client.Versions(ctx, s)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			continue // deleted since
		}
		mode, err := client.Mode(ctx, s)
		if err != nil {
			return err
		}
		newest := versions[len(versions)-1]
		if err := p.print(subjectRecord{s, newest.ID, newest.Version, mode.String()}); err != nil {
			return err
		}
	}
	return p.flush()
}

func (a *app) listSchemas(ctx context.Context, cmd *cobra.Command, f registryFlags, only []string) error {
	for _, name := range only {
		if known, _ := a.eventNames(nil, nil, ""); !slices.Contains(known, name) {
			return usage(fmt.Errorf("list schemas: no codec knows the name %s", name))
		}
	}
	client, err := a.registry(f)
	if err != nil {
		return err
	}
	all := a.declared()
	verdicts := map[string]verdict{}
	for _, w := range all {
		verdicts[shapeOf(w.Event, w.Version)] = verdict{wanted: w}
	}
	if client != nil {
		judged, err := judge(ctx, client, all)
		if err != nil {
			return err
		}
		for _, v := range judged {
			verdicts[shapeOf(v.Event, v.wanted.Version)] = v
		}
	}
	p := a.printer(cmd, schemaHeader...)
	for _, c := range a.codecs {
		for name, schema := range c.Shapes {
			if len(only) > 0 && !slices.Contains(only, name) {
				continue
			}
			r := schemaRecord{Event: name, Schema: schema, ContentType: c.ContentType(), GoType: fmt.Sprint(c.Shape(name, schema)), Written: c.Writes(name) == schema}
			if v, ok := verdicts[shapeOf(name, schema)]; ok {
				r.Subject = v.Subject
				if client != nil {
					r.ID, r.Version, r.Newest, r.Mode, r.State = v.ID, v.Version, v.Newest, v.Mode.String(), string(v.State)
				}
			}
			if err := p.print(r); err != nil {
				return err
			}
		}
	}
	return p.flush()
}

func shapeOf(name string, schema int) string { return fmt.Sprintf("%s v%d", name, schema) }
