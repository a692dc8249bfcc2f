//go:build !sabotage_n

package sabotage

// NoCap has work that failed tried again at once, as often as it fails.
const NoCap = false
