//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

func launch(t *testing.T, cfg Config) *Cluster {
	t.Helper()
	began := time.Now()
	cfg.Own = true
	c, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d brokers of %s answer after %s", len(c.Seeds), c.Version, time.Since(began))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if out, err := exec.CommandContext(context.Background(), "pgrep", "-fa", c.Dir).Output(); err == nil {
			t.Errorf("left: %s", out)
		}
		if _, err := os.Stat(c.Dir); !os.IsNotExist(err) {
			t.Errorf("%s is left", c.Dir)
		}
	})
	return c
}

func connect(t *testing.T, c *Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Seeds...), kgo.MetadataMinAge(250 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// What one broker has acknowledged is there after a crash and after a goodbye.
func TestApacheOneBroker(t *testing.T) {
	t.Parallel()
	c := launch(t, Config{})
	client := connect(t, c)
	if _, err := kadm.NewClient(client).CreateTopic(t.Context(), 1, -1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	for _, end := range []func() error{
		func() error { return c.Kill(1) },
		func() error { return c.Stop(t.Context(), 1) },
	} {
		if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept"}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := c.Kill(1); err == nil || err.Error() != "kill broker 1: it is down" {
			t.Errorf("got error %v, want one that says it is down", err)
		}
		if err := c.Restart(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Restart(t.Context(), 1); err == nil || err.Error() != "restart broker 1: it is up" {
		t.Errorf("got error %v, want one that says it is up", err)
	}
	ends, err := kadm.NewClient(client).ListEndOffsets(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if end, _ := ends.Lookup("kept", 0); end.Offset != 2 {
		t.Errorf("got end offset %d, want 2", end.Offset)
	}
}

// With one of three down, and with one frozen, acknowledged means two have it; with two down nothing is acknowledged.
func TestApacheThreeBrokers(t *testing.T) {
	t.Parallel()
	c := launch(t, Config{Brokers: 3})
	client := connect(t, c)
	admin := kadm.NewClient(client)
	if _, err := admin.CreateTopic(t.Context(), 3, -1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	produce := func() {
		t.Helper()
		for p := range int32(3) {
			if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "kept", Key: []byte{byte(p)}}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce()
	if err := c.Kill(2); err != nil {
		t.Fatal(err)
	}
	produce()
	if err := c.Restart(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if err := c.Freeze(3); err != nil {
		t.Fatal(err)
	}
	produce()
	if err := c.Thaw(3); err != nil {
		t.Fatal(err)
	}
	produce()
	ends, err := admin.ListEndOffsets(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
	if sum != 12 {
		t.Errorf("got %d records, want 12", sum)
	}
	if err := c.Kill(4); err == nil || err.Error() != "kill broker 4: there are the nodes 1 to 3" {
		t.Errorf("got error %v, want one that names the nodes", err)
	}
}

func TestApacheBrokerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Config{Own: true, Properties: map[string]string{"num.io.threads": "none"}})
	if err == nil || !strings.Contains(err.Error(), "num.io.threads") {
		t.Errorf("got error %v, want one with what the broker said", err)
	}
	t.Log(err)
}
