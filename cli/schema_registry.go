package cli

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
)

// registryFlags say where the schema registry is.
type registryFlags struct{ url, ca string }

func (f *registryFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "registry", "", "URL of the schema registry, several by commas (default: the environment variable SCHEMA_REGISTRY_URL)")
	cmd.Flags().StringVar(&f.ca, "registry-ca", "", "file with the certificates (PEM) that sign that of the registry")
}

const registryHelp = `The registry is that of --registry, or of the environment variable SCHEMA_REGISTRY_URL. It is asked as the user in its
URL, as SCHEMA_REGISTRY_USER with SCHEMA_REGISTRY_PASSWORD, or with SCHEMA_REGISTRY_TOKEN; none of them is ever shown.`

var (
	errNoRegistry = errors.New("no schema registry, set --registry or the environment variable SCHEMA_REGISTRY_URL to https://host:port")
	errBadURL     = errors.New("URL of the schema registry cannot be read (it is not shown, because it may hold a password), want " + exampleUser + "host:port/path, with @ / ? in user and password as %40 %2F %3F")
	errTwoUsers   = errors.New("SCHEMA_REGISTRY_TOKEN and SCHEMA_REGISTRY_USER are both set, want one of them")
	errNoUser     = errors.New("SCHEMA_REGISTRY_PASSWORD is set and SCHEMA_REGISTRY_USER is not")
)

// registry returns a client of the registry, nil if none is named.
func (a *app) registry(f registryFlags) (*avro.Client, error) {
	urls := f.url
	if urls == "" {
		urls, _ = a.lookupEnv("SCHEMA_REGISTRY_URL")
	}
	if urls == "" {
		return nil, nil
	}
	opts := []sr.ClientOpt{sr.URLs(strings.Split(urls, ",")...)}
	for u := range strings.SplitSeq(urls, ",") {
		a.keepUser(u)
		if !plainURL(u) {
			return nil, usage(errBadURL)
		}
	}
	user, _ := a.lookupEnv("SCHEMA_REGISTRY_USER")
	password, _ := a.lookupEnv("SCHEMA_REGISTRY_PASSWORD")
	token, _ := a.lookupEnv("SCHEMA_REGISTRY_TOKEN")
	a.keepSecret(password)
	a.keepSecret(token)
	switch {
	case token != "" && user != "":
		return nil, usage(errTwoUsers)
	case token != "":
		opts = append(opts, sr.BearerToken(token))
	case user != "":
		a.keepSecret(base64.StdEncoding.EncodeToString([]byte(user + ":" + password)))
		opts = append(opts, sr.BasicAuth(user, password))
	case password != "":
		return nil, usage(errNoUser)
	}
	if f.ca != "" {
		pem, err := os.ReadFile(f.ca)
		if err != nil {
			return nil, fmt.Errorf("read --registry-ca: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, usage(fmt.Errorf("read --registry-ca: %s has no certificate, want PEM", f.ca))
		}
		opts = append(opts, sr.DialTLSConfig(&tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}))
	}
	client, err := avro.NewClient(opts...)
	if err != nil {
		return nil, usage(err) // which shows no URL
	}
	return client, nil
}

// plainURL reports whether it is clear which part of a URL is the host: of
// http://user:12/34@host it would be user.
func plainURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https") && u.RawQuery == "" && u.Fragment == "" && !strings.Contains(u.Path, "@")
}

// needRegistry is registry for commands that do nothing without one.
func (a *app) needRegistry(f registryFlags) (*avro.Client, error) {
	client, err := a.registry(f)
	if err == nil && client == nil {
		return nil, usage(errNoRegistry)
	}
	return client, err
}

// keepUser keeps the password of a URL from being shown, as it is written and as it is
// meant, and all that is before the @ of one that cannot be read.
func (a *app) keepUser(text string) {
	if _, rest, ok := strings.Cut(text, "://"); ok {
		if at := strings.LastIndexByte(rest, '@'); at > 0 {
			a.keepSecret(rest[:at])
			if _, password, ok := strings.Cut(rest[:at], ":"); ok {
				a.keepSecret(password)
			}
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.User == nil {
		return
	}
	password, _ := u.User.Password()
	a.keepSecret(password)
	a.keepSecret(base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password)))
}
