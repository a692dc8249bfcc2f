// Package scenario holds the fault tests of the event store on Postgres, and of the bus
// on Kafka: each lets writers and readers loose, injects faults, and lets package oracle
// judge the history. The Kafka of TestFault is franz-go's in-process one, which has no
// replicas. The scenarios of brokers run on Apache Kafka too, as TestApache, with clusters of
// their own whatever KAFKA_BROKERS says, because they kill brokers; only those say what
// becomes of replicas, of transactions in flight, and of a broker that has to recover.
//
// # Usage
//
//	make fault
//	make fault SCENARIOFLAGS='-scenario.time=10m'
//	make fault SCENARIOFLAGS='-scenario.seed=7'
//	make sabotage
//	make test-kafka
//	ANNALS_KAFKA_VERSION=3.9.2 go test ./internal/scenario -run '^TestApacheOwn' -parallel 2 -scenario.time=10m
//
// TestFaultAmbiguousCommit makes 2000 appends for each eight seconds of that, and
// takes about half a minute for them. Its disk fails only where strace is
// installed and may trace.
//
// TestFaultRelayErrors takes every error that the client knows from a minute on, and those
// of a produce request before. TestFaultKcat needs kcat, which make fault installs.
//
// TestFaultWorkersKilled kills about one process a second, and at least as many as
// -scenario.kills says, such as 500. TestFaultLongOutage needs no time but that of the
// processor: its two hours are virtual.
//
// A scenario takes about -scenario.time; from a minute on, a few transactions
// stay open for up to 30 s.
// The seed fixes what each writer does, step by step, and is logged, so that a
// failure shows it. How the steps of different writers fall between each other
// is left to the machine.
package scenario
