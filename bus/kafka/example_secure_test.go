package kafka_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus/kafka"
)

// A client with TLS, a certificate and a password that may change while it runs.
func ExampleNewClient_secure() {
	authorities, service := x509.NewCertPool(), tls.Certificate{}

	// +guide
	tlsConfig := &tls.Config{
		RootCAs:      authorities,                // leave it out for those of the system
		Certificates: []tls.Certificate{service}, // if the brokers want one
		MinVersion:   tls.VersionTLS12,
	}
	password := scram.Sha512(func(context.Context) (scram.Auth, error) {
		text, err := os.ReadFile("/run/secrets/kafka-password")
		return scram.Auth{User: "shop", Pass: strings.TrimSpace(string(text))}, err
	})
	client, err := kafka.NewClient(kgo.SeedBrokers("kafka:9093"), kgo.DialTLSConfig(tlsConfig), kgo.SASL(password))
	// -guide

	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	fmt.Println("connects when it is used")
	// Output: connects when it is used
}
