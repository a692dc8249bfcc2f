package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/annals-go/annals/bus/kafka"
)

// kafkaFlags say which brokers to use, and how.
type kafkaFlags struct {
	brokers []string
	config  string
}

func (f *kafkaFlags) add(cmd *cobra.Command, brokers string) {
	cmd.Flags().StringSliceVar(&f.brokers, "brokers", nil, brokers+", such as localhost:9092 (default: the environment variable KAFKA_BROKERS)")
	cmd.Flags().StringVar(&f.config, "kafka-config", "", "file with properties of the client for TLS and SASL, a key=value a line, as kcat -F reads it")
}

var errNoBrokers = errors.New("name its brokers with --brokers, or the environment variable KAFKA_BROKERS")

// kafkaClient returns one that publishes, and has connected to nothing yet. Brokers are those
// of --brokers, else of the file, else of KAFKA_BROKERS.
func (a *app) kafkaClient(f kafkaFlags) (*kgo.Client, error) {
	opts, err := a.kafkaOpts(f)
	if err != nil {
		return nil, usage(err)
	}
	return kafka.NewClient(opts...)
}

func (a *app) kafkaOpts(f kafkaFlags) ([]kgo.Opt, error) {
	var opts []kgo.Opt
	set := map[string]string{}
	if f.config != "" {
		text, err := os.ReadFile(f.config)
		if err != nil {
			return nil, fmt.Errorf("--kafka-config: %w", err)
		}
		if set, err = parseKafkaConfig(text); err != nil {
			return nil, fmt.Errorf("--kafka-config %s: %w", f.config, err)
		}
		a.keepSecret(set["sasl.password"])
		if set["sasl.password"] != "" {
			if err := readableByAll(f.config); err != nil {
				return nil, fmt.Errorf("--kafka-config %s: %w", f.config, err)
			}
		}
		if opts, err = kafkaOpts(set); err != nil {
			return nil, fmt.Errorf("--kafka-config %s: %w", f.config, err)
		}
	}
	brokers := f.brokers
	if list, _ := a.lookupEnv("KAFKA_BROKERS"); len(brokers) == 0 && set["bootstrap.servers"] == "" && list != "" {
		brokers = strings.Split(list, ",")
	}
	if len(brokers) == 0 && set["bootstrap.servers"] == "" {
		return nil, errNoBrokers
	}
	if len(brokers) > 0 {
		opts = append(opts, kgo.SeedBrokers(brokers...))
	}
	return opts, nil
}
