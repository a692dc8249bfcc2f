package avro

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"
)

// maxAnswer bounds the answer of a registry, and the references of a schema together.
const maxAnswer = 16 << 20

// withoutUsers takes the user and password out of each URL and returns them by host. Its
// errors do not show a URL, which may hold a secret.
func withoutUsers(urls []string) (clean []string, users map[string]*url.Userinfo, err error) {
	users = map[string]*url.Userinfo{}
	for i, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return nil, nil, fmt.Errorf("URL %d of %d is not of the form https://host:port/path, without a query", i+1, len(urls))
		}
		if u.User != nil {
			users[u.Host] = u.User
			u.User = nil
		}
		clean = append(clean, u.String())
	}
	return clean, users, nil
}

// guarded returns the HTTP client of c with a guard around its transport. A transport writes
// into its TLS settings, which may be those of other clients too: this one gets its own.
func guarded(c *sr.Client, users map[string]*url.Userinfo) *http.Client {
	client := *c.OptValue("HTTPClient").(*http.Client)
	if settings := c.OptValue("DialTLSConfig").(*tls.Config); settings != nil {
		client.Transport.(*http.Transport).TLSClientConfig = settings.Clone() // c made the transport
	}
	next := client.Transport
	if next == nil {
		next = http.DefaultTransport
	}
	client.Transport = &guard{next: next, users: users}
	return &client
}

// guard adds the user of the host, bounds answers, and takes what the request was authorized
// with out of whatever comes back: an answer, or the error of a proxy, may repeat it.
type guard struct {
	next  http.RoundTripper
	users map[string]*url.Userinfo
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(req *http.Request) (*http.Response, error) {
	if user := g.users[req.URL.Host]; user != nil && req.Header.Get("Authorization") == "" {
		password, _ := user.Password()
		req = req.Clone(req.Context()) // a transport does not change what it is given
		req.SetBasicAuth(user.Username(), password)
	}
	hide := secrets(req.Header)
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		return nil, &hiddenError{err: err, text: hide.Replace(err.Error())}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	_ = resp.Body.Close() // it has been read
	if err != nil {
		return nil, &hiddenError{err: err, text: hide.Replace(err.Error())}
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("answer is longer than %d bytes", maxAnswer)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		body = hidden(body, hide)
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// hidden returns the body of an error without secrets. A message inside of JSON is looked at
// as it reads, however its characters are escaped.
func hidden(body []byte, hide *strings.Replacer) []byte {
	var said struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &said) == nil && said.Message != "" {
		said.Message = hide.Replace(said.Message)
		if text, err := json.Marshal(said); err == nil {
			return text
		}
	}
	return []byte(hide.Replace(string(body)))
}

// hiddenError is an error whose text has no secret, and that matches what it did.
type hiddenError struct {
	err  error
	text string
}

func (e *hiddenError) Error() string        { return e.text }
func (e *hiddenError) Is(target error) bool { return errors.Is(e.err, target) }

// Timeout has net/http say that a timeout was one.
func (e *hiddenError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}

// secrets returns what replaces the values of all headers but the ones that hold none, also
// in parts: the token without its scheme, and the user and password of basic authorization,
// as they are and as JSON or a URL writes them.
func secrets(h http.Header) *strings.Replacer {
	var pairs []string
	hide := func(s string) {
		if len(s) < 3 { // would tear words apart, and tells nothing
			return
		}
		for _, form := range []string{s, url.QueryEscape(s), url.PathEscape(s), jsonText(s)} {
			pairs = append(pairs, form, "[hidden]")
		}
	}
	for name, values := range h {
		switch name {
		case "Accept", "Accept-Encoding", "Content-Type", "Content-Length", "User-Agent", "Referer":
			continue
		}
		for _, v := range values {
			hide(v)
			scheme, token, ok := strings.Cut(v, " ")
			if !ok {
				continue
			}
			hide(token)
			if pair, err := base64.StdEncoding.DecodeString(token); err == nil && strings.EqualFold(scheme, "Basic") {
				hide(string(pair))
				_, password, _ := strings.Cut(string(pair), ":")
				hide(password)
			}
		}
	}
	return strings.NewReplacer(pairs...)
}

func jsonText(s string) string {
	text, err := json.Marshal(s)
	if err != nil {
		return s
	}
	return string(text[1 : len(text)-1])
}
