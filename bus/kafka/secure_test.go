package kafka_test

import (
	"context"
	"crypto/tls"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/annals-go/annals/bus"
	"github.com/annals-go/annals/bus/bustest"
	"github.com/annals-go/annals/bus/kafka"
	"github.com/annals-go/annals/event"
	"github.com/annals-go/annals/eventstore"
	"github.com/annals-go/annals/internal/testcert"
	"github.com/annals-go/annals/memory"
	"github.com/annals-go/annals/worker"
)

// secured starts a broker with those options, and returns where it listens.
func secured(t *testing.T, opts ...kfake.Opt) kgo.Opt {
	t.Helper()
	c, err := kfake.NewCluster(slices.Concat([]kfake.Opt{kfake.NumBrokers(1), kfake.BrokerConfigs(map[string]string{"group.consumer.heartbeat.interval.ms": "100"})}, opts)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return kgo.SeedBrokers(c.ListenAddrs()...)
}

// serverTLS is how a broker shows a certificate, and wants one of clients if it is given
// their authority.
func serverTLS(cert tls.Certificate, clients ...*testcert.Authority) kfake.Opt {
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	for _, a := range clients {
		c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, a.Pool()
	}
	return kfake.TLS(c)
}

func publisherOf(t *testing.T, opts ...kgo.Opt) *kafka.Publisher {
	t.Helper()
	client, err := kafka.NewClient(append([]kgo.Opt{kgo.MetadataMinAge(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return kafka.NewPublisher(client)
}

// rights are ACLs for all that begins with a name.
func rights(resource kmsg.ACLResourceType, prefix string, may ...kmsg.ACLOperation) (out []kfake.ACL) {
	for _, op := range may {
		out = append(out, kfake.ACL{Resource: resource, Name: prefix, Pattern: kmsg.ACLResourcePatternTypePrefixed, Operation: op, Allow: true})
	}
	return out
}

// What the accounts of a relay, of one with a Ledger and of a consumer need at least: the
// list of docs/security.md.
func relayRights() []kfake.ACL {
	return rights(kmsg.ACLResourceTypeTopic, "shop.", kmsg.ACLOperationCreate, kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationRead, kmsg.ACLOperationWrite)
}

func ledgerRights() []kfake.ACL {
	return append(relayRights(), rights(kmsg.ACLResourceTypeTransactionalId, "shop.cursor.", kmsg.ACLOperationDescribe, kmsg.ACLOperationWrite)...)
}

func consumerRights() []kfake.ACL {
	return append(rights(kmsg.ACLResourceTypeTopic, "shop.", kmsg.ACLOperationRead, kmsg.ACLOperationDescribe),
		rights(kmsg.ACLResourceTypeGroup, "shop.", kmsg.ACLOperationRead)...)
}

// A broker that takes nothing but TLS and SCRAM, and accounts with the least rights: all
// that a broker has to do, it does.
func TestBrokerWithLeastRights(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	seeds := func(t *testing.T) func(user string) []kgo.Opt {
		at := secured(t, serverTLS(ca.Server(t)), kfake.EnableSASL(), kfake.EnableACLs(), kfake.Superuser("SCRAM-SHA-512", "root", "secret-root"),
			kfake.User("SCRAM-SHA-512", "relay", "secret-relay", relayRights()...),
			kfake.User("SCRAM-SHA-512", "ledger", "secret-ledger", ledgerRights()...),
			kfake.User("SCRAM-SHA-512", "consumer", "secret-consumer", consumerRights()...))
		return func(user string) []kgo.Opt {
			return []kgo.Opt{at, kgo.DialTLSConfig(ca.Client()), kgo.SASL(scram.Auth{User: user, Pass: "secret-" + user}.AsSha512Mechanism())}
		}
	}
	t.Run("publisher", func(t *testing.T) {
		t.Parallel()
		bustest.Run(t, func(t *testing.T) bustest.Target {
			as := seeds(t)
			root, err := kgo.NewClient(as("root")...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(root.Close)
			return bustest.Target{
				Publisher: publisherOf(t, as("relay")...),
				Source: func(group string, topics ...string) bus.Source {
					return kafka.NewConsumer("shop."+group, topics, as("consumer")...)
				},
				Delete: func(ctx context.Context, topic string) error {
					_, err := kadm.NewClient(root).DeleteTopic(ctx, topic)
					return err
				},
			}
		})
	})
	t.Run("ledger", func(t *testing.T) {
		t.Parallel()
		bustest.RunLedger(t, func(t *testing.T) bustest.LedgerTarget {
			as := seeds(t)
			return bustest.LedgerTarget{
				New: func() bus.Ledger { return ledger(t, nil, as("ledger")...) },
				Source: func(group string, topics ...string) bus.Source {
					return kafka.NewConsumer("shop."+group, topics, as("consumer")...)
				},
			}
		})
	})
}

// Every client of a relay, a replay and a consumer of both protocols comes with the options
// of the user: to a broker that takes no others.
func TestWaysIn(t *testing.T) {
	t.Parallel()
	ca := testcert.New(t, "ours")
	secure := serverTLS(ca.Server(t))
	for name, way := range map[string]struct {
		server []kfake.Opt
		client []kgo.Opt
	}{
		"SCRAM-SHA-256": {[]kfake.Opt{secure, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "ada", "secret")},
			[]kgo.Opt{kgo.DialTLSConfig(ca.Client()), kgo.SASL(scram.Auth{User: "ada", Pass: "secret"}.AsSha256Mechanism())}},
		"SCRAM-SHA-512": {[]kfake.Opt{secure, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", "ada", "secret")},
			[]kgo.Opt{kgo.DialTLSConfig(ca.Client()), kgo.SASL(scram.Auth{User: "ada", Pass: "secret"}.AsSha512Mechanism())}},
		"PLAIN": {[]kfake.Opt{secure, kfake.EnableSASL(), kfake.Superuser("PLAIN", "ada", "secret")},
			[]kgo.Opt{kgo.DialTLSConfig(ca.Client()), kgo.SASL(plain.Auth{User: "ada", Pass: "secret"}.AsMechanism())}},
		"client certificate": {[]kfake.Opt{serverTLS(ca.Server(t), ca)}, []kgo.Opt{kgo.DialTLSConfig(ca.Client(ca.User(t, "ada")))}},
	} {
		for kind, protocol := range map[string][]kgo.Opt{"consumer": nil, "classic": {kgo.Balancers(kgo.CooperativeStickyBalancer())}} {
			t.Run(name+" "+kind, func(t *testing.T) {
				t.Parallel()
				opts := append(way.client, secured(t, way.server...))
				throughAll(t, opts, opts, protocol)
			})
		}
	}
}

// throughAll has a relay, one with a Ledger, a replay and a consumer do their work.
func throughAll(t *testing.T, opts, consumer, protocol []kgo.Opt) {
	t.Helper()
	db, ctx := memory.New(), bounded(t)
	raw := event.Raw{Name: "order.noted", Schema: 1, ContentType: "text/plain", Payload: []byte("x")}
	if _, err := db.Append(ctx, event.Stream{Category: "order", ID: "o-1"}, eventstore.Any(), raw); err != nil {
		t.Fatal(err)
	}
	words := strings.Fields(strings.ReplaceAll(t.Name(), "_", " ")) // another ledger for each store
	words = strings.Split(words[len(words)-1], "/")
	quiet := bus.WithLogger(slog.New(slog.DiscardHandler))
	publisher, l := publisherOf(t, opts...), ledger(t, nil, opts...)
	relay := bus.NewRelay(db, publisher, bus.WithDomain("shop"), quiet)
	if err := relay.Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if err := bus.NewRelay(db, l, bus.WithName("exact-"+words[len(words)-1]), bus.WithDomain("shop"), quiet).Drain(ctx); err != nil {
		t.Fatal(err)
	}
	if replayed, err := relay.Replay(ctx, bus.Replay{}); err != nil || replayed.Events != 1 {
		t.Errorf("Replay = %+v, %v", replayed, err)
	}
	seen := 0
	if err := publisher.Newest(ctx, "shop.order", func(int32, bus.Message) bool { seen++; return true }); err != nil || seen == 0 {
		t.Errorf("Newest = %d messages, %v", seen, err)
	}
	client, err := kafka.NewClient(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if lag, err := kafka.Lag(ctx, client, nil, "shop.order"); err != nil || lag == 0 {
		t.Errorf("Lag = %d, %v", lag, err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	delivered := false
	err = kafka.NewConsumer("shop.orders", []string{"shop.order"}, append(consumer, protocol...)...).Consume(ctx, &sink{deliver: func(worker.Delivery) error {
		delivered = true
		cancel()
		return nil
	}})
	if err != nil || !delivered {
		t.Errorf("Consume = %v, delivered %v", err, delivered)
	}
}
