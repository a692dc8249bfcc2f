// Package wireproxy is a proxy in front of Postgres, for tests. It reads the
// protocol, so that a script can disturb a connection exactly where a
// transaction commits.
//
// # Usage
//
//	p, err := wireproxy.Start("127.0.0.1:5432")
//	defer p.Close()
//	p.Script(func(c wireproxy.Commit) wireproxy.Action {
//		if c.Number == 3 {
//			return wireproxy.Action{Kind: wireproxy.CutAfter}
//		}
//		return wireproxy.Action{}
//	})
//	// connect to p.Addr()
//
// The commit point is a simple query COMMIT, or, outside of a transaction block,
// the Sync or the simple query that ends an append of Annals. TLS is refused.
//
// # Testing
//
// No goroutine outlives Close.
package wireproxy
