package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/annals-go/annals/internal/devenv/broker"
)

func TestServerSideWhereItIsGood(t *testing.T) {
	t.Parallel()
	other := kversion.V1_0_0() // no version of Apache Kafka has this
	other.SetMaxKeyVersion(kmsg.ConsumerGroupHeartbeat.Int16(), 1)
	early := kversion.V1_0_0()
	early.SetMaxKeyVersion(kmsg.ConsumerGroupHeartbeat.Int16(), 0)
	for name, c := range map[string]struct {
		versions *kversion.Versions
		want     bool
	}{
		"3.9":                          {kversion.V3_9_0(), false},
		"4.0":                          {kversion.V4_0_0(), false},
		"4.2":                          {kversion.V4_2_0(), false},
		"4.3":                          {kversion.V4_3_0(), true},
		"another broker":               {other, true},
		"another, with an early draft": {early, false},
		"another, without":             {kversion.V1_0_0(), false},
	} {
		if got := serverSide(c.versions); got != c.want {
			t.Errorf("%s (%s): %v, want %v", name, c.versions.VersionGuess(), got, c.want)
		}
	}
}

func TestEarlyVersions(t *testing.T) {
	t.Parallel()
	for guess, want := range map[string]bool{
		"v3.9": true, "v4.0": true, "v4.2": true, "between v4.1 and v4.2": true, "between v4.2 and v4.3": true,
		"unknown custom version at least v4.1": true,
		"v4.3":                                 false, "v4.10": false, "v4.20": false, "at least v4.12": false, "v5.0": false, "v13.1": false, "v14.1": false,
	} {
		if got := early.MatchString(guess); got != want {
			t.Errorf("%s: %v, want %v", guess, got, want)
		}
	}
}

// What the user says about the group protocol counts.
func TestProtocolOfTheUser(t *testing.T) {
	t.Parallel()
	b, err := broker.StartEmbedded(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	for name, c := range map[string]struct {
		opts       []kgo.Opt
		serverSide bool
		balancer   string
	}{
		"nothing":          {nil, true, "cooperative-sticky"},
		"the server's":     {[]kgo.Opt{kgo.ServerSideBalancer()}, true, "cooperative-sticky"},
		"a balancer":       {[]kgo.Opt{kgo.Balancers(kgo.RangeBalancer())}, false, "range"},
		"both":             {[]kgo.Opt{kgo.Balancers(kgo.RangeBalancer()), kgo.ServerSideBalancer()}, true, "range"},
		"the default's":    {[]kgo.Opt{kgo.Balancers(kgo.CooperativeStickyBalancer())}, false, "cooperative-sticky"},
		"something else":   {[]kgo.Opt{kgo.ClientID("x"), kgo.DisableAutoCommit()}, true, "cooperative-sticky"},
		"topics of others": {[]kgo.Opt{kgo.ConsumeTopics("x")}, true, "cooperative-sticky"},
	} {
		consumer := NewConsumer("totals", []string{"shop.order"}, append(c.opts, kgo.SeedBrokers(b.Seeds...))...)
		opts, err := consumer.protocol(t.Context(), newReach(nil))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		client, err := kgo.NewClient(append(consumer.clientOpts(), append(opts, kgo.ConsumerGroup("none"), kgo.ConsumeTopics())...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		balancers, _ := client.OptValue(kgo.Balancers).([]kgo.GroupBalancer)
		if set, _ := client.OptValue(kgo.ServerSideBalancer).(bool); set != c.serverSide || balancers[0].ProtocolName() != c.balancer || isUnset(balancers) {
			t.Errorf("%s: server side %v, %s, want %v, %s", name, set, balancers[0].ProtocolName(), c.serverSide, c.balancer)
		}
	}
	_, err = NewConsumer("totals", nil, kgo.SeedBrokers("127.0.0.1:1"), kgo.RequestRetries(0)).protocol(t.Context(), newReach(nil))
	if err == nil || err.Error()[:49] != "ask the broker which group protocols it has: unab" {
		t.Errorf("protocol without a broker = %v", err)
	}
}
