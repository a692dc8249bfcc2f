//go:build sabotage_k

package sabotage

// NoLineage means that a checkpoint is used with whatever history the store has.
const NoLineage = true
