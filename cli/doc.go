// Package cli holds the commands of annals: migrate a database and give roles
// their rights, look for what is wrong, look at streams and at the log, export and
// import it. The program cmd/annals is ten lines over it.
//
// # Usage
//
// New returns the command. Execute runs it and returns the exit code. A service
// that has its own pool, and its own way to configure it, adds the same commands
// to its binary:
//
//	root.AddCommand(cli.New(cli.WithPool(openPool), cli.WithSchema("orders")))
//	os.Exit(cli.Execute(ctx, root))
//
// Commands: migrate, roles, doctor, status, parked ls, parked show, parked retry,
// parked discard, parked assign, parked note, parked audit, relay ls, relay adopt,
// relay refill, relay replay, rewind, verify, schema ls, schema check, schema register,
// schema gen, schema serve, stream ls, stream show, log, export, import, version.
// Without WithPool the database is the one of --database-url, else of the environment
// variable DATABASE_URL.
//
// # Output
//
// Results go to standard output, everything else to standard error.
//
// The table is for people and may change. On a terminal its last column is cut
// to the width, and a cut text ends in an ellipsis; elsewhere nothing is cut.
// What comes from data has its control, escape, format and bidirectional
// characters written as escapes such as \x1b and \u202e, whether it goes to a
// terminal or not.
//
// --output json is for programs: one object a line, keys only ever added.
// Positions and versions are JSON numbers: positions end at 2^48-1 and no stream
// has more versions than the log has positions, so every JSON reader holds them
// exactly. A payload of application/json is under payload as it was stored, but
// for white space; any other, and one that is not valid JSON, is in base64 under
// payload_base64. Characters that a terminal could act on are written as \u
// escapes, which a JSON reader undoes.
//
// # Failure
//
// An error is one line, "verb thing: cause". Exit codes: 0 for success, 1 for an
// error, and for findings of doctor, verify and schema check, 2 for a wrong use, such as a flag out of its bounds, 3 if status finds a reader
// that needs somebody. A reader that has
// closed the pipe, as head does, ends a command quietly.
//
// The connection string and its password are in no error and no output, and neither
// are the password and token of a schema registry; a connection string or URL whose
// parts cannot be told apart for sure is refused.
//
// Commands that read check first that the schema is migrated; an error that says
// it is not matches postgres.ErrNotMigrated. --timeout bounds a command as a
// whole; with log --follow it bounds each read, with export and import each page
// or chunk, with schema serve the start. Long commands tell standard error how far they have come: a bar on a
// terminal, elsewhere a line every ten seconds.
package cli
