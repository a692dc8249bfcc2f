//go:build !sabotage_m

package sabotage

// NoDeadline means that calls have no deadline of their own.
const NoDeadline = false
