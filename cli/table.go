package cli

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// minLastColumn is what the last column keeps on a narrow terminal.
const minLastColumn = 20

// table lays rows out in columns. Rows wait for flush, which aligns them with
// each other; columns only ever grow, so that later pages line up with earlier
// ones.
type table struct {
	w      io.Writer
	width  int // 0: nothing is cut
	widths []int
	rows   [][]string
}

func (t *table) add(cells ...string) {
	row := make([]string, len(cells)) // the header is shared by all tables
	for i, cell := range cells {
		row[i] = escape(cell)
	}
	t.rows = append(t.rows, row)
}

func (t *table) flush() error {
	for _, row := range t.rows {
		for len(t.widths) < len(row) {
			t.widths = append(t.widths, 0)
		}
		for i, cell := range row[:len(row)-1] {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for _, row := range t.rows {
		used := 0
		for i, cell := range row[:len(row)-1] {
			b.WriteString(cell)
			b.WriteString(strings.Repeat(" ", t.widths[i]-utf8.RuneCountInString(cell)+2))
			used += t.widths[i] + 2
		}
		last := row[len(row)-1]
		if t.width > 0 {
			last = cut(last, max(t.width-used, minLastColumn))
		}
		b.WriteString(last)
		b.WriteByte('\n')
	}
	t.rows = nil
	_, err := io.WriteString(t.w, b.String())
	return err
}

// terminalWidth is 0 for everything that is no terminal.
func terminalWidth(w io.Writer) int {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return width
}
