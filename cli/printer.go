package cli

import (
	"bytes"
	"encoding/json"
	"io"

	"github.com/spf13/cobra"
)

// pageRows is how many rows a command reads, and holds, at once. An event has
// at most about 1 MB.
const pageRows = 100

// record is a result: an object of JSON, or a row of a table.
type record interface {
	// cells returns the texts of the row as data has them; the table escapes them.
	// Columns in the middle are cut to their share of a terminal of that width; 0: not.
	cells(width int) []string
}

// printer writes records in the format of --output.
type printer struct {
	w     io.Writer
	table *table // nil: JSON
	lines bytes.Buffer
}

// printer returns one that writes to the output of cmd. The header is that of
// the table.
func (a *app) printer(cmd *cobra.Command, header ...string) *printer {
	p := &printer{w: cmd.OutOrStdout()}
	if a.output.value != "json" {
		p.table = &table{w: p.w, width: a.width(p.w)}
		p.table.add(header...)
	}
	return p
}

// print buffers a record; flush writes.
func (p *printer) print(r record) error {
	if p.table != nil {
		p.table.add(r.cells(p.table.width)...)
		return nil
	}
	return p.object(r)
}

func (p *printer) object(v any) error {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	p.lines.Write(escapeJSON(bytes.TrimSuffix(line.Bytes(), []byte("\n"))))
	p.lines.WriteByte('\n')
	return nil
}

func (p *printer) flush() error {
	if p.table != nil {
		return p.table.flush()
	}
	_, err := p.lines.WriteTo(p.w)
	return err
}
