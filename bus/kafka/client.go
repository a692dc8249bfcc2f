package kafka

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// quick are options that a user may change, for quick recovery: when a partition moves,
// and when a connection leads nowhere and nobody tells, as behind a router that was
// replaced. Such a one is given up after five seconds without an answer, and where the
// broker may take its time, after that time and five seconds.
func quick() []kgo.Opt {
	return []kgo.Opt{kgo.MetadataMinAge(250 * time.Millisecond), kgo.RequestTimeoutOverhead(5 * time.Second), kgo.DialTimeout(5 * time.Second)}
}

// NewClient returns a client for a Publisher: kgo.NewClient with the options, and with
// what keeps the order of a key. It flushes by hand, and the Publisher says which
// partition a record goes to, so kgo.RecordPartitioner has no effect. Nobody else is to
// produce with it. All else can be done with it as with any other client.
//
// TLS, certificates and SASL are those of kgo, such as kgo.DialTLSConfig and kgo.SASL. All
// clients that are made of this one have them too.
//
// For quick recovery kgo.MetadataMinAge is 250 ms, kgo.RequestTimeoutOverhead,
// kgo.DialTimeout and kgo.ProduceRequestTimeout 5 s, unless the options say otherwise: so a connection that
// leads nowhere is given up after ten seconds. The producer stays idempotent and waits for all in-sync replicas.
// Options that give up on a record by themselves are an error, because the broker may
// have it all the same: kgo.RecordDeliveryTimeout, kgo.RecordRetries and
// kgo.AllowIdempotentProduceCancellation. The deadline is that of Publish.
func NewClient(opts ...kgo.Opt) (*kgo.Client, error) {
	g := newGuard()
	client, err := kgo.NewClient(slices.Concat(quick(), []kgo.Opt{kgo.ProduceRequestTimeout(5 * time.Second)}, opts,
		[]kgo.Opt{kgo.ManualFlushing(), kgo.RecordPartitioner(g), kgo.WithHooks(g.reach)})...)
	if err != nil {
		return nil, fmt.Errorf("make a client to publish with: %w", err)
	}
	if _, err := guardOf(client); err != nil {
		client.Close()
		return nil, fmt.Errorf("make a client to publish with: %w", err)
	}
	return client, nil
}

// guardOf returns the guard of a client that a Publisher can work with, or what is wrong
// with it.
func guardOf(client *kgo.Client) (*guard, error) {
	g, guarded := client.OptValue(kgo.RecordPartitioner).(*guard)
	is := func(opt any) bool {
		on, _ := client.OptValue(opt).(bool)
		return on
	}
	timeout, _ := client.OptValue(kgo.RecordDeliveryTimeout).(time.Duration)
	retries, _ := client.OptValue(kgo.RecordRetries).(int64)
	switch {
	case !guarded || !is(kgo.ManualFlushing):
		return nil, errors.New("the client was not made by kafka.NewClient, which keeps the order of a key when a broker refuses a record or a topic grows: make it so")
	case is(kgo.DisableIdempotentWrite):
		return nil, errors.New("option kgo.DisableIdempotentWrite: a retry would store records twice and out of order: leave it out")
	case client.OptValue(kgo.RequiredAcks) != kgo.AllISRAcks():
		return nil, errors.New("option kgo.RequiredAcks: want kgo.AllISRAcks: what not all in-sync replicas have can be lost")
	case is(kgo.AllowIdempotentProduceCancellation):
		return nil, errors.New("option kgo.AllowIdempotentProduceCancellation: a broker would take later records for repeats of cancelled ones: leave it out")
	case timeout != 0:
		return nil, fmt.Errorf("option kgo.RecordDeliveryTimeout: %v: a record that was given up may be stored after later ones: leave it out, the relay has a deadline for each batch", timeout)
	case retries != math.MaxInt64:
		return nil, fmt.Errorf("option kgo.RecordRetries: %d: a record that was given up may be stored after later ones: leave it out, the relay has a deadline for each batch", retries)
	}
	return g, nil
}
