package registry

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/annals-go/annals/codec/avro"
)

// effective returns a setting of the subject, or that of all, or what it is by default.
func (r *request) effective(kind Setting, subject, byDefault string) (string, error) {
	for _, of := range slices.Compact([]string{subject, ""}) {
		if value, err := r.tx.Setting(kind, of); err != nil || value != "" {
			return value, err
		}
	}
	return byDefault, nil
}

func (r *request) compatibility(subject string) (avro.Mode, error) {
	value, err := r.effective(Compatibility, subject, defaultCompatibility.String())
	if err != nil {
		return 0, err
	}
	return avro.ParseMode(value)
}

func (r *request) mode(subject string) (string, error) {
	return r.effective(Mode, subject, "READWRITE")
}

// own returns the setting of the subject of the path: with defaultToGlobal=true, and without a
// subject, the effective one.
func (r *request) own(kind Setting, byDefault string, code int) (subject, value string, err error) {
	if subject, err = r.subject(); err != nil {
		return "", "", err
	}
	if subject == "" || r.flag("defaultToGlobal") {
		value, err = r.effective(kind, subject, byDefault)
		return subject, value, err
	}
	value, err = r.tx.Setting(kind, subject)
	if err == nil && value == "" {
		err = refuse(http.StatusNotFound, code, fmt.Sprintf("Subject '%s' does not have subject-level %s configured", bounded(subject), kind))
	}
	return subject, value, err
}

func getConfig(r *request) (any, error) {
	_, value, err := r.own(Compatibility, defaultCompatibility.String(), 40408)
	return map[string]string{"compatibilityLevel": value}, err
}

func putConfig(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	var sent struct {
		Compatibility string `json:"compatibility"`
	}
	if err := r.decode(&sent); err != nil {
		return nil, err
	}
	mode, err := avro.ParseMode(strings.ToUpper(sent.Compatibility))
	if err != nil {
		return nil, unprocessable(42203, "Invalid compatibility level. Valid values are none, backward, forward, full, backward_transitive, forward_transitive, and full_transitive")
	}
	return map[string]string{"compatibility": mode.String()}, r.tx.Set(Compatibility, subject, mode.String())
}

func deleteConfig(r *request) (any, error) {
	subject, value, err := r.own(Compatibility, defaultCompatibility.String(), 40408)
	if err != nil {
		return nil, err
	}
	// Versions of Confluent differ in the name.
	return map[string]string{"compatibilityLevel": value, "compatibility": value}, r.tx.Set(Compatibility, subject, "")
}

func getMode(r *request) (any, error) {
	_, value, err := r.own(Mode, "READWRITE", 40409)
	return map[string]string{"mode": value}, err
}

func putMode(r *request) (any, error) {
	subject, err := r.subject()
	if err != nil {
		return nil, err
	}
	var sent struct {
		Mode string `json:"mode"`
	}
	if err := r.decode(&sent); err != nil {
		return nil, err
	}
	mode := strings.ToUpper(sent.Mode)
	if !slices.Contains([]string{"READWRITE", "READONLY", "IMPORT"}, mode) {
		return nil, unprocessable(42204, "Invalid mode. Valid values are READWRITE, READONLY, IMPORT")
	}
	if mode == "IMPORT" && !r.flag("force") {
		var there []Version
		if subject == "" {
			there, err = r.tx.All("")
		} else {
			there, err = r.tx.Versions(subject)
		}
		if err != nil {
			return nil, err
		}
		if len(there) > 0 {
			return nil, unprocessable(42205, "Cannot import since found existing subjects: set force=true if it is meant")
		}
	}
	return map[string]string{"mode": mode}, r.tx.Set(Mode, subject, mode)
}

func deleteMode(r *request) (any, error) {
	subject, value, err := r.own(Mode, "READWRITE", 40409)
	if err != nil {
		return nil, err
	}
	return map[string]string{"mode": value}, r.tx.Set(Mode, subject, "")
}
