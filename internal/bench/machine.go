package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// machine says what the figures were measured on.
type machine struct {
	CPU      string            `json:"cpu"`
	CPUs     int               `json:"cpus"`
	System   string            `json:"system"`
	Go       string            `json:"go"`
	Postgres string            `json:"postgres"`
	Settings map[string]string `json:"settings"`
	Flush    time.Duration     `json:"flush_ns,omitempty"` // median time of a write of 8 KiB and fsync
	PGX      string            `json:"pgx"`
	Commit   string            `json:"commit,omitempty"`
}

// describe looks at this machine and at the server. Dir is on the disk of the
// server, or empty.
func describe(ctx context.Context, url, dir, commit string) (machine, error) {
	m := machine{
		CPU: cpu(), CPUs: runtime.NumCPU(), System: runtime.GOOS + "/" + runtime.GOARCH, Go: runtime.Version(),
		Settings: map[string]string{}, Flush: flush(dir), PGX: version("github.com/jackc/pgx/v5"), Commit: commit,
	}
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return m, fmt.Errorf("describe the server: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	if err := conn.QueryRow(ctx, "SHOW server_version").Scan(&m.Postgres); err != nil {
		return m, fmt.Errorf("describe the server: %w", err)
	}
	for _, name := range namedSettings {
		var value *string // NULL: this version has none of that name
		if err := conn.QueryRow(ctx, "SELECT current_setting($1, true)", name).Scan(&value); err != nil {
			return m, fmt.Errorf("describe the server: %s: %w", name, err)
		}
		if value != nil {
			m.Settings[name] = *value
		}
	}
	return m, nil
}

func cpu() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown CPU"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown CPU"
}

func version(path string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == path {
			return m.Version
		}
	}
	return "unknown"
}

// flush is how long the disk takes to make a page durable, which is most of a
// commit. It is 0 where nothing can be written.
func flush(dir string) time.Duration {
	if dir == "" {
		return 0
	}
	f, err := os.CreateTemp(dir, "flush-")
	if err != nil {
		return 0
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	var all []time.Duration
	page := make([]byte, 8<<10)
	for range 101 {
		start := time.Now()
		if _, err := f.WriteAt(page, 0); err != nil {
			return 0
		}
		if err := f.Sync(); err != nil {
			return 0
		}
		all = append(all, time.Since(start))
	}
	return percentile(all, 0.5)
}
