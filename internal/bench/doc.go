// Bench measures Annals beside the statements that somebody would write by
// hand, alternately, in one run, on a Postgres server of its own.
//
// # Usage
//
//	make bench BENCHFLAGS='-filter ^append/ -rounds 3 -time 1s'
//	make bench BENCHFLAGS='-json result.json'
//	make bench BENCHFLAGS=-list
//
// # What the figures mean
//
// Absolute figures differ from machine to machine and from hour to hour. What
// counts is the ratio: each round runs every side of a workload once, in
// another order than the round before, and gives one ratio; the ratio of the
// workload is the median of its rounds. It is above 1 where Annals does better,
// whether the unit is events per second or milliseconds.
//
// A bar is a ratio, or a time, that the project wants to keep. The exit code
// does not depend on bars: a shared machine is no judge. It is 1 when a
// workload could not be measured, or lost an event.
//
// # Correctness
//
// Each workload has a fresh database. The appends that were answered are
// counted and compared with the rows that are there; readers of Annals must
// get every committed event once, in the order of its stream.
package main
