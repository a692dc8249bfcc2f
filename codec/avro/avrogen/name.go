package avrogen

import (
	"go/token"
	"strings"
	"unicode"
)

// initialisms are words that Go writes in capitals.
var initialisms = map[string]bool{
	"ACL": true, "API": true, "ASCII": true, "CPU": true, "CSS": true, "DNS": true, "EOF": true, "GUID": true,
	"HTML": true, "HTTP": true, "HTTPS": true, "IBAN": true, "ID": true, "IP": true, "JSON": true, "QPS": true,
	"RAM": true, "RPC": true, "SKU": true, "SLA": true, "SMTP": true, "SQL": true, "SSH": true, "TCP": true,
	"TLS": true, "TTL": true, "UDP": true, "UI": true, "UID": true, "URI": true, "URL": true, "UTF8": true,
	"UUID": true, "VAT": true, "VM": true, "XML": true,
}

// goName is the name of a field, symbol or type in Go, exported.
func goName(name string) string {
	var b strings.Builder
	if strings.Contains(name, "_") && strings.ToUpper(name) == name {
		name = strings.ToLower(name) // words in capitals, and no initialisms
	}
	for _, w := range words(name) {
		if up := strings.ToUpper(w); initialisms[up] {
			w = up
		}
		b.WriteString(strings.ToUpper(w[:1]) + w[1:]) // names are ASCII
	}
	if out := b.String(); token.IsIdentifier(out) {
		return out
	}
	return "X" + b.String()
}

// typeName leaves a name as it is that Go can export, because a schema that is derived
// from the type has it, too.
func typeName(name string) string {
	if token.IsIdentifier(name) && token.IsExported(name) {
		return name
	}
	return goName(name)
}

// words splits at underscores, and where a capital begins a word.
func words(name string) []string {
	var out []string
	for part := range strings.FieldsFuncSeq(name, func(r rune) bool { return r == '_' }) {
		runes, start := []rune(part), 0
		for i := 1; i < len(runes); i++ {
			after := i+1 < len(runes) && unicode.IsLower(runes[i+1])
			if unicode.IsUpper(runes[i]) && (!unicode.IsUpper(runes[i-1]) || after) {
				out = append(out, string(runes[start:i]))
				start = i
			}
		}
		out = append(out, string(runes[start:]))
	}
	return out
}

// simpleName is a name without its namespace.
func simpleName(full string) string { return full[strings.LastIndexByte(full, '.')+1:] }
