package cli

import (
	"slices"
	"strings"
	"testing"
)

// FuzzKafkaConfig: whatever the file holds, keys are those that are known, values have no
// space around them, and an error is one line that tells no value.
func FuzzKafkaConfig(f *testing.F) {
	f.Add([]byte("# a\nsecurity.protocol=SASL_SSL\r\nsasl.password = a=b \n"))
	f.Add([]byte("sasl.password:QZQZ\n"))
	f.Add([]byte("ssl.key.password=QZQZ"))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parseKafkaConfig(text)
		if err != nil && (strings.Contains(err.Error(), "QZQZ") || strings.ContainsAny(err.Error(), "\r\n\x1b")) {
			t.Errorf("%q", err)
		}
		for key, value := range set {
			if !slices.Contains(kafkaKeys, key) || value != strings.TrimSpace(value) {
				t.Errorf("%q = %q", key, value)
			}
		}
	})
}
