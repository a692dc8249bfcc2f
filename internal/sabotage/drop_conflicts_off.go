//go:build !sabotage_j

package sabotage

// DropConflicts: an append inserts with ON CONFLICT DO NOTHING, and counts on that.
const DropConflicts = false
