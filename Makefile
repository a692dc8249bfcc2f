# Annals: make help lists what there is.
#
# Every target sets up what it needs: Go fetches modules and builds the pinned
# tools; Postgres comes from DATABASE_URL, the machine's binaries or a pinned
# package of binaries; the Kafka broker is one in process unless KAFKA_BROKERS
# names others, or the target is about Apache Kafka.

GO ?= go
# Flags for go test, such as GOTESTFLAGS='-race -v'.
GOTESTFLAGS ?=
# Flags for the scenarios of make fault, such as SCENARIOFLAGS='-scenario.time=10m -scenario.seed=7'.
SCENARIOFLAGS ?=
# Which mistakes make sabotage builds, such as TAGS='j s'; empty for all.
TAGS ?=
# Flags for the benchmark, such as BENCHFLAGS='-filter ^append/ -rounds 3 -json result.json'.
BENCHFLAGS ?=
# How long make fuzz runs each fuzz test.
FUZZTIME ?= 10s
DEMO_DIR ?= .annals/demo
ORDERS ?= examples/order/testdata/orders.csv.gz

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## run the main job: import an order file, end to end, verified (ORDERS=file for your own)
	@mkdir -p $(DEMO_DIR)
	$(GO) run ./examples/order import --input $(ORDERS) --report $(DEMO_DIR)/report.csv --rejected $(DEMO_DIR)/rejected.csv --verify
	@echo
	@head -n 6 $(DEMO_DIR)/report.csv
	@echo "... all of it: $(DEMO_DIR)/report.csv"

.PHONY: test
test: ## run every test but those of make fault and make test-kafka (GOTESTFLAGS=-race for the race detector)
	$(GO) test -skip '^TestFault|^TestApache|^TestApicurio' $(GOTESTFLAGS) ./...
	$(GO) -C internal/avrointerop test $(GOTESTFLAGS) ./...

# Versions of Apache Kafka that make test-kafka runs with, one after the other.
KAFKA_VERSIONS ?= 4.4.0 3.9.2
# Packages that have tests for it. One at a time: each starts brokers.
KAFKA_PACKAGES = $$(git grep -l -E '^func TestApache' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|./|')

# Packages that have tests for a schema registry that is not ours, once, whatever the brokers.
APICURIO_PACKAGES = $$(git grep -l -E '^func TestApicurio' -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|./|')

# Where mvn and Java 17 are on PATH, brokers are started from Maven Central's jars,
# fetched once. Brokers in KAFKA_BROKERS must have no topics: the tests delete all. They
# are left alone by tests of faults, TestApacheOwn..., which need brokers of their own.
.PHONY: test-kafka
test-kafka: ## run the tests that need Apache Kafka, and once those on Apicurio Registry (KAFKA_VERSIONS='4.4.0 3.9.2'; or KAFKA_BROKERS=host:port,... without topics, and then without Apicurio)
	@run() { $(GO) test -count=1 -p 1 -run '^TestApache' "$$@" -timeout 30m $(GOTESTFLAGS) $(KAFKA_PACKAGES); }; \
	if [ -n "$$KAFKA_BROKERS" ]; then echo "Apache Kafka at $$KAFKA_BROKERS:"; run -skip '^TestApacheOwn'; exit; fi; \
	echo "Apicurio Registry:"; \
	$(GO) test -count=1 -p 1 -run '^TestApicurio' -timeout 15m $(GOTESTFLAGS) $(APICURIO_PACKAGES) || exit 1; \
	for version in $(KAFKA_VERSIONS); do \
		echo "Apache Kafka $$version:"; \
		ANNALS_KAFKA_VERSION=$$version run || exit 1; \
	done

# As root on Debian it is installed; anybody else is told.
.PHONY: pgbouncer
pgbouncer:
	@command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
		{ apt-get install -y -qq --no-install-recommends pgbouncer || { apt-get update -qq && apt-get install -y -qq --no-install-recommends pgbouncer; }; } >/dev/null 2>&1; } || \
		{ echo "the fault tests need pgbouncer: apt-get install pgbouncer" >&2; exit 1; }

# A Kafka client that is not ours. As root on Debian it is installed; anybody else is told.
.PHONY: kcat
kcat:
	@command -v kcat >/dev/null || \
		{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
		{ apt-get install -y -qq --no-install-recommends kcat || { apt-get update -qq && apt-get install -y -qq --no-install-recommends kcat; }; } >/dev/null 2>&1; } || \
		{ echo "the fault tests need kcat: apt-get install kcat" >&2; exit 1; }

# What slows down the flushes of a server. Without it commits are slowed down by
# its own setting, so this does not fail.
.PHONY: strace
strace:
	@command -v strace >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && \
		{ apt-get install -y -qq --no-install-recommends strace || { apt-get update -qq && apt-get install -y -qq --no-install-recommends strace; }; } >/dev/null 2>&1; } || \
		echo "without strace a fault test slows down commits instead of flushes" >&2

# How long each scenario takes on two cores; up to two run at once. Long is
# SCENARIOFLAGS='-scenario.time=10m'.
#
#	scenario                                         short       long
#	TestFaultOutOfOrderCommits                       10 s        11 min
#	TestFaultConcurrentAppends, RefusedStatements    10 s, 6 s   11 min, 4 min
#	TestFaultBlockedHorizon                          10 s        6 min
#	TestFaultReplica, PgBouncer                      18 s        10 min
#	TestFaultAmbiguousCommit                         30 s        30 min; 2,000 appends for each 8 s
#	TestFaultKilledAnywhere                          10 to 50 s  11 min; about two kills a second
#	TestFaultCrashLoop                               17 s        11 min; a kill of the server every 4 s
#	TestFaultHalfOpen                                27 s        11 min; a fault every 5 s
#	TestFaultWorkersKilled                           30 s        11 min; about one kill a second, or -scenario.kills=500
#	TestFaultKillerEvent                             20 s        15 min
#	TestFaultZombie                                  45 s        21 min; four in turn, a freeze every 4 s
#	TestFaultPoison, PoisonKilled                    15 s, 20 s  the same
#	TestFaultPoisonSlowsNobody                       50 s        the same
#	TestFaultLongOutage                              40 s        the same: two virtual hours
#	TestFaultRelayErrors, RelayLeaders               10 s, 2 s   10 min, with every code that the client knows; 2 min
#	TestFaultRelayKilled, LedgerKilled               30 s        11 min; about a kill a second, or -scenario.kills=500
#	TestFaultRebalanceChurn                          25 s        21 min; a change about every 0.5 s
#	TestFaultBrokerRestarts                          12 s        11 min; a kill of the broker about every 2 s
#	TestFaultBrokerHalfOpen                          35 s        11 min; a fault about every 6 s
#	TestFaultKcat                                    3 s         the same
#	TestFaultLimits                                  40 s        the same
#	TestFaultSabotageIsSeen                          6 s         the same
#
# On Apache Kafka, part of make test-kafka, for each version; a broker takes 4 s to start,
# and more where the machine has other work:
#
#	TestApacheOwnRelayKilled, OwnLedgerKilled        35 s        11 min
#	TestApacheOwnRebalanceChurn                      30 s        21 min
#	TestApacheOwnBrokerRestarts                      20 s        11 min; a kill about every 6 s
#	TestApacheOwnBrokerHalfOpen                      35 s        11 min
#	TestApacheOwnLeaderKilled, three brokers         100 s       11 min; a kill about every 20 s
#	TestApacheOwnTooFewReplicas, three brokers       75 s        the same
.PHONY: fault
fault: pgbouncer strace kcat ## run the fault tests: kill -9, races, late commits (SCENARIOFLAGS='-scenario.time=10m -scenario.seed=7' for longer, or again)
	$(GO) test -count=1 -run '^TestFault' -timeout 1h $(GOTESTFLAGS) ./examples/order ./internal/devenv ./postgres
	$(GO) test -count=1 -run '^TestFault' -timeout 2h $(GOTESTFLAGS) ./internal/scenario $(SCENARIOFLAGS)

.PHONY: sabotage
sabotage: ## build the store with each of the known mistakes, and want a fault test to catch it (TAGS='j s' for some)
	@GO="$(GO)" GOTESTFLAGS="$(GOTESTFLAGS)" SCENARIOFLAGS="$(SCENARIOFLAGS)" internal/scenario/sabotage.sh $(TAGS)

.PHONY: fuzz
fuzz: ## look for inputs that break a fuzz test (FUZZTIME=10s for each of them)
	@git grep -o -E '^func Fuzz[A-Za-z0-9_]+' -- '*_test.go' | while IFS=: read -r file name; do \
		echo "$$file: $${name#func }"; \
		$(GO) test -run '^$$' -fuzz "^$${name#func }\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s "./$$(dirname "$$file")" </dev/null || exit 1; \
	done

.PHONY: bench
bench: ## measure Annals beside statements by hand (BENCHFLAGS=-list names the workloads, -h the flags)
	$(GO) run ./internal/bench -commit "$$(git describe --always --dirty --abbrev=12 2>/dev/null)" $(BENCHFLAGS)

.PHONY: model
model: ## check the model of the log's order with spin: the right design holds, broken ones do not
	@./postgres/model/run.sh

# How many worlds make simulate runs, and from which seed on.
SEEDS ?= 20000
FROM ?= 1

.PHONY: simulate
simulate: ## run readers in simulated worlds where much fails (SEEDS=20000 FROM=1)
	$(GO) test -count=1 -run '^TestSimulation$$' -timeout 2h ./worker -sim.seeds=$(SEEDS) -sim.from=$(FROM)

.PHONY: lint
lint: fmt-check ## vet and golangci-lint, with the version pinned in tools/go.mod
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod golangci-lint run ./...
	$(GO) -C internal/avrointerop vet ./...
	cd internal/avrointerop && $(GO) tool -modfile=../../tools/go.mod golangci-lint run ./...

.PHONY: fmt
fmt: ## format the code
	gofmt -w $$(git ls-files '*.go')

.PHONY: fmt-check
fmt-check: ## fail if a file is not formatted
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "not formatted, run make fmt:"; echo "$$bad"; exit 1; fi

.PHONY: generate
generate: ## make generated files again: the order file of the example
	$(GO) generate ./...

.PHONY: install
install: ## install the annals command
	$(GO) install ./cmd/annals

.PHONY: clean
clean: ## remove what the other targets leave in the tree
	rm -rf .annals bin
