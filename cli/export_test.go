package cli

import "io"

// WithEnv replaces the environment of the process.
func WithEnv(env map[string]string) Option {
	return func(a *app) {
		a.lookupEnv = func(key string) (string, bool) {
			v, ok := env[key]
			return v, ok
		}
	}
}

// WithWidth makes every output a terminal of that width.
func WithWidth(n int) Option {
	return func(a *app) { a.width = func(io.Writer) int { return n } }
}

var (
	Escape        = escape
	Cut           = cut
	Clean         = clean
	ModuleVersion = moduleVersion
)

// EscapeJSON is escapeJSON on strings.
func EscapeJSON(s string) string { return string(escapeJSON([]byte(s))) }

// ProgressText is progressText.
var ProgressText = progressText
