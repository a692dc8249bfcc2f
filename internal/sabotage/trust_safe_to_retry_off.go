//go:build !sabotage_d

package sabotage

// TrustSafeToRetry means that pgconn.SafeToRetry decides whether an append without an answer was stored.
const TrustSafeToRetry = false
