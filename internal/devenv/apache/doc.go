// Package apache gives tests a cluster of Apache Kafka, in KRaft mode, without an installation step.
//
// # Usage
//
// [Start] takes the brokers that KAFKA_BROKERS lists, host:port separated by commas. Without it, it starts brokers as
// child processes and returns their addresses:
//
//	cluster, err := apache.Start(ctx, apache.Config{Brokers: 3})
//	if err != nil {
//		return err
//	}
//	defer cluster.Close()
//	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.Seeds...))
//
// A start needs mvn and Java 17 or newer on PATH (or Java in JAVA_HOME). The jars come from Maven Central, the first
// time, and are kept in the user's cache directory, in annals; from then on no network is needed. ANNALS_KAFKA_VERSION
// names another version than the one in the code. [Jars] and [Java] are for tests that run other Java programs.
//
// [StartApicurio] starts a schema registry that is not ours in the same way, with the same promises: Apicurio Registry, in
// memory. It has what codec/avro is tested with.
//
// # Promises
//
// The brokers die with the process that started them, and their directory is removed: after Close, a return from main,
// a panic, os.Exit and SIGKILL alike. Their command lines hold -Dannals.kafka= and the directory, whose name begins with
// annals-kafka-. [Cluster.Kill], [Cluster.Stop], [Cluster.Freeze] and their opposites are the faults of one broker; what
// it has flushed, and what the system has, survives them.
//
// Brokers listen on free ports of 127.0.0.1 only. Topics exist only after they are created. A cluster of three
// replicates topics to all three by default and wants two in sync.
//
// # No promises
//
// Data is not flushed to the disk before it is acknowledged, as with any Kafka: what a kill of all brokers cannot take,
// a loss of power can. A SIGKILL of the supervisor, the sh process between this program and the brokers, leaves the
// brokers and the directory behind. Clusters from KAFKA_BROKERS are not started, emptied or stopped.
//
// # Testing
//
// A start takes about 4 s on a quiet machine, and 350 MB for each broker: share one among the tests of a package, with topics and groups
// of their own. Such tests are named TestApache, which is what make test-kafka runs. The registry takes 10 to 20 s and
// 350 MB; its tests are named TestApicurio, and make test-kafka runs them once.
package apache
