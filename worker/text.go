package worker

import (
	"strings"
	"unicode/utf8"
)

// Cut makes a text that somebody else has written, such as an error, fit to be kept:
// at most MaxError bytes, ended between two characters; what is no UTF-8, and NUL,
// which not every store takes, become U+FFFD. A store does it with every text of what
// is parked, of audits and of reports; names of parts and keys are taken as they are.
func Cut(s string) string { return cut(s, MaxError) }

// cut is Cut to another number of bytes.
func cut(s string, most int) string {
	if len(s) > 2*most {
		s = s[:2*most] // so that a huge one costs no more
	}
	s = strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
