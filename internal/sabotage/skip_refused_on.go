//go:build sabotage_f

package sabotage

// SkipRefused has a relay go on behind an event that the broker refuses for good.
const SkipRefused = true
