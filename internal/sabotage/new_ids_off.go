//go:build !sabotage_c

package sabotage

// NewIDs means that an append without an answer is sent again with new event ids.
const NewIDs = false
