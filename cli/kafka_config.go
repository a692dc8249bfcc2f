package cli

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// kafkaKeys are the properties of a client that are understood, with the names that
// librdkafka and kcat have for them.
var kafkaKeys = []string{
	"bootstrap.servers", "client.id", "sasl.mechanism", "sasl.mechanisms", "sasl.password", "sasl.username", "security.protocol",
	"ssl.ca.location", "ssl.certificate.location", "ssl.endpoint.identification.algorithm", "ssl.key.location",
}

// plainKey is a key that may be printed: in a line that is not as it is meant, what stands
// before the equals sign may be a secret.
var plainKey = regexp.MustCompile(`^[a-z][a-z.]{0,60}$`)

// parseKafkaConfig reads lines of key=value; those that are empty or begin with # are left
// out. No error holds a value.
func parseKafkaConfig(text []byte) (map[string]string, error) {
	set := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		switch {
		case !ok || !plainKey.MatchString(key):
			return nil, fmt.Errorf("line %d (which is not shown): want key=value, such as security.protocol=SASL_SSL", n)
		case key == "ssl.key.password":
			return nil, fmt.Errorf("line %d: ssl.key.password is not supported: give a key that is not encrypted, in a file that its owner alone can read", n)
		case !slices.Contains(kafkaKeys, key):
			return nil, fmt.Errorf("line %d: unknown key %s, want one of %s", n, key, strings.Join(kafkaKeys, ", "))
		}
		if key == "sasl.mechanisms" { // as librdkafka calls it, too
			key = "sasl.mechanism"
		}
		if _, twice := set[key]; twice {
			return nil, fmt.Errorf("line %d: %s is set twice", n, key)
		}
		if value == "" && key != "ssl.endpoint.identification.algorithm" {
			return nil, fmt.Errorf("line %d: %s has no value", n, key)
		}
		set[key] = value
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read lines: %w", err)
	}
	return set, nil
}

// kafkaOpts returns the options of a client that the settings ask for.
func kafkaOpts(set map[string]string) (opts []kgo.Opt, err error) {
	protocol := strings.ToUpper(set["security.protocol"])
	if protocol == "" {
		protocol = "PLAINTEXT"
	}
	if !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol) {
		return nil, errors.New("security.protocol: want PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL")
	}
	for key := range set {
		if strings.HasPrefix(key, "ssl.") && !strings.HasSuffix(protocol, "SSL") || strings.HasPrefix(key, "sasl.") && !strings.HasPrefix(protocol, "SASL") {
			return nil, fmt.Errorf("%s has no effect with security.protocol=%s: want one with %s", key, protocol, strings.ToUpper(key[:strings.IndexByte(key, '.')]))
		}
	}
	if list := set["bootstrap.servers"]; list != "" {
		opts = append(opts, kgo.SeedBrokers(strings.Split(list, ",")...))
	}
	if id := set["client.id"]; id != "" {
		opts = append(opts, kgo.ClientID(id))
	}
	if strings.HasPrefix(protocol, "SASL") {
		m, err := mechanism(set)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.SASL(m))
	}
	if strings.HasSuffix(protocol, "SSL") {
		c, err := tlsConfig(set)
		if err != nil {
			return nil, err
		}
		opts = append(opts, kgo.DialTLSConfig(c))
	}
	return opts, nil
}

func mechanism(set map[string]string) (sasl.Mechanism, error) {
	user, password := set["sasl.username"], set["sasl.password"]
	for _, key := range []string{"sasl.mechanism", "sasl.username", "sasl.password"} {
		if set[key] == "" {
			return nil, fmt.Errorf("%s is missing, which security.protocol=SASL_... needs", key)
		}
	}
	switch strings.ToUpper(set["sasl.mechanism"]) {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, errors.New("sasl.mechanism: want PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
}

func tlsConfig(set map[string]string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file := set["ssl.ca.location"]; file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("ssl.ca.location: %w", withoutPath(err))
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(text) {
			return nil, errors.New("ssl.ca.location: the file has no certificate, want PEM")
		}
	}
	cert, key := set["ssl.certificate.location"], set["ssl.key.location"]
	switch {
	case (cert == "") != (key == ""):
		return nil, errors.New("ssl.certificate.location and ssl.key.location: want both or none")
	case cert != "":
		if err := readableByAll(key); err != nil {
			return nil, fmt.Errorf("ssl.key.location: %w", err)
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("ssl.certificate.location and ssl.key.location: %w", withoutPath(err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if how, given := set["ssl.endpoint.identification.algorithm"]; given && how != "https" {
		if how != "" && how != "none" {
			return nil, errors.New("ssl.endpoint.identification.algorithm: want https or none")
		}
		c.InsecureSkipVerify = true //nolint:gosec // the chain is verified below, the name alone is not
		c.VerifyConnection = func(s tls.ConnectionState) error {
			intermediates := x509.NewCertPool()
			for _, cert := range s.PeerCertificates[1:] {
				intermediates.AddCert(cert)
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: c.RootCAs, Intermediates: intermediates})
			return err
		}
	}
	return c, nil
}

// withoutPath leaves out a path, which is the value of a setting.
func withoutPath(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// readableByAll refuses a file with a secret that everybody on the machine can read.
func readableByAll(file string) error {
	info, err := os.Stat(file)
	if err != nil {
		return withoutPath(err)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o004 != 0 {
		return fmt.Errorf("everybody can read the file (mode %04o), and it holds a secret: chmod o-r", info.Mode().Perm())
	}
	return nil
}
