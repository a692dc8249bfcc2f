package postgres

import (
	"strings"
	"unicode/utf8"

	"github.com/annals-go/annals/worker"
)

// cut makes a text that somebody else has written fit to be stored: at most
// worker.MaxError bytes, ended between two characters; what is no UTF-8, and NUL,
// which Postgres does not store, become U+FFFD.
func cut(s string) string {
	if len(s) > 2*worker.MaxError {
		s = s[:2*worker.MaxError] // so that a huge one costs no more
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= worker.MaxError {
		return s
	}
	n := worker.MaxError
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
