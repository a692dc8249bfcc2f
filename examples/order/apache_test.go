package main

import (
	"context"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/internal/devenv/apache"
)

// The whole job on Apache Kafka: the report and what was rejected are those of the embedded broker, and a second run
// finds nothing to do.
func TestApacheImport(t *testing.T) {
	cluster, err := apache.Start(t.Context(), apache.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
	})
	embedded := openShop(t)
	want := embedded.mustImport(shipped, "--verify").events(t)

	s := openShop(t)
	t.Setenv("KAFKA_BROKERS", strings.Join(cluster.Seeds, ","))
	deleteTopics(t, cluster)
	t.Cleanup(func() { deleteTopics(t, cluster) })
	if got := s.mustImport(shipped, "--verify").events(t); got != want || got.Appended == 0 || got.Relayed != got.Appended {
		t.Errorf("got %+v, want %+v, as with the embedded broker", got, want)
	}
	if read(t, s.report) != read(t, embedded.report) || read(t, s.rejected) != read(t, embedded.rejected) {
		t.Error("the report or what was rejected is not that of the embedded broker")
	}
	if got := s.mustImport(shipped, "--verify").events(t); got != (count{}) {
		t.Errorf("the second run: got %+v, want nothing to do", got)
	}
	if read(t, s.report) != read(t, embedded.report) {
		t.Error("the report of the second run is another one")
	}
}

// deleteTopics deletes the topics of the example.
func deleteTopics(t *testing.T, cluster *apache.Cluster) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Seeds...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).DeleteTopics(context.Background(), topics...); err != nil {
		t.Fatal(err)
	}
}
