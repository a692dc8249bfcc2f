package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/annals-go/annals/examples/order/sales"
)

func (j *importJob) writeReport(ctx context.Context, p *pipeline) error {
	rows, err := sales.Report(ctx, p.pool)
	if err != nil {
		return err
	}
	return writeAtomically(j.report, func(w io.Writer) error { return sales.WriteCSV(w, rows) })
}

// writeAtomically gives the file its name when it is complete.
func writeAtomically(path string, write func(io.Writer) error) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() { _ = os.Remove(temp.Name()) }()
	defer func() { _ = temp.Close() }()
	if err := write(temp); err != nil {
		return err
	}
	if err := temp.Chmod(0o644); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := temp.Close(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}
