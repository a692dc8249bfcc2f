package main

import (
	"context"

	"github.com/annals-go/annals/internal/devenv"
)

// startServer starts a server for the benchmark alone, as durable as in
// production. The settings below are for all sides alike; the others are those
// of PostgreSQL.
func startServer(ctx context.Context) (*devenv.Server, error) {
	return devenv.Postgres(ctx, devenv.WithOwnServer(),
		devenv.WithSetting("shared_buffers", "1GB"),
		devenv.WithSetting("max_connections", "400"),
		// A checkpoint in one side's turn would be that side's bad luck.
		devenv.WithSetting("max_wal_size", "8GB"),
		devenv.WithSetting("checkpoint_timeout", "30min"),
	)
}

// namedSettings are those of the server that the output states.
var namedSettings = []string{
	"shared_buffers", "max_connections", "fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "wal_level",
	"max_wal_size", "checkpoint_timeout", "autovacuum", "jit", "server_encoding", "lc_collate",
}
