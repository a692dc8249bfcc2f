// Package registry is a schema registry for development and tests. It has the REST interface
// of Confluent, as far as clients for Avro use it, and checks compatibility for real.
//
// # Usage
//
//	err := registry.New(registry.Memory()).Serve(ctx, listener)
//
// annals schema serve does that, and so does package internal/devenv/schemas for tests.
//
// # Promises
//
// A schema has one id, whichever subject it is under, and however it is written: two texts of
// the same avro.Normal form, with the same references, are one schema, whose text is that of
// the first. An id is never given to another schema. Ids and versions count from 1 without
// gaps, whoever registers at the same time. A schema that the subject's compatibility does not
// allow is refused with 409, by the rules of avro.Check. Nothing of a request that is refused
// is kept. Input is bounded: 1 MiB a request, 256 KiB a schema.
//
// # Differences
//
// The default compatibility is BACKWARD_TRANSITIVE, where Confluent has BACKWARD: events are
// read for ever. There are no other schema types than AVRO (422), no contexts, no metadata or
// rules (422), no aliases of subjects, and no leader. With normalize=true the text that is
// stored is avro.Normal; what is the same schema does not depend on it. A subject that is
// deleted loses its settings.
//
// # No promises
//
// It is made to be started beside a program under development. It has no users beyond
// [WithBasicAuth], no TLS and no replication: production uses a registry of its own.
//
// # Testing
//
// The same tests run against Memory and Postgres.
package registry

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net/http"

	"github.com/annals-go/annals/codec/avro"
)

const (
	contentType = "application/vnd.schemaregistry.v1+json"

	// defaultCompatibility is that of a registry whose own is not set.
	defaultCompatibility = avro.BackwardTransitive

	maxBody    = 1 << 20
	maxSubject = 512 // bytes of a name
)

// Registry is an http.Handler. Safe for concurrent use.
type Registry struct {
	store   Store
	handler http.Handler
	logger  *slog.Logger
}

// Option changes what New returns.
type Option func(*Registry)

// WithBasicAuth has the registry answer 401 to requests without this user and password.
// Default: everybody may do everything.
func WithBasicAuth(user, password string) Option {
	return func(r *Registry) {
		next, want := r.handler, sha256.Sum256([]byte(user+"\x00"+password))
		r.handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			user, password, ok := req.BasicAuth()
			got := sha256.Sum256([]byte(user + "\x00" + password))
			if subtle.ConstantTimeCompare(got[:], want[:]) != 1 || !ok {
				w.Header().Set("WWW-Authenticate", `Basic realm="schema registry"`)
				answer(w, nil, refuse(http.StatusUnauthorized, 40101, "user or password is wrong, or missing"))
				return
			}
			next.ServeHTTP(w, req)
		})
	}
}

// WithLogger sets where errors of the store are logged. Default slog.Default().
func WithLogger(l *slog.Logger) Option { return func(r *Registry) { r.logger = l } }

// New returns a registry over a store.
func New(store Store, opts ...Option) *Registry {
	r := &Registry{store: store, logger: slog.Default()}
	r.handler = r.routes()
	for _, opt := range opts {
		opt(r)
	}
	return r
}

// ServeHTTP implements http.Handler.
func (r *Registry) ServeHTTP(w http.ResponseWriter, req *http.Request) { r.handler.ServeHTTP(w, req) }

// routes lists what clients may call. Names in braces are segments of the path, unescaped.
func (r *Registry) routes() http.Handler {
	mux := http.NewServeMux()
	for pattern, view := range map[string]func(*request) (any, error){
		"GET /{$}":           func(*request) (any, error) { return struct{}{}, nil },
		"GET /schemas/types": func(*request) (any, error) { return []string{"AVRO"}, nil },
		"GET /contexts":      func(*request) (any, error) { return []string{"."}, nil },

		"GET /schemas":                   schemas,
		"GET /schemas/ids/{id}":          schemaByID,
		"GET /schemas/ids/{id}/schema":   textByID,
		"GET /schemas/ids/{id}/subjects": subjectsByID,
		"GET /schemas/ids/{id}/versions": versionsByID,

		"GET /subjects":                                           subjects,
		"POST /subjects/{subject}":                                lookup,
		"GET /subjects/{subject}/versions":                        versions,
		"GET /subjects/{subject}/versions/{version}":              version,
		"GET /subjects/{subject}/versions/{version}/schema":       versionText,
		"GET /subjects/{subject}/versions/{version}/referencedby": referencedBy,

		"POST /compatibility/subjects/{subject}/versions":           compatibleAll,
		"POST /compatibility/subjects/{subject}/versions/{version}": compatible,

		"GET /config":           getConfig,
		"GET /config/{subject}": getConfig,
		"GET /mode":             getMode,
		"GET /mode/{subject}":   getMode,
	} {
		mux.Handle(pattern, r.handle(r.store.View, view))
	}
	for pattern, update := range map[string]func(*request) (any, error){
		"POST /subjects/{subject}/versions":             register,
		"DELETE /subjects/{subject}":                    deleteSubject,
		"DELETE /subjects/{subject}/versions/{version}": deleteVersion,

		"PUT /config":              putConfig,
		"PUT /config/{subject}":    putConfig,
		"DELETE /config":           deleteConfig,
		"DELETE /config/{subject}": deleteConfig,
		"PUT /mode":                putMode,
		"PUT /mode/{subject}":      putMode,
		"DELETE /mode":             deleteMode,
		"DELETE /mode/{subject}":   deleteMode,
	} {
		mux.Handle(pattern, r.handle(r.store.Update, update))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, nil, refuse(http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found"))
	})
	return mux
}

// refusal is an error that the client is told, with the codes of Confluent.
type refusal struct {
	status int
	code   int
	text   string
}

func (e *refusal) Error() string { return e.text }

func refuse(status, code int, text string) error {
	return &refusal{status: status, code: code, text: text}
}

// refusalOf returns the refusal that err is, and that of a broken store for any other.
func refusalOf(err error) *refusal {
	var r *refusal
	if errors.As(err, &r) {
		return r
	}
	return &refusal{status: http.StatusInternalServerError, code: 50001, text: "Error in the backend data store"}
}
