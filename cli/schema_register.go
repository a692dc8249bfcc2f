package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/codec/avro"
)

// registration is what became of a schema.
type registration struct {
	Subject string `json:"subject"`
	Event   string `json:"event,omitempty"`
	Schema  int    `json:"schema,omitempty"`
	ID      int    `json:"id,omitempty"`
	Result  string `json:"result"`
	Field   string `json:"field,omitempty"`
	Rule    string `json:"rule,omitempty"`
}

// What a registration comes to.
const (
	resultRegistered = "registered"
	resultThere      = "was registered"
	resultWould      = "would be registered"
	resultRefused    = "refused"
	resultLeft       = "not registered"
)

func (r registration) cells(int) []string {
	shape := "-"
	if r.Event != "" {
		shape = shapeOf(r.Event, r.Schema)
	}
	return []string{r.Subject, shape, orDash(positive(r.ID)), r.Result}
}

// registerFlags are those of schema register.
type registerFlags struct {
	registry registryFlags
	dir      string
	mode     choiceFlag
	dryRun   bool
}

func (a *app) schemaRegister() *cobra.Command {
	f := registerFlags{mode: modeFlag()}
	cmd := &cobra.Command{
		Use:   "register",
		Short: "Register the Avro schemas of the program",
		Long: `Register the Avro schemas that the codecs write and read, or those of --dir, oldest version first. What is registered
already stays as it is, so it can be run again. A file of --dir may use types that another of them defines: they are
registered as parts of its schema, not as references.

All of them are compared with the registry first. If one is not compatible nothing is registered, and the exit code
is 1. It is also 1 if the registry refuses one after that; what was registered by then, and what was not, is listed.

--mode sets the compatibility of each subject, before anything is registered. Without it none is changed.

  annals schema register --registry https://registry:8081 --dry-run
  annals schema register --mode FULL_TRANSITIVE

` + registryHelp,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.limited(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			return a.registerSchemas(ctx, cmd, f)
		}),
	}
	f.registry.add(cmd)
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory of files SUBJECT.vVERSION.avsc to register, in place of what the codecs have")
	addMode(cmd, &f.mode, "compatibility to give each subject")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be registered, change nothing")
	_ = cmd.MarkFlagDirname("dir") // fails only for a flag that is not there
	return cmd
}

func (a *app) registerSchemas(ctx context.Context, cmd *cobra.Command, f registerFlags) error {
	all := a.declared()
	if f.dir != "" {
		d, err := readSchemaDir(f.dir)
		if err != nil {
			return err
		}
		all = d.all()
	} else if len(a.codecs) == 0 {
		return usage(errNoCodecs)
	}
	if len(all) == 0 {
		return usage(errors.New("register schemas: there are none: no codec has the format avro.Format, or --dir has no files SUBJECT.vVERSION.avsc"))
	}
	client, err := a.needRegistry(f.registry)
	if err != nil {
		return err
	}
	var h history = client
	mode, given := f.mode.mode()
	if given {
		h = inMode{client, mode}
	}
	verdicts, err := judge(ctx, h, all)
	if err != nil {
		return fmt.Errorf("register schemas: %w: nothing was registered", err)
	}
	r := register{app: a, client: client, out: a.printer(cmd, "SUBJECT", "EVENT", "ID", "RESULT"), verdicts: verdicts}
	if given && r.broken() == nil {
		if err := r.modes(ctx, cmd, mode, f.dryRun); err != nil {
			return err
		}
	}
	err = r.run(ctx, f.dryRun)
	return errors.Join(r.out.flush(), err)
}

// register is one run of schema register.
type register struct {
	*app
	client   *avro.Client
	out      *printer
	verdicts []verdict
}

// broken returns the first verdict that is incompatible.
func (r *register) broken() *avro.IncompatibleError {
	for _, v := range r.verdicts {
		if v.Broken != nil {
			return v.Broken
		}
	}
	return nil
}

// modes sets the compatibility of each subject.
func (r *register) modes(ctx context.Context, cmd *cobra.Command, mode avro.Mode, dryRun bool) error {
	done := map[string]bool{}
	for _, v := range r.verdicts {
		if done[v.Subject] {
			continue
		}
		done[v.Subject] = true
		before, err := r.client.Mode(ctx, v.Subject)
		if err != nil {
			return fmt.Errorf("register schemas: %w: nothing was registered", err)
		}
		verb := "is"
		if dryRun {
			verb = "would be"
		} else if err := r.client.SetMode(ctx, v.Subject, mode); err != nil {
			return fmt.Errorf("register schemas: %w: nothing was registered", err)
		}
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "compatibility of subject %s %s %v, was %v\n", clean(v.Subject), verb, mode, before)
	}
	return nil
}

// run registers what is not, and says of every schema what became of it.
func (r *register) run(ctx context.Context, dryRun bool) error {
	var failed error
	if broken := r.broken(); broken != nil {
		failed = broken
	}
	added, there := 0, 0
	for _, v := range r.verdicts {
		row := registration{Subject: v.Subject, Event: v.Event, ID: v.ID, Result: resultLeft}
		if v.Event != "" {
			row.Schema = v.wanted.Version
		}
		switch {
		case v.settled():
			row.Result = resultThere
			there++
		case v.Broken != nil:
			row.Result, row.Field, row.Rule = resultRefused, r.hide(v.Broken.Field), r.hide(v.Broken.Rule)
		case failed != nil:
		case dryRun:
			row.Result = resultWould
		default:
			id, err := r.client.Register(ctx, v.Subject, v.Schema)
			if err == nil {
				row.ID, row.Result = id, resultRegistered
				added++
				break
			}
			failed, row.Result = err, resultRefused
			if refused := new(avro.IncompatibleError); errors.As(err, &refused) {
				row.Field, row.Rule = r.hide(refused.Field), r.hide(refused.Rule)
			}
		}
		if err := r.out.print(row); err != nil {
			return err
		}
	}
	if failed == nil {
		return nil
	}
	return fmt.Errorf("register schemas: %w; %d registered, %d were before, %d not", failed, added, there, len(r.verdicts)-added-there)
}
