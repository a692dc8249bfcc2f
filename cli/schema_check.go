package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/codec/corpus"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/postgres"
)

// The kinds of what schema check finds.
const (
	foundIncompatible = "incompatible" // the subject may not have the schema
	foundUncommitted  = "uncommitted"  // the directory does not have the schema
	foundUnknown      = "unknown"      // no codec covers the name
	foundUndecodable  = "undecodable"  // stored or pinned bytes that the program does not read
	foundChanged      = "changed"      // pinned bytes that mean something else today
	foundUnpinned     = "unpinned"     // a shape without pinned bytes
)

// faultRecord is one finding of schema check. Event is a stored name.
type faultRecord struct {
	Finding  string         `json:"finding"`
	Subject  string         `json:"subject,omitempty"`
	Event    string         `json:"event,omitempty"`
	Schema   int            `json:"schema,omitempty"`
	Version  int            `json:"version,omitempty"` // of the subject: the earlier one
	Mode     string         `json:"mode,omitempty"`
	Field    string         `json:"field,omitempty"`
	Rule     string         `json:"rule"`
	File     string         `json:"file,omitempty"`
	Position event.Position `json:"position,omitempty"`
}

// line is the record for people. It is not cut on a terminal: a finding ends with what
// to do about it.
func (r faultRecord) line() string {
	what := r.Subject
	if r.Event != "" {
		if what = shapeOf(r.Event, r.Schema); r.Subject != "" {
			what = fmt.Sprintf("%s (%s)", r.Subject, what)
		}
	}
	if r.File != "" {
		what += " in " + r.File
	}
	if r.Position > 0 {
		what += fmt.Sprintf(" at position %d", r.Position)
	}
	if r.Version > 0 {
		what += fmt.Sprintf(" against version %d", r.Version)
	}
	if r.Mode != "" {
		what += " under " + r.Mode
	}
	if r.Field != "" {
		what += ": field " + r.Field
	}
	return fmt.Sprintf("%-13s %s: %s\n", r.Finding, what, r.Rule)
}

// checkFlags are those of schema check.
type checkFlags struct {
	registry    registryFlags
	dir, corpus string
	mode        choiceFlag
	write       bool
	noDatabase  bool
	samples     numberFlag
	ignore      namesFlag
}

func (a *app) schemaCheck() *cobra.Command {
	f := checkFlags{mode: modeFlag(), samples: numberFlag{value: 20, least: 2, most: 10_000}, ignore: namesFlag{check: family}}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find what this program would not read, before it is deployed",
		Long: `Find what this program would not read, before it is deployed. Each finding is a line that names the subject or event,
the field and the rule; the exit code is 1 if there is any. It looks at what it is given:

--registry: may each Avro schema of the codecs be the next version of its subject, by the subject's compatibility or
that of --mode? A schema that is not registered yet is no finding: annals schema register adds it.

--dir: the same with a committed directory of files SUBJECT.vVERSION.avsc, by BACKWARD_TRANSITIVE or --mode, and each
file with those before it. A schema of the program that is not there is a finding; --write adds it, unless it is
incompatible. With --dir the registry is compared with only if --registry is given, too. A file may use types that
another of them defines.

--corpus: does each pinned payload NAME.vSCHEMA[.label].json (or .payload) still decode to what its .want says, and
has each shape of a codec that is not Avro one? It is the directory of codectest.Corpus.

A database, if one is named: does the program read samples of every stored name and schema version: the first, the
last, and others between them? Names of families that belong to other services are left out with --ignore. It reads
all of the log but the payloads, so it has no time limit unless --timeout is given.

  annals schema check --dir schemas --corpus testdata --no-database
  annals schema check --registry https://registry:8081 --ignore payment

` + registryHelp,
		Args:         exactArgs(0, "none"),
		SilenceUsage: true,
		RunE: a.patient(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			return a.checkSchemas(ctx, cmd, f)
		}),
	}
	f.registry.add(cmd)
	cmd.Flags().StringVar(&f.dir, "dir", "", "directory of files SUBJECT.vVERSION.avsc to compare with")
	cmd.Flags().BoolVar(&f.write, "write", false, "add the schemas of the program that --dir lacks")
	addMode(cmd, &f.mode, "compatibility to check (default: that of the subject, with --dir BACKWARD_TRANSITIVE)")
	cmd.Flags().StringVar(&f.corpus, "corpus", "", "directory of pinned payloads")
	cmd.Flags().BoolVar(&f.noDatabase, "no-database", false, "do not look at stored events")
	cmd.Flags().Var(&f.samples, "samples", "most stored events of a name and schema version to decode")
	cmd.Flags().Var(&f.ignore, "ignore", "families of names, such as payment, that belong to other services")
	for _, dir := range []string{"dir", "corpus"} {
		_ = cmd.MarkFlagDirname(dir) // fails only for a flag that is not there
	}
	return cmd
}

// family returns an error for what is no first part of a stored name.
func family(s string) error {
	if strings.Contains(s, ".") || event.ValidateName(s+".x") != nil {
		return errors.New("want the part of a name before its first dot, such as payment")
	}
	return nil
}

// checkRun is one run of schema check.
type checkRun struct {
	*app
	checkFlags
	cmd   *cobra.Command
	found int
	did   []string // what was looked at
}

func (a *app) checkSchemas(ctx context.Context, cmd *cobra.Command, f checkFlags) error {
	r := &checkRun{app: a, checkFlags: f, cmd: cmd}
	url, _ := a.lookupEnv("DATABASE_URL")
	database := !f.noDatabase && (a.open != nil || a.databaseURL != "" || url != "")
	if len(a.codecs) == 0 && f.dir == "" {
		return usage(errNoCodecs)
	}
	if f.write && f.dir == "" {
		return usage(errors.New("--write: want --dir, the directory to write to"))
	}
	client, err := a.registry(f.registry)
	if err != nil {
		return err
	}
	if f.dir != "" && f.registry.url == "" {
		client = nil
	}
	database = database && len(a.codecs) > 0
	if client == nil && f.dir == "" && f.corpus == "" && !database {
		return usage(errors.New("check schemas: nothing to compare with, give --registry, --dir, --corpus or a database"))
	}
	if f.dir != "" {
		if err := r.directory(ctx, client); err != nil {
			return err
		}
	} else if client != nil {
		if err := r.registered(ctx, client, a.declared()); err != nil {
			return err
		}
	}
	if f.corpus != "" {
		if err := r.pinned(); err != nil {
			return err
		}
	}
	if database {
		if err := r.stored(ctx); err != nil {
			return err
		}
	}
	if r.found > 0 {
		return fmt.Errorf("check schemas: %s in %s", counted(int64(r.found), "finding"), strings.Join(r.did, ", "))
	}
	_, err = fmt.Fprintf(cmd.ErrOrStderr(), "checked %s: all as it should be\n", strings.Join(r.did, ", "))
	return err
}

// say prints a finding.
func (r *checkRun) say(f faultRecord) error {
	r.found++
	f.Rule, f.Field = r.hide(lines(f.Rule)), r.hide(f.Field)
	if r.output.value != "json" {
		_, err := fmt.Fprint(r.cmd.OutOrStdout(), escape(strings.TrimSuffix(f.line(), "\n"))+"\n")
		return err
	}
	p := r.printer(r.cmd)
	if err := p.object(f); err != nil {
		return err
	}
	return p.flush()
}

// incompatible prints what breaks a compatibility, and returns what does not.
func (r *checkRun) incompatible(verdicts []verdict) (rest []verdict, err error) {
	for _, v := range verdicts {
		if v.Broken == nil {
			rest = append(rest, v)
			continue
		}
		f := faultRecord{
			Finding: foundIncompatible, Subject: v.Subject, Event: v.Event, Version: v.Broken.Version,
			Mode: v.Broken.Mode.String(), Field: v.Broken.Field, Rule: v.Broken.Rule,
		}
		if v.Event != "" {
			f.Schema = v.wanted.Version
		}
		if err := r.say(f); err != nil {
			return nil, err
		}
	}
	return rest, nil
}

// registered compares schemas with a registry.
func (r *checkRun) registered(ctx context.Context, client *avro.Client, all []wanted) error {
	var h history = client
	if m, ok := r.mode.mode(); ok {
		h = inMode{client, m}
	}
	verdicts, err := judge(ctx, h, all)
	if err != nil {
		return err
	}
	did := counted(int64(len(all)), "schema") + " against the registry"
	rest, err := r.incompatible(verdicts)
	news := 0
	for _, v := range rest {
		if !v.settled() {
			news++
		}
	}
	if news > 0 {
		did += fmt.Sprintf(" (%d not registered yet: run annals schema register)", news)
	}
	r.did = append(r.did, did)
	return err
}

// directory compares the files with each other, and the schemas of the program with
// them; without codecs the files with the registry.
func (r *checkRun) directory(ctx context.Context, client *avro.Client) error {
	d, err := readSchemaDir(r.dir)
	if err != nil {
		return err
	}
	mode, ok := r.mode.mode()
	if !ok {
		mode = avro.BackwardTransitive
	}
	files := d.all()
	verdicts, err := judge(ctx, inMode{&schemaDir{}, mode}, files) // as if they were added one by one
	if err != nil {
		return fmt.Errorf("check --dir: %w", err)
	}
	for i := range verdicts {
		if b := verdicts[i].Broken; b != nil {
			b.Rule += fmt.Sprintf(" (in version %d of %s)", verdicts[i].wanted.Version, r.dir)
		}
	}
	if _, err := r.incompatible(verdicts); err != nil {
		return err
	}
	all := r.declared()
	r.did = append(r.did, fmt.Sprintf("%s against %s of %s", counted(int64(len(all)), "schema"), counted(int64(len(files)), "file"), r.dir))
	if verdicts, err = judge(ctx, inMode{d, mode}, all); err != nil {
		return fmt.Errorf("check --dir: %w", err)
	}
	rest, err := r.incompatible(verdicts)
	if err != nil {
		return err
	}
	written := map[string]bool{}
	for _, v := range rest {
		if v.settled() || written[v.Subject+"\x00"+v.Schema.Text] {
			continue
		}
		if r.write {
			file, err := d.add(v.wanted)
			if err != nil {
				return err
			}
			written[v.Subject+"\x00"+v.Schema.Text] = true
			_, _ = fmt.Fprintf(r.cmd.ErrOrStderr(), "wrote %s\n", clean(file))
			continue
		}
		if err := r.say(faultRecord{Finding: foundUncommitted, Subject: v.Subject, Event: v.Event, Schema: v.wanted.Version,
			Rule: fmt.Sprintf("%s does not have the schema, add it as %s, or run with --write", r.dir, d.next(v.Subject))}); err != nil {
			return err
		}
	}
	if client == nil {
		return nil
	}
	if len(r.codecs) == 0 {
		all = files
	}
	return r.registered(ctx, client, all)
}

// pinned compares pinned payloads with what the codecs make of them.
func (r *checkRun) pinned() error {
	codecs := make([]corpus.Codec, len(r.codecs))
	for i, c := range r.codecs {
		codecs[i] = c
	}
	findings, told, err := corpus.Check(os.DirFS(r.corpus), codecs...)
	if err != nil {
		return fmt.Errorf("read --corpus: %w", err)
	}
	r.did = append(r.did, counted(int64(told.Files), "pinned payload")+" of "+r.corpus)
	kinds := map[corpus.Rule]string{corpus.RuleKnown: foundUnknown, corpus.RuleDecodes: foundUndecodable, corpus.RuleWant: foundChanged, corpus.RulePinned: foundUnpinned}
	for _, f := range findings {
		switch {
		case errors.Is(f.Err, codec.ErrUnavailable):
			return fmt.Errorf("check pinned payload %s: %w", f.File, f.Err)
		case kinds[f.Rule] == "", f.Rule == corpus.RulePinned && r.isAvro(f.Name), f.Rule == corpus.RuleKnown && r.ignored(f.Name):
			continue // of Avro the schemas are compared
		}
		fault := faultRecord{Finding: kinds[f.Rule], Event: f.Name, Schema: f.Schema, File: f.File, Field: f.Field, Rule: f.Err.Error()}
		fault.because(f.Err)
		if err := r.say(fault); err != nil {
			return err
		}
	}
	return nil
}

func (r *checkRun) isAvro(name string) bool {
	c := r.covering(name)
	if c == nil {
		return false
	}
	_, ok := c.Formats()[0].(*avro.Format)
	return ok
}

// covering returns the codec that a name belongs to, nil if there is none.
func (a *app) covering(name string) Codec {
	for _, c := range a.codecs {
		if c.Covers(name) {
			return c
		}
	}
	return nil
}

// opened returns the store; opening it has a time limit also where the command has none.
func (r *checkRun) opened(ctx context.Context) (*postgres.DB, func(), error) {
	opening, cancel := context.WithTimeout(ctx, time.Duration(r.timeout))
	defer cancel()
	db, done, err := r.store(opening)
	return db, done, r.explain(opening, err)
}
