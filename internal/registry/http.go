package registry

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// request is one call inside a transaction of the store.
type request struct {
	*http.Request
	tx   Tx
	body []byte
}

// rawText is an answer that is sent as it is.
type rawText string

// handle reads the body before the transaction begins, and answers after it has ended.
func (r *Registry) handle(transact func(context.Context, func(Tx) error) error, fn func(*request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
		if err != nil {
			var tooLarge *http.MaxBytesError
			if errors.As(err, &tooLarge) {
				answer(w, nil, refuse(http.StatusRequestEntityTooLarge, http.StatusRequestEntityTooLarge, "request is longer than "+strconv.Itoa(maxBody)+" bytes"))
				return
			}
			answer(w, nil, refuse(http.StatusBadRequest, http.StatusBadRequest, "request cannot be read"))
			return
		}
		var out any
		err = transact(req.Context(), func(tx Tx) error {
			var err error
			out, err = fn(&request{Request: req, tx: tx, body: body})
			return err
		})
		if err != nil && refusalOf(err).code == 50001 && req.Context().Err() == nil {
			r.logger.Error("schema registry cannot use its store", "error", err)
		}
		answer(w, out, err)
	})
}

func answer(w http.ResponseWriter, out any, err error) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	status := http.StatusOK
	if err != nil {
		r := refusalOf(err)
		status, out = r.status, map[string]any{"error_code": r.code, "message": r.text}
	}
	var data []byte
	if text, ok := out.(rawText); ok {
		data = []byte(text)
	} else if data, err = json.Marshal(out); err != nil {
		status, data = http.StatusInternalServerError, []byte(`{"error_code":50001,"message":"answer cannot be written"}`)
	}
	w.WriteHeader(status)
	_, _ = w.Write(data) // a client that has gone away needs no answer
}

// decode reads the body as one JSON object.
func (r *request) decode(into any) error {
	if err := json.Unmarshal(r.body, into); err != nil {
		return refuse(http.StatusBadRequest, http.StatusBadRequest, "request is not the JSON that it should be: "+bounded(err.Error()))
	}
	return nil
}

// flag reports whether a parameter of the URL is true.
func (r *request) flag(name string) bool { return strings.EqualFold(r.URL.Query().Get(name), "true") }

// subject returns the subject of the path, or the empty string if the path has none.
func (r *request) subject() (string, error) {
	s := r.PathValue("subject")
	if s == "" && !strings.Contains(r.Pattern, "{subject}") {
		return "", nil
	}
	if !isSubject(s) {
		return "", refuse(http.StatusUnprocessableEntity, 42208, "The specified subject '"+bounded(s)+"' is not a valid.")
	}
	return s, nil
}

// isSubject reports whether a subject may have the name. One that begins with :. is in a
// context, of which there are none.
func isSubject(s string) bool {
	control := strings.ContainsFunc(s, func(c rune) bool { return unicode.Is(unicode.C, c) })
	return s != "" && len(s) <= maxSubject && utf8.ValidString(s) && !control && !strings.HasPrefix(s, ":.")
}

// id returns the id of the path.
func (r *request) id() (int, error) {
	id, err := strconv.ParseInt(r.PathValue("id"), 10, 32)
	if err != nil {
		return 0, refuse(http.StatusNotFound, http.StatusNotFound, "HTTP 404 Not Found")
	}
	return int(id), nil
}

// versionOf returns the version of the path, 0 for the latest.
func (r *request) versionOf() (int, error) {
	text := r.PathValue("version")
	if text == "latest" || text == "-1" {
		return 0, nil
	}
	v, err := strconv.ParseInt(text, 10, 32)
	if err != nil || v < 1 {
		return 0, refuse(http.StatusUnprocessableEntity, 42202, "The specified version '"+bounded(text)+"' is not a valid version id. Allowed values are between [1, 2^31-1] and the string \"latest\"")
	}
	return int(v), nil
}

// bounded bounds what an answer repeats of a request.
func bounded(s string) string {
	const limit = 300
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "?")
	}
	return strings.ToValidUTF8(s[:limit], "?") + "..."
}
