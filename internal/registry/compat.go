package registry

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/annals-go/annals/codec/avro"
)

// goesWith returns a refusal if the subject's compatibility does not allow the schema.
func (r *request) goesWith(subject string, s avro.Schema, list []Version) error {
	broken, err := r.check(subject, s, list)
	if err != nil || broken == "" {
		return err
	}
	return refuse(http.StatusConflict, http.StatusConflict, fmt.Sprintf("Schema being registered is incompatible with an earlier schema for subject \"%s\", details: [%s]", subject, broken))
}

// check says how the schema breaks the compatibility of the subject, and nothing if it does
// not. The form is that of Confluent, which clients take apart.
func (r *request) check(subject string, s avro.Schema, list []Version) (string, error) {
	mode, err := r.compatibility(subject)
	if err != nil {
		return "", err
	}
	versions, earlier, err := r.texts(list)
	if err != nil {
		return "", err
	}
	err = avro.Check(mode, s, earlier...)
	var broken *avro.IncompatibleError
	if !errors.As(err, &broken) {
		return "", err
	}
	plain := strings.NewReplacer("'", "\"", "\n", " ")
	return fmt.Sprintf("{errorType:'INCOMPATIBLE', description:'%s', additionalInfo:'%s'}, {oldSchemaVersion: %d}, {validateFields: 'false', compatibility: '%v'}",
		plain.Replace(broken.Rule), plain.Replace(broken.Field), versions[broken.Version-1].Version, mode), nil
}

// compatibleAll checks a schema as register does.
func compatibleAll(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	list, err := r.tx.Versions(subject)
	if err != nil {
		return nil, err
	}
	return r.compatible(subject, list)
}

// compatible checks a schema against one version only.
func compatible(r *request) (any, error) {
	v, err := r.find()
	if err != nil {
		return nil, err
	}
	v.Deleted = false // it was asked for
	return r.compatible(v.Subject, []Version{v})
}

func (r *request) compatible(subject string, list []Version) (any, error) {
	sent, err := r.schema()
	if err != nil {
		return nil, err
	}
	broken, err := r.check(subject, sent.schema, list)
	if err != nil {
		return nil, err
	}
	out := map[string]any{"is_compatible": broken == ""}
	if r.flag("verbose") {
		out["messages"] = []string{}
		if broken != "" {
			out["messages"] = []string{broken}
		}
	}
	return out, nil
}
