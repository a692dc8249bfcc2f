//go:build !sabotage_s

package sabotage

// UnboundedReads: reads hold everything that there is in memory.
const UnboundedReads = false
