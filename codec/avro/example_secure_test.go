package avro_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec/avro"
)

// A client of a registry with TLS and a password; sr.BearerToken in its place for a token.
func ExampleNewClient_secure() {
	authorities, password := x509.NewCertPool(), "of a file or a vault"

	// +guide
	tlsConfig := &tls.Config{
		RootCAs:    authorities, // leave it out for those of the system
		MinVersion: tls.VersionTLS12,
	}
	registry, err := avro.NewClient(sr.URLs("https://registry:8081"), sr.DialTLSConfig(tlsConfig), sr.BasicAuth("shop", password))
	// -guide

	fmt.Println(registry != nil, err)
	// Output: true <nil>
}
