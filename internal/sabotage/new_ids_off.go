//go:build !sabotage_c

package sabotage

// NewIDs: an append without an answer is sent again with new event ids.
const NewIDs = false
