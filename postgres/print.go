package postgres

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
)

// Format is what reads the files that Scripts makes.
type Format string

// The formats. Each file is one step, to be applied in one transaction, which is
// what the tools do unless they are told otherwise.
const (
	FormatPlain  Format = "plain"  // psql: 001_events.sql, with BEGIN and COMMIT
	FormatGoose  Format = "goose"  // 001_events.sql, with annotations
	FormatAtlas  Format = "atlas"  // 001_events.sql, and atlas.sum
	FormatFlyway Format = "flyway" // V1__events.sql
)

// Formats are all of them.
var Formats = []Format{FormatPlain, FormatGoose, FormatAtlas, FormatFlyway}

// Script is a file of a migration tool.
type Script struct {
	Name string // without a directory
	Text string
}

// Scripts returns the steps as the files of another tool, for those who apply
// all changes of a database with that. What they make is what Migrate makes, with
// the record of the steps that Check and Migrate look at; so either can go on
// where the other has stopped, but goose, atlas and flyway have records of their
// own, so stay with one. The roles get their rights to what is new from
// GrantRoles.
func Scripts(format Format, opts ...Option) ([]Script, error) {
	c, err := configure(opts)
	if err != nil {
		return nil, err
	}
	steps, err := c.migrations()
	if err != nil {
		return nil, err
	}
	var out []Script
	for _, m := range steps {
		text := c.prelude(m) + "-- step " + m.Name + "\n\n" + m.SQL
		name := m.Name + ".sql"
		switch format {
		case FormatPlain:
			text = "BEGIN;\n" + text + "\nCOMMIT;\n"
		case FormatGoose:
			text = goose(text)
		case FormatAtlas:
		case FormatFlyway:
			_, what, _ := strings.Cut(name, "_")
			name = fmt.Sprintf("V%d__%s", m.Version, what)
		default:
			return nil, fmt.Errorf("print migrations: format %q: want one of %q", format, Formats)
		}
		out = append(out, Script{name, text})
	}
	if format == FormatAtlas {
		out = append(out, Script{"atlas.sum", atlasSum(out)})
	}
	return out, nil
}

// prelude takes a turn, as Migrate does, and records the step: a second run
// fails, and changes nothing.
func (c config) prelude(m Migration) string {
	return c.sql(strings.TrimPrefix(turnSQL, "\n") + ";\n" + bookkeeping + ";\n" +
		fmt.Sprintf("INSERT INTO {{schema}}.migrations (version, name) VALUES (%d, '%s');\n\n", m.Version, m.Name))
}

// goose marks each statement, so that no semicolon within one ends it.
func goose(text string) string {
	var b strings.Builder
	b.WriteString("-- +goose Up\n")
	for _, s := range statements(text) {
		b.WriteString("-- +goose StatementBegin\n" + s + "\n-- +goose StatementEnd\n\n")
	}
	return b.String()
}

// statements splits a text at the semicolons that end its statements, each with
// the comments before it. It knows what the migrations use: comments to the end
// of a line, quotes, and $$.
func statements(text string) []string {
	var out []string
	start, i := 0, 0
	skip := func(from, closing string) bool {
		if !strings.HasPrefix(text[i:], from) {
			return false
		}
		i += len(from)
		if end := strings.Index(text[i:], closing); end >= 0 {
			i += end + len(closing)
		} else {
			i = len(text)
		}
		return true
	}
	for i < len(text) {
		switch {
		case skip("--", "\n"), skip("$$", "$$"), skip("'", "'"), skip(`"`, `"`):
		case text[i] == ';':
			i++
			out = append(out, strings.TrimSpace(text[start:i]))
			start = i
		default:
			i++
		}
	}
	return out
}

// atlasSum is the file that atlas checks a directory against: for each file the
// hash of it and all before it, then the hash of these lines above them.
func atlasSum(files []Script) string {
	all, lines := sha256.New(), sha256.New()
	var b strings.Builder
	for _, f := range files {
		_, _ = all.Write([]byte(f.Name + f.Text))
		sum := base64.StdEncoding.EncodeToString(all.Sum(nil))
		_, _ = lines.Write([]byte(f.Name + sum))
		fmt.Fprintf(&b, "%s h1:%s\n", f.Name, sum)
	}
	return fmt.Sprintf("h1:%s\n%s", base64.StdEncoding.EncodeToString(lines.Sum(nil)), b.String())
}
