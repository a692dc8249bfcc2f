package apache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
)

// The versions that are tested.
const (
	Newest = "4.4.0" // the newest that runs on Java 17
	Before = "3.9.2" // the last before 4: the KIP-848 group protocol is off
)

// Config says what to start. The zero value is one broker of the version in ANNALS_KAFKA_VERSION, else Newest.
type Config struct {
	// Version of Apache Kafka. Empty means ANNALS_KAFKA_VERSION, else Newest.
	Version string

	// Brokers is how many; each is a controller too. Zero means 1. Their nodes are 1, 2, ...
	Brokers int

	// Properties go into the server.properties of every broker, instead of those of this package with the same name.
	// DIR stands for the directory of the cluster.
	Properties map[string]string

	// Protocol is what clients speak: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL. Empty means PLAINTEXT. The keys and
	// mechanisms that the others need belong into Properties. The brokers speak PLAINTEXT with each other.
	Protocol string

	// Files are written into the directory of the cluster before anything starts, by name.
	Files map[string][]byte

	// Format holds more arguments of the tool that formats the storage, such as --add-scram and a user.
	Format []string

	// Own starts a cluster even if KAFKA_BROKERS names one: for tests that kill brokers or need properties.
	Own bool

	env env // for tests to replace
}

// Cluster is brokers to use until Close. Safe for concurrent use.
type Cluster struct {
	// Seeds are the addresses for clients, host:port, that of node 1 first.
	Seeds []string

	// Inner are addresses for clients without TLS and authentication. The same as Seeds unless Config.Protocol differs.
	Inner []string

	// Version of Apache Kafka. Empty when External.
	Version string

	// External means that KAFKA_BROKERS named the brokers: Close leaves them alone.
	External bool

	// Dir is the directory that Close removes. Empty when External.
	Dir string

	*nodes // nil when External
}

// Start returns the brokers that KAFKA_BROKERS lists, else starts some and returns when every one of them answers and
// knows all others. The context bounds the start only, together with a limit of five minutes for the brokers; brokers that
// did not start have left no process and no directory. They run until Close or the end of this process.
//
// What the machine lacks is an error that says how to get it. On systems other than Linux, macOS and the BSDs nothing
// can be started, and the error says to set KAFKA_BROKERS.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	cfg.env = cfg.env.orDefault()
	if list := cfg.env.getenv("KAFKA_BROKERS"); list != "" && !cfg.Own {
		seeds, err := parseSeeds(list)
		if err != nil {
			return nil, fmt.Errorf("start kafka: %w", err)
		}
		return &Cluster{Seeds: seeds, Inner: seeds, External: true}, nil
	}
	cfg.env.instead = "; or set KAFKA_BROKERS"
	cfg.Version = cmp.Or(cfg.Version, cfg.env.getenv("ANNALS_KAFKA_VERSION"), Newest)
	cfg.Brokers = max(cfg.Brokers, 1)
	cfg.Protocol = cmp.Or(cfg.Protocol, plaintext)
	cluster, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("start kafka %s: %w", cfg.Version, err)
	}
	return cluster, nil
}

// Close kills the brokers, removes their directory and returns when both are gone. It may be called more than once, from
// any goroutine; every call waits and returns the same result. It does nothing to an external cluster.
func (c *Cluster) Close() error {
	if c.nodes == nil {
		return nil
	}
	return c.super.close()
}

// Kill ends a broker as a crash would, by SIGKILL, and returns when its process is gone. It stays down until Restart.
func (c *Cluster) Kill(node int) error { return c.fault("kill", node, (*nodes).kill) }

// Stop ends a broker as an operator would, by SIGTERM: it hands its leaderships over, says goodbye and flushes. It stays
// down until Restart. The context bounds the wait, and then the broker may still be on its way down.
func (c *Cluster) Stop(ctx context.Context, node int) error {
	return c.fault("stop", node, func(n *nodes, node int) error { return n.stop(ctx, node) })
}

// Restart starts a broker that was killed or stopped, on the same ports, with the same data, and returns when it answers
// and takes part. The context bounds it, together with a limit of five minutes.
func (c *Cluster) Restart(ctx context.Context, node int) error {
	return c.fault("restart", node, func(n *nodes, node int) error { return n.restart(ctx, node) })
}

// Freeze stops the process of a broker where it stands, until Thaw: its connections stay open, and nothing answers.
func (c *Cluster) Freeze(node int) error { return c.fault("freeze", node, (*nodes).freeze) }

// Thaw lets a frozen broker go on.
func (c *Cluster) Thaw(node int) error { return c.fault("thaw", node, (*nodes).thaw) }

var errNotOurs = errors.New("the cluster was not started here")

func (c *Cluster) fault(verb string, node int, do func(*nodes, int) error) error {
	err := errNotOurs
	switch {
	case c.nodes == nil:
	case node < 1 || node > len(c.Seeds):
		err = fmt.Errorf("there are the nodes 1 to %d", len(c.Seeds))
	default:
		err = do(c.nodes, node)
	}
	if err != nil {
		return fmt.Errorf("%s broker %d: %w", verb, node, err)
	}
	return nil
}

// env is what is outside of this process.
type env struct {
	getenv func(string) string
	cache  string   // where jars are kept; empty means the user's cache directory
	bases  []string // where a cluster's directory may be made, best first

	instead string // what to do instead of an installation, behind a remedy
}

func (e env) orDefault() env {
	if e.getenv == nil {
		e.getenv = os.Getenv
	}
	if e.bases == nil {
		e.bases = []string{os.TempDir(), "/tmp", "/var/tmp"}
	}
	return e
}

// parseSeeds reads a list of host:port separated by commas. Spaces around an entry are allowed.
func parseSeeds(list string) ([]string, error) {
	var seeds []string
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		host, port, err := net.SplitHostPort(entry)
		if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
			return nil, fmt.Errorf("read KAFKA_BROKERS: %q is not host:port", entry)
		}
		seeds = append(seeds, entry)
	}
	return seeds, nil
}
