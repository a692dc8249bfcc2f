package intake_test

import (
	"encoding/csv"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-go/annals/examples/order/intake"
)

// writeRejected writes all rejections to path at once.
func writeRejected(path string, rejections []intake.Rejection) error {
	f, err := intake.CreateRejected(path)
	if err != nil {
		return err
	}
	defer f.Discard()
	for _, r := range rejections {
		if err := f.Write(r); err != nil {
			return err
		}
	}
	return f.Close()
}

func TestWriteRejected(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejected.csv")
	if err := os.WriteFile(path, []byte("of an earlier run"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := writeRejected(path, []intake.Rejection{
		{Line: 7, Invoice: "=HYPERLINK(1)", Reason: `Quantity "six, or so" is no integer`},
		{Line: 8, Invoice: "C\x00\n\xff\\\"\u00e9", Reason: "has 7 columns, want 8"},
		{Line: 9, Reason: "InvoiceNo is empty"},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "line,invoice,reason\n" +
		`7,=HYPERLINK(1),"Quantity ""six, or so"" is no integer"` + "\n" +
		`8,"C\x00\n\xff\\""` + "\u00e9\",\"has 7 columns, want 8\"\n" +
		"9,,InvoiceNo is empty\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("file (-want +got):\n%s", diff)
	}
	if _, err := csv.NewReader(strings.NewReader(string(got))).ReadAll(); err != nil {
		t.Errorf("file is no CSV: %v", err)
	}
	wantEntries(t, filepath.Dir(path), "rejected.csv")
}

func TestRejectedFileAppearsAtClose(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejected.csv")
	f, err := intake.CreateRejected(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Write(intake.Rejection{Line: 2}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("file before Close: got %v, want none", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f.Discard()
	wantEntries(t, filepath.Dir(path), "rejected.csv")
	wantError(t, f.Close(), path, "close FILE: file already closed")
	wantError(t, f.Write(intake.Rejection{}), path, "write FILE: file already closed")
}

func TestRejectedFileDiscardLeavesNoTrace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "rejected.csv")
	f, err := intake.CreateRejected(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Discard()
	f.Discard()
	wantEntries(t, filepath.Dir(path))
}

func TestRejectedFileErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := intake.CreateRejected(dir)
	wantError(t, err, dir, "create FILE: exists and is not a regular file")
	nowhere := filepath.Join(dir, "none", "rejected.csv")
	wantError(t, writeRejected(nowhere, nil), nowhere, "create FILE: no such file or directory")

	path := filepath.Join(dir, "rejected.csv")
	f, err := intake.CreateRejected(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	wantError(t, f.Close(), path, "rename to FILE: file exists")
	wantEntries(t, dir, "rejected.csv")
}

func wantEntries(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files in the directory (-want +got):\n%s", diff)
	}
}
