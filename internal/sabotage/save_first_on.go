//go:build sabotage_e

package sabotage

// SaveFirst has a relay move its marks before the broker has acknowledged the batch.
const SaveFirst = true
