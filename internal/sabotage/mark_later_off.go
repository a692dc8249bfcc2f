//go:build !sabotage_b

package sabotage

// MarkLater has the mark of a projection stored after its effects, and not with them.
const MarkLater = false
