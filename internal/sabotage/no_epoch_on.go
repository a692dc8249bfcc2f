//go:build sabotage_g

package sabotage

// NoEpoch has a checkpoint written whatever term or revision the writer goes by.
const NoEpoch = true
