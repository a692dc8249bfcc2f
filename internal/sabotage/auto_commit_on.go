//go:build sabotage_l

package sabotage

// AutoCommit has a consumer begin where its group has committed, which the client does by
// itself, apart from the effects.
const AutoCommit = true
