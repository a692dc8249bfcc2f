package transfer

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep payload and metadata may be nested in a line. What is
// deeper is written as payload_text.
const maxDepth = 64

// scanner reads one line of JSON, strictly: UTF-8 without a byte of rest, no
// duplicate keys (which its callers look at), no lone surrogates, whole numbers.
type scanner struct {
	b       []byte
	i       int
	scratch []byte // for texts with escapes; reused by the next line
}

func (s *scanner) reset(line []byte) { s.b, s.i, s.scratch = line, 0, s.scratch[:0] }

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\r') {
		s.i++
	}
}

// take passes over c and reports whether it was there.
func (s *scanner) take(c byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == c {
		s.i++
		return true
	}
	return false
}

func (s *scanner) want(c byte) *Error {
	if s.take(c) {
		return nil
	}
	return s.unexpected("want " + strconv.QuoteRune(rune(c)))
}

func (s *scanner) unexpected(want string) *Error {
	if s.i >= len(s.b) {
		return refuse("not a JSON object: it ends too soon, %s", want)
	}
	return refuse("not a JSON object: byte %d is %s, %s", s.i+1, shown(s.b[s.i:s.i+1]), want)
}

// object calls field with each key of the object that is next. The key is valid
// until the value is read.
func (s *scanner) object(field func(key []byte) *Error) *Error {
	if err := s.want('{'); err != nil {
		return err
	}
	if s.take('}') {
		return nil
	}
	for {
		s.space()
		key, err := s.text()
		if err != nil {
			return err
		}
		if err := s.want(':'); err != nil {
			return err
		}
		s.space()
		if err := field(key); err != nil {
			return err
		}
		if s.take('}') {
			return nil
		}
		if err := s.want(','); err != nil {
			return err
		}
	}
}

// end refuses what follows the object.
func (s *scanner) end() *Error {
	s.space()
	if s.i < len(s.b) {
		return s.unexpected("want the end of the line")
	}
	return nil
}

// text reads a string. The result is a part of the line, or of the scratch.
func (s *scanner) text() ([]byte, *Error) {
	if s.i >= len(s.b) || s.b[s.i] != '"' {
		return nil, s.unexpected("want a string")
	}
	s.i++
	start := s.i
	ascii := true
	for ; s.i < len(s.b); s.i++ {
		switch c := s.b[s.i]; {
		case c == '"':
			text := s.b[start:s.i]
			s.i++
			if !ascii && !utf8.Valid(text) {
				return nil, refuse("not valid UTF-8: %s", shown(text))
			}
			return text, nil
		case c == '\\':
			return s.escaped(start)
		case c < ' ':
			return nil, s.unexpected("want control characters to be escaped")
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, s.unexpected(`want '"'`)
}

// escaped reads on from the first escape of a string that began at start.
func (s *scanner) escaped(start int) ([]byte, *Error) {
	begin := len(s.scratch)
	s.scratch = append(s.scratch, s.b[start:s.i]...)
	for s.i < len(s.b) {
		c := s.b[s.i]
		switch {
		case c == '"':
			s.i++
			text := s.scratch[begin:]
			if !utf8.Valid(text) {
				return nil, refuse("not valid UTF-8: %s", shown(text))
			}
			return text, nil
		case c < ' ':
			return nil, s.unexpected("want control characters to be escaped")
		case c != '\\':
			s.scratch = append(s.scratch, c)
			s.i++
			continue
		}
		if s.i+1 >= len(s.b) {
			break
		}
		s.i += 2
		switch c := s.b[s.i-1]; c {
		case '"', '\\', '/':
			s.scratch = append(s.scratch, c)
		case 'b':
			s.scratch = append(s.scratch, '\b')
		case 'f':
			s.scratch = append(s.scratch, '\f')
		case 'n':
			s.scratch = append(s.scratch, '\n')
		case 'r':
			s.scratch = append(s.scratch, '\r')
		case 't':
			s.scratch = append(s.scratch, '\t')
		case 'u':
			r, err := s.unicode()
			if err != nil {
				return nil, err
			}
			s.scratch = utf8.AppendRune(s.scratch, r)
		default:
			s.i--
			return nil, s.unexpected("want an escape of JSON")
		}
	}
	s.i = len(s.b)
	return nil, s.unexpected(`want '"'`)
}

// unicode reads the digits of an escape, and of a second one if it is half of a
// pair. A half alone is no character, and would not be read back as it was.
func (s *scanner) unicode() (rune, *Error) {
	r, err := s.hex()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if s.i+1 < len(s.b) && s.b[s.i] == '\\' && s.b[s.i+1] == 'u' {
		s.i += 2
		low, err := s.hex()
		if err != nil {
			return 0, err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, nil
		}
	}
	return 0, refuse("not valid UTF-8: a lone surrogate \\u%04x", r)
}

func (s *scanner) hex() (rune, *Error) {
	if s.i+4 > len(s.b) {
		s.i = len(s.b)
		return 0, s.unexpected("want four digits of an escape")
	}
	var r rune
	for range 4 {
		c := s.b[s.i]
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, s.unexpected("want four digits of an escape")
		}
		r = r<<4 | rune(c)
		s.i++
	}
	return r, nil
}

// number reads a whole number.
func (s *scanner) number() (int64, *Error) {
	start := s.i
	if s.i < len(s.b) && s.b[s.i] == '-' {
		s.i++
	}
	for s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9' {
		s.i++
	}
	text := s.b[start:s.i]
	if s.i < len(s.b) && (s.b[s.i] == '.' || s.b[s.i] == 'e' || s.b[s.i] == 'E') || len(text) == 0 || len(text) > 1 && text[0] == '0' {
		s.i = start
		return 0, s.unexpected("want a whole number")
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return 0, refuse("number %s is out of range", shown(text))
	}
	return n, nil
}

func (s *scanner) boolean() (bool, *Error) {
	for _, word := range []string{"true", "false"} {
		if s.i+len(word) <= len(s.b) && string(s.b[s.i:s.i+len(word)]) == word {
			s.i += len(word)
			return word == "true", nil
		}
	}
	return false, s.unexpected("want true or false")
}

// raw passes over any value and returns its bytes. Only with valid it is known
// to be JSON.
func (s *scanner) raw(valid bool) ([]byte, *Error) {
	start, depth := s.i, 0
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case '"':
			s.i++
			for s.i < len(s.b) && s.b[s.i] != '"' {
				if s.b[s.i] == '\\' {
					s.i++
				}
				s.i++
			}
			if s.i >= len(s.b) {
				s.i = len(s.b)
				return nil, s.unexpected(`want '"'`)
			}
		case '{', '[':
			if depth++; depth > maxDepth {
				return nil, refuse("JSON is nested more than %d deep", maxDepth).remedy("write a payload like that as payload_text")
			}
		case '}', ']':
			if depth--; depth < 0 {
				return s.checked(start, valid)
			}
		case ',':
			if depth == 0 {
				return s.checked(start, valid)
			}
		}
		s.i++
		if depth == 0 && isEnd(s.b[s.i-1]) {
			return s.checked(start, valid)
		}
	}
	return s.checked(start, valid)
}

// isEnd reports a byte that ends a value of JSON by itself.
func isEnd(c byte) bool { return c == '"' || c == '}' || c == ']' }

func (s *scanner) checked(start int, valid bool) ([]byte, *Error) {
	value := s.b[start:s.i]
	for len(value) > 0 && (value[len(value)-1] == ' ' || value[len(value)-1] == '\t' || value[len(value)-1] == '\r') {
		value = value[:len(value)-1] // behind a number or a word
	}
	if len(value) == 0 {
		return nil, s.unexpected("want a value")
	}
	if !valid {
		return value, nil
	}
	if !utf8.Valid(value) {
		return nil, refuse("not valid UTF-8: %s", shown(value))
	}
	if !json.Valid(value) {
		return nil, refuse("not JSON: %s", shown(value))
	}
	return value, nil
}
