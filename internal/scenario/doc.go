// Package scenario holds the fault tests of the event store on Postgres: each
// lets writers and readers loose, injects faults, and lets package oracle judge
// the history.
//
// # Usage
//
//	make fault
//	make fault SCENARIOFLAGS='-scenario.time=10m'
//	make fault SCENARIOFLAGS='-scenario.seed=7'
//	make sabotage
//
// TestFaultAmbiguousCommit makes 2000 appends for each eight seconds of that, and
// takes about half a minute for them. Its disk fails only where strace is
// installed and may trace.
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
