//go:build !sabotage_q

package sabotage

// IgnoreCursor has a relay go on where its outbox says, whatever its ledger has.
const IgnoreCursor = false
