package kafka

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
)

// AccessError says that a broker does not let a client in, or that the client does not trust
// the broker, because of TLS, certificates or credentials, and what to check. It is no
// event's fault: a relay waits and parks nothing. It holds no password.
type AccessError struct {
	Broker string // host:port
	Err    error  // of the client, may be io.EOF
	text   string // with what to check
}

// Error names the broker, and ends with what to check.
func (e *AccessError) Error() string { return "broker " + e.Broker + " " + e.text }

// Unwrap returns Err.
func (e *AccessError) Unwrap() error { return e.Err }

// accessError returns what it means that a connection to a broker was not made; nil if that
// is nothing that these settings decide, such as a broker that is down.
func accessError(client *kgo.Client, broker string, err error) *AccessError {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" { // there was no connection
		return nil
	}
	text := identityText(client, err)
	if text == "" {
		text = certificateText(err)
	}
	if text == "" {
		text = protocolText(client, err)
	}
	if text == "" {
		return nil
	}
	return &AccessError{broker, err, text}
}

// identityText is that of credentials.
func identityText(client *kgo.Client, err error) string {
	mechanisms, _ := client.OptValue(kgo.SASL).([]sasl.Mechanism)
	if len(mechanisms) == 0 {
		return ""
	}
	var first *kgo.ErrFirstReadEOF
	switch who := identity(client.Context(), mechanisms[0]); {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		return fmt.Sprintf("refuses %s: %v: check the user, the password, and that the broker has both for this mechanism", who, err)
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		return fmt.Sprintf("does not take %s: %v: check which SASL mechanisms the broker has (sasl.enabled.mechanisms)", mechanisms[0].Name(), err)
	case errors.Is(err, kerr.IllegalSaslState):
		return fmt.Sprintf("does not authenticate %s: %v: check that its listener is a SASL one", who, err)
	case errors.Is(err, io.EOF) && !errors.As(err, &first):
		return fmt.Sprintf("closes the connection while it authenticates %s: check the user, the password, and which mechanism the broker has for it", who)
	}
	return ""
}

// nameTimeout bounds how long a mechanism, which may ask a vault, is waited for.
const nameTimeout = 2 * time.Second

// identity names a user, and how it authenticates. Only the two kinds of mechanism whose
// first words have the name in the open are asked for them.
func identity(ctx context.Context, m sasl.Mechanism) string {
	by := " by " + m.Name()
	if m.Name() != "PLAIN" && !strings.HasPrefix(m.Name(), "SCRAM-") {
		return "the account" + by
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	_, words, err := m.Authenticate(ctx, "")
	if err != nil {
		return "the account" + by
	}
	if m.Name() == "PLAIN" {
		if parts := bytes.Split(words, []byte{0}); len(parts) == 3 {
			return fmt.Sprintf("user %q%s", parts[1], by)
		}
		return "the account" + by
	}
	for attribute := range strings.SplitSeq(string(words), ",") {
		if name, ok := strings.CutPrefix(attribute, "n="); ok {
			return fmt.Sprintf("user %q%s", strings.NewReplacer("=2C", ",", "=3D", "=").Replace(name), by)
		}
	}
	return "the account" + by
}

// certificateText is that of certificates: the broker's, which the client does not take, and
// the client's.
func certificateText(err error) string {
	var (
		unknown x509.UnknownAuthorityError
		host    x509.HostnameError
		invalid x509.CertificateInvalidError
		verify  *tls.CertificateVerificationError
		remote  *net.OpError
	)
	switch {
	case errors.As(err, &unknown):
		return fmt.Sprintf("has a certificate of an authority that is not trusted: %v: check RootCAs of the TLS configuration (ssl.ca.location)", unknown)
	case errors.As(err, &host):
		return fmt.Sprintf("has a certificate of another name: %v: check the address of the broker (advertised.listeners), and the names in its certificate", host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Sprintf("has a certificate that is not valid at this time: %v: renew it, or set the clock", invalid)
	case errors.As(err, &verify):
		return fmt.Sprintf("has a certificate that is not taken: %v: check it, and RootCAs of the TLS configuration (ssl.ca.location)", verify.Err)
	case errors.As(err, new(tls.AlertError)), errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Sprintf("refuses the connection: %v: check the certificate of the client (ssl.certificate.location), and that the broker trusts its authority", err)
	}
	return ""
}

// protocolText is that of TLS on one side only.
func protocolText(client *kgo.Client, err error) string {
	var first *kgo.ErrFirstReadEOF
	secure, _ := client.OptValue(kgo.DialTLS).(bool)
	switch {
	case errors.As(err, &first) && secure, errors.As(err, new(tls.RecordHeaderError)):
		return "ends the connection before the first answer: check that its port is one for TLS, and whether it wants a certificate or SASL"
	case errors.As(err, &first), strings.Contains(err.Error(), "tls alert record"): // the client has no type for it
		return "ends the connection before the first answer: check whether its port is one for TLS (kgo.DialTLSConfig), or wants SASL (kgo.SASL)"
	case secure && errors.Is(err, os.ErrDeadlineExceeded), secure && errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("does not answer to TLS: %v: check that its port is one for TLS, and that it can be reached", err)
	}
	return ""
}

// rightsText says which right an account lacks, if that is the error.
func rightsText(err error) string {
	switch {
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return "the account lacks an ACL of the topic: WRITE and DESCRIBE to publish, READ to consume, CREATE to make it"
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		return "the account lacks an ACL of the consumer group: READ"
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return "the account lacks an ACL of the transactional id: WRITE and DESCRIBE"
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		return "the account lacks an ACL of the cluster: IDEMPOTENT_WRITE to publish to brokers before 2.8, CREATE to make topics"
	}
	return ""
}

// rightsError is an error with the right that the account lacks.
type rightsError struct {
	error
	text string
}

func (e *rightsError) Error() string { return e.error.Error() + ": " + e.text }
func (e *rightsError) Unwrap() error { return e.error }

// withRights adds to an error what the account lacks, once.
func withRights(err error) error {
	if text := rightsText(err); text != "" && !errors.As(err, new(*rightsError)) {
		return &rightsError{err, text}
	}
	return err
}
