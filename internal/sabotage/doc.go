// Package sabotage holds the switches of builds that are broken on purpose. Each
// is a constant, false unless the build has its tag, so that the compiler leaves
// the broken branch out of every other build. The fault tests must turn red with
// each of them: make sabotage builds them one by one and wants just that.
//
// A switch is read at the one place where the mistake would be made.
package sabotage
