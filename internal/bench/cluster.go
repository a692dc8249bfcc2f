package main

import (
	"context"

	"github.com/annals-go/annals/internal/devenv/apache"
	"github.com/annals-go/annals/internal/devenv/broker"
)

// cluster is a Kafka cluster of a workload's own.
type cluster struct {
	name  string
	seeds []string
	close func()
}

// starter starts a cluster. What it returns can be closed, also with an error.
type starter func(ctx context.Context) (cluster, error)

// apacheKafka starts a broker of Apache Kafka.
func apacheKafka(ctx context.Context) (cluster, error) {
	c, err := apache.Start(ctx, apache.Config{Own: true, Properties: map[string]string{
		"log.segment.delete.delay.ms": "1000", // what was measured is deleted at once
	}})
	if err != nil {
		return cluster{close: func() {}}, err
	}
	return cluster{name: "Apache Kafka " + c.Version + ", one broker", seeds: c.Seeds, close: func() { _ = c.Close() }}, nil
}

// inProcess starts a broker in this process.
func inProcess(ctx context.Context) (cluster, error) {
	b, err := broker.StartEmbedded(ctx)
	if err != nil {
		return cluster{close: func() {}}, err
	}
	return cluster{name: "kfake, in process", seeds: b.Seeds, close: b.Close}, nil
}
