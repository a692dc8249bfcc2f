// Package avrointerop holds the tests that hamba/avro and what codec/avro stands on
// understand each other. It has no code of its own, and is a module of its own, so that
// neither the module graph of Annals nor that of its users has hamba/avro in it: it was
// archived with open advisories.
//
// # Testing
//
// TestEachReadsTheOther takes every type, logical type and case of evolution through
// both libraries in all directions. TestGolden keeps the bytes of both in testdata, where
// files are only ever added: go test -run TestGolden -update writes those that are not
// there. TestDifferences says what is not alike, and the tests of hostile_test.go what
// hamba/avro does to bytes that are not what they should be.
package avrointerop
