//go:build !sabotage_m

package sabotage

// NoDeadline: calls have no deadline of their own.
const NoDeadline = false
