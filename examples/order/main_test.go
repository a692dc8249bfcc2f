package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/annals-go/annals/postgres/postgrestest"
)

// programEnv makes the test binary the program that it tests, for tests of exit
// codes, signals and kills.
const programEnv = "ANNALS_ORDER_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

const shipped = "testdata/orders.csv.gz"

// shop is a directory and a database for the imports of one test.
type shop struct {
	t        *testing.T
	dir, url string
	report   string // the path
	rejected string
}

// openShop makes the commands of this process use a database of the test and an
// embedded broker for each run. The test cannot be parallel.
func openShop(t *testing.T) *shop {
	t.Helper()
	s := newShop(t, postgrestest.URL(t))
	t.Setenv("DATABASE_URL", s.url)
	t.Setenv("KAFKA_BROKERS", "")
	return s
}

func newShop(t *testing.T, url string) *shop {
	t.Helper()
	dir := t.TempDir()
	return &shop{t: t, dir: dir, url: url, report: filepath.Join(dir, "report.csv"), rejected: filepath.Join(dir, "rejected.csv")}
}

// outcome is what one run of the command said.
type outcome struct {
	err            error
	stdout, stderr string
}

func run(ctx context.Context, args ...string) outcome {
	var stdout, stderr bytes.Buffer
	cmd := command()
	cmd.SetArgs(args)
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	err := cmd.ExecuteContext(ctx)
	return outcome{err, stdout.String(), stderr.String()}
}

func (s *shop) args(input string, more ...string) []string {
	return append([]string{"import", "--input", input, "--report", s.report, "--rejected", s.rejected}, more...)
}

// mustImport fails the test if the run does.
func (s *shop) mustImport(input string, more ...string) outcome {
	s.t.Helper()
	out := run(s.t.Context(), s.args(input, more...)...)
	if out.err != nil {
		s.t.Fatalf("import %s: %v\n%s%s", input, out.err, out.stdout, out.stderr)
	}
	return out
}

// count is of events.
type count struct{ Appended, Relayed, Projected int }

var countLine = regexp.MustCompile(`(?m)^events +(\d+) appended, (\d+) relayed, (\d+) projected$`)

func (o outcome) events(t *testing.T) count {
	t.Helper()
	m := countLine.FindStringSubmatch(o.stdout)
	if m == nil {
		t.Fatalf("summary without a count of events:\n%s", o.stdout)
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1])
	}
	return count{n[0], n[1], n[2]}
}

// lines returns a file below its header.
func lines(t *testing.T, path string) []string {
	t.Helper()
	all := strings.Split(strings.TrimSuffix(read(t, path), "\n"), "\n")
	return all[1:]
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// orderFile writes an order file of the given rows, with its header.
func (s *shop) orderFile(name string, rows ...string) string {
	s.t.Helper()
	const header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
	return s.file(name, strings.Join(append([]string{header}, rows...), "\n")+"\n")
}

func (s *shop) file(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// exec runs SQL in the database of the test.
func (s *shop) exec(sql string) {
	s.t.Helper()
	s.connect(func(conn *pgx.Conn) error {
		_, err := conn.Exec(s.t.Context(), sql)
		return err
	})
}

// number returns the one integer that a statement selects.
func (s *shop) number(sql string) (n int) {
	s.t.Helper()
	s.connect(func(conn *pgx.Conn) error { return conn.QueryRow(s.t.Context(), sql).Scan(&n) })
	return n
}

func (s *shop) connect(fn func(*pgx.Conn) error) {
	s.t.Helper()
	conn, err := pgx.Connect(s.t.Context(), s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := fn(conn); err != nil {
		s.t.Fatal(err)
	}
}

func row(invoice string, quantity int, price, country string) string {
	return fmt.Sprintf("%s,1,Tea cup,%d,2010-12-01 08:26:00,%s,17850.0,%s", invoice, quantity, price, country)
}
