// Package crash has points at which a test can have the process end, as if by
// kill -9. They do nothing, and cost nothing, unless the build has the tag
// crashpoints: then the variable ANNALS_CRASH=NAME:N ends the process when it
// comes to the point NAME for the N-th time.
//
// A point is named by its package and what has happened, such as
// "postgres.append.sent".
package crash
