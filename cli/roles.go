package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/postgres"
)

// rolesRecord is the JSON form of what roles did, or of the SQL that it printed.
type rolesRecord struct {
	Schema string   `json:"schema"`
	Roles  []string `json:"roles"`
	SQL    string   `json:"sql,omitempty"`
}

func (a *app) roles() *cobra.Command {
	var (
		printOnly bool
		prefix    schemaFlag
	)
	cmd := &cobra.Command{
		Use:   "roles",
		Short: "Make the roles of the store and give them their rights",
		Long: `Make the roles of the store and give them their rights: SCHEMA_append appends and reads, SCHEMA_work runs
workers, SCHEMA_import copies events in, SCHEMA_read reads, and SCHEMA_owner owns everything and migrates.
None of them can log in: make a role for each service, and grant it those that it needs.

It can be run again, takes away every other right that these roles have in the schema, and needs the right
to make roles, unless they are there, and to be the owner of the schema. With --print it touches no database
and prints the SQL, which can be run by somebody else.`,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			opts := []postgres.Option{postgres.WithSchema(string(a.schema))}
			if prefix != "" {
				opts = append(opts, postgres.WithRolePrefix(string(prefix)))
			}
			r := rolesRecord{Schema: string(a.schema)}
			for _, role := range []postgres.Role{postgres.RoleRead, postgres.RoleAppend, postgres.RoleWork, postgres.RoleImport, postgres.RoleOwner} {
				name, err := postgres.RoleName(role, opts...)
				if err != nil {
					return err
				}
				r.Roles = append(r.Roles, name)
			}
			if printOnly {
				sql, err := postgres.Roles(opts...)
				if err != nil {
					return err
				}
				r.SQL = "BEGIN;\n" + sql + "COMMIT;\n"
				return a.sayRoles(cmd, r)
			}
			pool, done, err := a.pool(ctx)
			if err != nil {
				return err
			}
			defer done()
			if err := postgres.GrantRoles(ctx, pool, opts...); err != nil {
				return err
			}
			return a.sayRoles(cmd, r)
		}),
	}
	cmd.Flags().BoolVar(&printOnly, "print", false, "print the SQL, touch no database")
	cmd.Flags().Var(&prefix, "prefix", "what the names of the roles begin with (default: the name of the schema)")
	return cmd
}

func (a *app) sayRoles(cmd *cobra.Command, r rolesRecord) error {
	if a.output.value == "json" {
		p := a.printer(cmd)
		if err := p.object(r); err != nil {
			return err
		}
		return p.flush()
	}
	text := r.SQL
	if text == "" {
		text = fmt.Sprintf("schema %s: %s have their rights\n", r.Schema, strings.Join(r.Roles, ", "))
	}
	_, err := fmt.Fprint(cmd.OutOrStdout(), text)
	return err
}
