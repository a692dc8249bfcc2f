package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type flags struct {
	plan
	filter *regexp.Regexp
	json   string
	commit string
	list   bool
}

func parse(args []string, stderr io.Writer) (flags, error) {
	var f flags
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.SetOutput(stderr)
	filter := set.String("filter", "", "run the workloads whose name matches this `regexp`")
	set.IntVar(&f.rounds, "rounds", 5, "how often each side is run")
	set.DurationVar(&f.time, "time", 2*time.Second, "how long each side is run in a round")
	set.StringVar(&f.json, "json", "", "also write the result to this `file`, as JSON")
	set.StringVar(&f.commit, "commit", "", "the commit that is measured, for the output")
	set.BoolVar(&f.list, "list", false, "list the workloads and their bars")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if set.NArg() > 0 {
		return f, fmt.Errorf("unknown argument %q", set.Arg(0))
	}
	if f.rounds < 1 || f.time <= 0 {
		return f, errors.New("option -rounds or -time: want more than 0")
	}
	var err error
	if f.filter, err = regexp.Compile(*filter); err != nil {
		return f, fmt.Errorf("option -filter: %w", err)
	}
	return f, nil
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	f, err := parse(args, stderr)
	if err != nil {
		return err
	}
	var chosen, apart []workload
	for _, w := range workloads() {
		switch {
		case !f.filter.MatchString(w.name):
		case w.apart && !f.list && !strings.Contains(f.filter.String(), "apache"):
			apart = append(apart, w)
		default:
			chosen = append(chosen, w)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("option -filter: no workload matches %q; -list names them", f.filter)
	}
	if f.list {
		for _, w := range chosen {
			fmt.Fprintf(stdout, "%-36s %-10s %s\n", w.name, w.unit, w.bar.text(w.unit))
		}
		return nil
	}

	server, err := startServer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	r := report{Rounds: f.rounds, Time: f.time}
	if r.Machine, err = describe(ctx, server.URL, server.Dir, f.commit); err != nil {
		return err
	}
	r.header(stdout)
	for _, w := range apart {
		fmt.Fprintf(stdout, "left out: %s, which needs mvn and Java 17: -filter ^%s runs it\n", w.name, apachePrefix)
	}
	r.measure(ctx, newLab(server.URL), chosen, f.plan, stderr)
	return r.finish(f.json, stdout)
}

// measure goes on after a workload that failed: the others still say something.
func (r *report) measure(ctx context.Context, l *lab, chosen []workload, p plan, progress io.Writer) {
	for i, w := range chosen {
		if ctx.Err() != nil {
			r.Failed = append(r.Failed, "interrupted before "+w.name)
			return
		}
		results, err := l.measure(ctx, w, p)
		if err != nil {
			r.Failed = append(r.Failed, err.Error())
			fmt.Fprintf(progress, "%d/%d %v\n", i+1, len(chosen), err)
			continue
		}
		r.Results = append(r.Results, results...)
		fmt.Fprintf(progress, "%d/%d %s: %.2f %s\n", i+1, len(chosen), w.name, results[0].Ratio.Median, results[0].Verdict)
	}
}

func (r *report) finish(file string, stdout io.Writer) error {
	if err := r.table(stdout); err != nil {
		return err
	}
	if file != "" {
		if err := r.writeFile(file); err != nil {
			return err
		}
	}
	if len(r.Failed) > 0 {
		return fmt.Errorf("%d of the workloads failed", len(r.Failed))
	}
	return nil
}
