package avro

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// What the registry of Confluent says of an incompatible schema: a list of what is wrong,
// each with errorType, description and additionalInfo, then the version, the text of the old
// schema and the settings.
var (
	saidWrong   = regexp.MustCompile(`(?s)errorType:\s*'([^']*)',\s*description:\s*'(.*?)',\s*additionalInfo:\s*'(.*?)'\s*\}`)
	saidVersion = regexp.MustCompile(`oldSchemaVersion:\s*(\d+)`)
	saidMode    = regexp.MustCompile(`compatibility:\s*'([A-Z_]+)'`)
)

// What Apicurio says of it: a list of what is wrong, each with its place in the schema that
// reads. What is nothing but a name is a field without a default that the writer lacks.
var (
	saidPlace = regexp.MustCompile(`(?s)list of diff types: \[(.*?) at (/[^,\]\s]*)`)
	saidField = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// incompatible returns what an answer of 409 says of a schema.
func (c *Client) incompatible(ctx context.Context, subject string, s Schema, err error) *IncompatibleError {
	re := answer(err)
	e := &IncompatibleError{Subject: subject, Rule: message(re)}
	text := re.Message
	if m := saidWrong.FindStringSubmatch(text); m != nil {
		switch m[1] {
		case "INCOMPATIBLE": // that of internal/registry, which says it in the words of Check
			e.Rule, e.Field = short(m[2]), short(m[3])
		case "READER_FIELD_MISSING_DEFAULT_VALUE":
			e.Rule, e.Field = short(m[1]+": "+m[2]), short(m[3])
		default:
			e.Rule = short(m[1] + ": " + m[2])
		}
	}
	if m := saidVersion.FindStringSubmatch(text); m != nil {
		e.Version, _ = strconv.Atoi(m[1]) // 0, not known, if it is too large
	}
	mode, known := c.modeOf(ctx, subject, text)
	e.Mode = mode
	if m := saidPlace.FindStringSubmatch(text); m != nil {
		e.Rule = short(m[1] + " at " + m[2])
		// The schema that reads is the new one, or an earlier one that is not here.
		if known && (mode == Backward || mode == BackwardTransitive) {
			e.Field = short(fieldAt(s, m[2]))
		}
		if saidField.MatchString(m[1]) {
			e.Rule = short("the reader has no default for this field, which the writer lacks, at " + m[2])
			e.Field = cmp.Or(e.Field, short(m[1]))
		}
	}
	return e
}

// unsaid returns what Check finds between a schema and the versions of its subject, and the
// refusal if that is nothing. It is for an answer of 422 without a code of its own, with which
// a registry tells that its comparison has failed, such as Apicurio's where an alias is the
// name of a field that the older schema has, too. That may be for another reason, so its words
// are kept.
func (c *Client) unsaid(ctx context.Context, subject string, s Schema, refusal error) error {
	mode, noMode := c.Mode(ctx, subject)
	versions, noVersions := c.Versions(ctx, subject)
	if noMode != nil || noVersions != nil {
		return refusal
	}
	var earlier []Schema
	for _, v := range versions {
		earlier = append(earlier, v.Schema)
	}
	var broken *IncompatibleError
	if !errors.As(Check(mode, s, earlier...), &broken) {
		return refusal
	}
	broken.Subject = subject
	if i := broken.Version - 1; i >= 0 && i < len(versions) {
		broken.Version = versions[i].Version
	}
	broken.Rule += fmt.Sprintf(" (the registry says only: %s)", message(answer(refusal)))
	return broken
}

// modeOf returns the mode that a text names last, or that of the subject.
func (c *Client) modeOf(ctx context.Context, subject, text string) (m Mode, known bool) {
	if said := saidMode.FindAllStringSubmatch(text, -1); said != nil {
		if mode, err := ParseMode(said[len(said)-1][1]); err == nil {
			return mode, true
		}
	}
	mode, err := c.Mode(ctx, subject)
	return mode, err == nil
}

// fieldAt returns the path of the field that a JSON pointer such as /fields/0/type leads into,
// as far as the text of the schema goes, and the empty string if there is no such place.
func fieldAt(s Schema, pointer string) string {
	path, err := FullName(s)
	var at any
	if err != nil || json.Unmarshal([]byte(s.Text), &at) != nil {
		return ""
	}
	fields, found := false, false
	for step := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		switch v := at.(type) {
		case map[string]any:
			at, fields = v[step], step == "fields"
		case []any:
			i, err := strconv.Atoi(step)
			if err != nil || i < 0 || i >= len(v) {
				return ""
			}
			at = v[i]
			if field, ok := at.(map[string]any); ok && fields {
				name, _ := field["name"].(string)
				path, found = path+"."+name, true
			}
		}
	}
	if !found {
		return ""
	}
	return path
}
