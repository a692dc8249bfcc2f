// Package foreign holds the tests that a program which is not ours, on the Kafka client and
// the Avro library of Apache, reads what a relay has published, and is read. It has no code
// of its own; testdata/Foreign.java is that program.
package foreign
