//go:build sabotage_s

package sabotage

// UnboundedReads means that reads hold everything that there is in memory.
const UnboundedReads = true
