package worker

import (
	"strings"
	"unicode/utf8"
)

// Cut makes a text that somebody else has written, such as an error, fit to be kept:
// at most MaxError bytes, ended between two characters; what is no UTF-8, and NUL,
// which not every store takes, become U+FFFD. A store does it with every text of what
// is parked, of audits and of reports; names of parts and keys are taken as they are.
func Cut(s string) string {
	if len(s) > 2*MaxError {
		s = s[:2*MaxError] // so that a huge one costs no more
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= MaxError {
		return s
	}
	n := MaxError
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
