//go:build sabotage_j

package sabotage

// DropConflicts means that an append inserts with ON CONFLICT DO NOTHING, and counts on that.
const DropConflicts = true
