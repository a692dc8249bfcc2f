#!/usr/bin/env bash
# Builds the fault tests with each mistake of package sabotage, one at a time, and
# wants each of the named tests to fail, and to print what shows that it has seen
# this mistake. A build that does not compile, a test that is not there, and a
# failure for another reason do not count as caught.
#
#	internal/scenario/sabotage.sh [TAG...]    all of them without an argument
#
# GO is the go command; GOTESTFLAGS and SCENARIOFLAGS are passed on.
set -uo pipefail
cd "$(dirname "$0")/../.."

# tag | what it breaks | the test | what it must print | its package, if another
mistakes='
b|the mark is stored after the effects|TestFaultWorkersKilled|O-7 effect: handled: 
c|an append without an answer is sent again with new ids|TestFaultAmbiguousCommit|O-[1236] 
d|SafeToRetry decides what became of an append|TestFaultAmbiguousCommit|O-[1236] 
e|a mark is stored before the broker has acknowledged|TestFaultRelayErrors|O-8 unsent: 
f|what the broker refuses is skipped|TestFaultRelayErrors|_TOO_LARGE, .* O-8 unsent: 
g|a checkpoint is written whatever the term|TestFaultZombie|O-7 effect: handled: 
h|only the event that has failed is parked|TestFaultPoison|O-7 effect: handled: .* is out of order
j|an append drops conflicts|TestFaultConcurrentAppends|O-6 linear
k|a checkpoint is used with any history|TestFaultLaggingFailover|which the store has lost
k|a checkpoint is used with any history|TestFaultRestore|which the store has lost
l|a consumer begins at offsets that are committed apart from effects|TestFaultRebalanceChurn|O-7 effect: handled: 
m|calls have no deadline|TestFaultHalfOpen|O-10 stalled
n|what failed is tried again at once|TestFaultLongOutage|calls during the outage, want at most
p|a snapshot is used whatever program has made it|TestFaultSnapshotOfAnotherProgram|snapshot_fault_test|postgres
q|a relay goes on where its outbox says, whatever its ledger has|TestFaultLedgerKilled|O-8 duplicates: 
s|reads hold everything in memory|TestFaultLimits|O-11 growth: megabytes
'
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# caught TAG TEST PATTERN PACKAGE prints what has shown it, or why it is not caught.
caught() {
	local tag=$1 test=$2 pattern=$3 package=$4 flags=${SCENARIOFLAGS:-} log=$out/$1-$2
	[ "$package" = ./internal/scenario ] || flags=
	if [ ! -x "$out/$tag" ] && ! ${GO:-go} test -tags "sabotage_$tag" -c -o "$out/$tag" "$package" >"$log" 2>&1; then
		echo "it does not compile:"
		head -n 20 "$log"
		return 1
	fi
	if ! "$out/$tag" -test.list "^$test\$" | grep -q "^$test\$"; then
		echo "there is no such test"
		return 1
	fi
	# shellcheck disable=SC2086 # flags are words
	if ${GO:-go} test -tags "sabotage_$tag" -count=1 -timeout 10m -run "^$test\$" ${GOTESTFLAGS:-} "$package" $flags >"$log" 2>&1; then
		echo "the test has passed"
		return 1
	fi
	if ! grep -q -- "--- FAIL: $test" "$log" || ! grep -qE -- "$pattern" "$log"; then
		echo "it has failed, and not with '$pattern':"
		grep -E -- '--- FAIL|_test\.go:|panic:' "$log" | cut -c1-200 | head -n 20
		return 1
	fi
	grep -m 1 -E -- "$pattern" "$log" | sed 's/^ *//' | cut -c1-150
}

declare -A missed=()
tags=()
while IFS='|' read -r tag what test pattern package; do
	if [ -z "$tag" ] || { [ $# -gt 0 ] && [[ " $* " != *" $tag "* ]]; }; then
		continue
	fi
	[[ " ${tags[*]-} " == *" $tag "* ]] || tags+=("$tag")
	echo "($tag) $what: $test"
	if caught "$tag" "$test" "$pattern" "./${package:-internal/scenario}" >"$out/why" </dev/null; then
		sed 's/^/    caught by /' "$out/why"
	else
		missed[$tag]=1
		sed '1s/^/    NOT CAUGHT: /; 2,$s/^/        /' "$out/why"
	fi
done <<<"$mistakes"
echo "caught $((${#tags[@]} - ${#missed[@]})) of ${#tags[@]}"
[ ${#missed[@]} -eq 0 ] && [ ${#tags[@]} -gt 0 ]
