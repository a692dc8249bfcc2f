package apache

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const plaintext = "PLAINTEXT"

// ports of one node. Inner is the same as clients where that speaks PLAINTEXT.
type ports struct {
	clients, inner, controller int
}

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// properties returns the server.properties of a node, whose data is in dir/node/data.
func properties(cfg Config, dir string, node int, all []ports) string {
	own := all[node-1]
	var voters []string
	for i, p := range all {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, address(p.controller)))
	}
	replicas, inSync := min(cfg.Brokers, 3), min(cfg.Brokers, 2)
	p := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(node),
		"controller.quorum.voters":       strings.Join(voters, ","),
		"listeners":                      "CLIENTS://" + address(own.clients) + ",CONTROLLER://" + address(own.controller),
		"advertised.listeners":           "CLIENTS://" + address(own.clients),
		"listener.security.protocol.map": "CLIENTS:" + cfg.Protocol + ",INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "CLIENTS",
		"log.dirs":                       fmt.Sprintf("%s/%d/data", dir, node),

		// What a careful operator sets.
		"auto.create.topics.enable":  "false",
		"default.replication.factor": strconv.Itoa(replicas),
		"min.insync.replicas":        strconv.Itoa(inSync),

		// Small, for one machine.
		"offsets.topic.replication.factor":         strconv.Itoa(replicas),
		"offsets.topic.num.partitions":             "5",
		"transaction.state.log.replication.factor": strconv.Itoa(replicas),
		"transaction.state.log.min.isr":            strconv.Itoa(inSync),
		"transaction.state.log.num.partitions":     "5",
		"log.cleaner.dedupe.buffer.size":           "8388608",

		// Quick, for tests: a dead member or broker is noticed after 6 s, and nobody waits for members to come.
		"group.initial.rebalance.delay.ms":         "0",
		"group.min.session.timeout.ms":             "1000",
		"group.consumer.session.timeout.ms":        "6000",
		"group.consumer.min.session.timeout.ms":    "1000",
		"group.consumer.heartbeat.interval.ms":     "500",
		"group.consumer.min.heartbeat.interval.ms": "100",
		"broker.session.timeout.ms":                "6000",
		"broker.heartbeat.interval.ms":             "500",
	}
	if own.inner != own.clients {
		p["listeners"] += ",INNER://" + address(own.inner)
		p["advertised.listeners"] += ",INNER://" + address(own.inner)
		p["inter.broker.listener.name"] = "INNER"
	}
	if major(cfg.Version) >= 4 {
		p["share.coordinator.state.topic.replication.factor"] = strconv.Itoa(replicas)
		p["share.coordinator.state.topic.min.isr"] = strconv.Itoa(inSync)
	}
	maps.Copy(p, cfg.Properties)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(p)) {
		fmt.Fprintf(&b, "%s=%s\n", name, strings.ReplaceAll(p[name], "DIR", dir))
	}
	return b.String()
}

// major of a version of Kafka, 0 if there is none.
func major(version string) int {
	first, _, _ := strings.Cut(version, ".")
	n, _ := strconv.Atoi(first)
	return n
}

// logging returns the name of the file, its text and the property that names it: warnings, to the standard output.
func logging(version string) (name, text, property string) {
	if major(version) >= 4 {
		return "log4j2.properties", `status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
`, "log4j2.configurationFile"
	}
	return "log4j.properties", `log4j.rootLogger=WARN, out
log4j.appender.out=org.apache.log4j.ConsoleAppender
log4j.appender.out.layout=org.apache.log4j.PatternLayout
log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n
`, "log4j.configuration"
}

// coordinates of what a broker runs with. The jars of Kafka hold no binding of its logging.
func coordinates(version string) []string {
	kafka := "org.apache.kafka:kafka_2.13:" + version
	if major(version) >= 4 {
		return []string{
			kafka,
			"org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
			"org.apache.logging.log4j:log4j-1.2-api:2.25.4",
		}
	}
	return []string{kafka, "org.slf4j:slf4j-reload4j:1.7.36"}
}
