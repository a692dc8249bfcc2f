package archtest

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/annals-go/annals"

// allowed lists what each package may import directly beyond the standard
// library: packages of this module by their path in it, others in full. A new
// package starts with an empty line; adding to a line is a design decision.
var allowed = map[string]string{
	// leaves
	"event":  "github.com/google/uuid",
	"upcast": "",

	// ports
	"codec":        "event upcast",
	"codec/corpus": "event",
	"eventstore":   "event",
	"worker":       "event eventstore internal/crash internal/sabotage",
	"aggregate":    "codec event eventstore internal/sabotage",
	"projection":   "codec event worker internal/crash internal/sabotage",
	"bus":          "codec event eventstore worker internal/crash internal/sabotage github.com/google/uuid",

	// the log as a file: read with distrust before any store sees it, by programs
	// that link no driver
	"transfer": "event eventstore github.com/google/uuid",

	// test kits
	"codec/codectest":           "codec codec/corpus event",
	"eventstore/eventstoretest": "event eventstore",
	"worker/workertest":         "event eventstore worker",
	"aggregate/aggregatetest":   "aggregate",
	"projection/projectiontest": "codec event projection",
	"bus/bustest":               "bus event worker",
	"postgres/postgrestest":     "internal/devenv postgres github.com/jackc/pgx/v5 github.com/jackc/pgx/v5/pgconn github.com/jackc/pgx/v5/pgxpool",

	// adapters
	"memory":    "bus event eventstore worker",
	"postgres":  "bus event eventstore transfer worker internal/crash internal/sabotage github.com/jackc/pgx/v5 github.com/jackc/pgx/v5/pgconn github.com/jackc/pgx/v5/pgtype github.com/jackc/pgx/v5/pgxpool",
	"bus/kafka": "bus event worker internal/crash internal/sabotage github.com/google/uuid github.com/twmb/franz-go/pkg/kadm github.com/twmb/franz-go/pkg/kerr github.com/twmb/franz-go/pkg/kgo github.com/twmb/franz-go/pkg/kmsg github.com/twmb/franz-go/pkg/kversion github.com/twmb/franz-go/pkg/sasl",

	// others that adapt one thing each
	"worker/gobreaker":                 "worker github.com/sony/gobreaker/v2",
	"codec/avro":                       "codec codec/avro/internal/node event github.com/twmb/avro github.com/twmb/franz-go/pkg/sr",
	"codec/avro/internal/node":         "github.com/twmb/avro",
	"codec/avro/avrogen":               "codec/avro codec/avro/internal/node github.com/twmb/avro",
	"codec/avro/avrogen/internal/shop": "",

	// environments for examples and tests
	"internal/devenv":         "internal/devenv/flock github.com/jackc/pgx/v5",
	"internal/devenv/flock":   "",
	"internal/devenv/broker":  "github.com/twmb/franz-go/pkg/kfake",
	"internal/devenv/apache":  "internal/devenv/flock github.com/twmb/franz-go/pkg/kgo github.com/twmb/franz-go/pkg/kmsg",
	"internal/devenv/schemas": "internal/registry github.com/jackc/pgx/v5/pgxpool",
	"internal/registry":       "codec/avro github.com/jackc/pgx/v5 github.com/jackc/pgx/v5/pgxpool",
	"internal/archtest":       "",
	"internal/testcert":       "",
	"internal/guidetest":      "github.com/google/go-cmp/cmp",
	"internal/foreign":        "",

	// the fault tests: switches and points in the code, and what judges it
	"internal/crash":     "",
	"internal/sabotage":  "",
	"internal/oracle":    "event eventstore github.com/anishathalye/porcupine",
	"internal/harness":   "internal/oracle",
	"internal/scenario":  "",
	"internal/wireproxy": "github.com/jackc/pgx/v5/pgproto3",

	// the benchmark: the store and the bus beside statements and loops by hand
	"internal/bench": "bus bus/kafka codec event eventstore internal/devenv internal/devenv/apache internal/devenv/broker postgres projection transfer worker github.com/twmb/franz-go/pkg/kadm github.com/twmb/franz-go/pkg/kgo github.com/twmb/franz-go/pkg/kmsg github.com/jackc/pgx/v5 github.com/jackc/pgx/v5/pgconn github.com/jackc/pgx/v5/pgxpool golang.org/x/sync/errgroup",
}

// mayImportAnything are the programs and what they are made of.
var mayImportAnything = []string{"cli", "cmd/", "examples/"}

// kits may be imported by tests, and by other kits that build on them, only.
var kits = []string{"codec/codectest", "eventstore/eventstoretest", "worker/workertest", "aggregate/aggregatetest", "projection/projectiontest", "bus/bustest", "postgres/postgrestest", "internal/oracle", "internal/harness", "internal/wireproxy", "internal/testcert", "internal/guidetest"}

func goList(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", append([]string{"list"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return string(out)
}

// imports returns what each package of the module imports.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(goList(t, "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"/...")) {
		words := strings.Fields(line)
		pkg := strings.TrimPrefix(words[0], module+"/")
		for _, w := range words[1:] {
			all[pkg] = append(all[pkg], strings.TrimPrefix(w, module+"/"))
		}
		all[pkg] = append(all[pkg], "")
	}
	return all
}

func ours(pkg string) bool {
	_, ok := allowed[pkg]
	return ok || free(pkg)
}

func free(pkg string) bool {
	return slices.ContainsFunc(mayImportAnything, func(p string) bool { return pkg == strings.TrimSuffix(p, "/") || strings.HasPrefix(pkg, p) })
}

// TestImports: imports point one way.
func TestImports(t *testing.T) {
	t.Parallel()
	for pkg, list := range imports(t) {
		may, known := allowed[pkg]
		if !known && !free(pkg) {
			t.Errorf("%s: not in the table of internal/archtest: decide what it may import", pkg)
			continue
		}
		for _, imp := range list {
			first, _, _ := strings.Cut(imp, "/")
			standard := !strings.Contains(first, ".") && !ours(imp)
			if imp == "" || standard || slices.Contains(strings.Fields(may), imp) {
				continue
			}
			if free(pkg) && !slices.Contains(kits, imp) {
				continue
			}
			t.Errorf("%s imports %s, which its layer must not: see the table of internal/archtest", pkg, imp)
		}
	}
}

// linked returns the modules that a program which imports the packages links,
// this one and the standard library excepted.
func linked(t *testing.T, pkgs ...string) []string {
	t.Helper()
	args := []string{"-deps", "-f", `{{with .Module}}{{.Path}}{{end}}`}
	for _, p := range pkgs {
		args = append(args, module+"/"+p)
	}
	modules := strings.Fields(goList(t, args...))
	slices.Sort(modules)
	return slices.DeleteFunc(slices.Compact(modules), func(m string) bool { return m == module })
}

// TestNoArchivedAvro: hamba/avro is in internal/avrointerop, a module of its own, and nowhere
// that a user's build, module graph or scanner would find it.
func TestNoArchivedAvro(t *testing.T) {
	t.Parallel()
	for what, list := range map[string]string{
		"the module graph":     goList(t, "-m", "-f", "{{.Path}}", "all"),
		"what the tests link":  goList(t, "-deps", "-test", "-f", "{{.ImportPath}}", module+"/..."),
		"what is in this tree": goList(t, "-f", "{{.ImportPath}}", module+"/..."),
	} {
		for line := range strings.Lines(list) {
			if strings.HasPrefix(line, "github.com/hamba/") || strings.HasPrefix(line, module+"/internal/avrointerop") {
				t.Errorf("%s has %s", what, strings.TrimSpace(line))
			}
		}
	}
}

func TestCoreLinksOneModule(t *testing.T) {
	t.Parallel()
	got := linked(t, "aggregate", "memory", "projection", "bus", "aggregate/aggregatetest", "codec/codectest")
	if want := []string{"github.com/google/uuid"}; !slices.Equal(got, want) {
		t.Errorf("aggregate and memory link %v, want %v", got, want)
	}
}

func TestPostgresLinksNoKafka(t *testing.T) {
	t.Parallel()
	for _, pkg := range []string{"postgres", "postgres/postgrestest"} {
		for _, m := range linked(t, pkg) {
			if strings.HasPrefix(m, "github.com/twmb/") {
				t.Errorf("%s links %s", pkg, m)
			}
		}
	}
}

func TestKafkaLinksNoPostgres(t *testing.T) {
	t.Parallel()
	for _, m := range linked(t, "bus/kafka") {
		if strings.HasPrefix(m, "github.com/jackc/") || strings.HasSuffix(m, "/kfake") {
			t.Errorf("bus/kafka links %s", m)
		}
	}
}
