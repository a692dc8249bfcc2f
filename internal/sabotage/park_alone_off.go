//go:build !sabotage_h

package sabotage

// ParkAlone means that only the event that has failed is parked, and not what comes behind it.
const ParkAlone = false
