package avro

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/annals-go/annals/codec"
)

// errNotAvro says that an id is that of a schema of another kind.
var errNotAvro = errors.New("schema is not Avro")

// Codes of the interface of Confluent, beside those of HTTP.
const (
	statusConflict       = http.StatusConflict
	codeSubjectNotFound  = 40401
	codeVersionNotFound  = 40402
	codeSchemaNotFound   = 40403
	codeVersionUndeleted = 40407
	codeNoConfig         = 40408
	codeNotPermitted     = 42205
)

func answer(err error) *sr.ResponseError {
	var re *sr.ResponseError
	if errors.As(err, &re) {
		return re
	}
	return nil
}

func statusCode(err error) int {
	if re := answer(err); re != nil {
		return re.StatusCode
	}
	return 0
}

func errorCode(err error) int {
	if re := answer(err); re != nil {
		return re.ErrorCode
	}
	return 0
}

// fail says what an error of a call means. Missing is what it matches if the registry does
// not have what was asked for.
func fail(ctx context.Context, doing string, err error, missing error) error {
	re := answer(err)
	if re == nil {
		cause := err
		var ue *url.Error
		if errors.As(err, &ue) {
			cause = fmt.Errorf("%s: %w", ue.URL, ue.Err) // without user: see withoutUsers
		}
		if ended := ctx.Err(); ended != nil && !errors.Is(cause, ended) {
			cause = fmt.Errorf("%w: %w", ended, cause)
		}
		return fmt.Errorf("%s: %w: %w", doing, codec.ErrUnavailable, cause)
	}
	said := message(re)
	switch {
	case re.StatusCode == http.StatusUnauthorized:
		return fmt.Errorf("%s: %w: the registry does not know who asks (401): check the user and password, or the token: %s", doing, codec.ErrUnavailable, said)
	case re.StatusCode == http.StatusForbidden:
		return fmt.Errorf("%s: %w: the registry does not allow it (403): check the rights of the user or token for the subject: %s", doing, codec.ErrUnavailable, said)
	case re.ErrorCode >= codeSubjectNotFound && re.ErrorCode <= codeVersionUndeleted && missing != nil:
		return fmt.Errorf("%s: %w (%d: %s)", doing, missing, re.ErrorCode, said)
	case re.ErrorCode == codeNotPermitted:
		return fmt.Errorf("%s: %w: the registry does not permit it at the moment (42205): check its mode: %s", doing, codec.ErrUnavailable, said)
	case re.ErrorCode == 0 && re.StatusCode == http.StatusBadRequest: // of a proxy, or of a port for TLS: it would refuse anything
		return fmt.Errorf("%s: %w: what answers is no registry (400): check whether its URL is to begin with https, and whether it wants a certificate: %s", doing, codec.ErrUnavailable, said)
	case re.ErrorCode >= codeSubjectNotFound && re.ErrorCode <= codeVersionUndeleted,
		re.StatusCode == http.StatusBadRequest, re.StatusCode == http.StatusRequestEntityTooLarge, re.StatusCode == http.StatusUnprocessableEntity:
		return fmt.Errorf("%s: the registry refuses it (%d): %s", doing, max(re.ErrorCode, re.StatusCode), said)
	case re.StatusCode == http.StatusNotFound, re.StatusCode == http.StatusMethodNotAllowed:
		return fmt.Errorf("%s: %w: there is no registry at this URL (%d): check its path, that of Apicurio ends in /apis/ccompat/v7: %s", doing, codec.ErrUnavailable, re.StatusCode, said)
	}
	return fmt.Errorf("%s: %w: the registry answered %d: %s", doing, codec.ErrUnavailable, re.StatusCode, said)
}

// message is what the registry said, bounded and on one line.
func message(re *sr.ResponseError) string {
	text := re.Message
	if text == "" {
		text = string(re.Raw)
	}
	return short(strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " "))
}
