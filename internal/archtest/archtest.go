// Package archtest holds the tests that fail when a package imports what its
// layer must not. It has no code of its own.
package archtest
