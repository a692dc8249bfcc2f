//go:build unix && !aix && !solaris

package devenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

func TestPostgresAnswers(t *testing.T) {
	t.Parallel()
	server := run(t)

	got := map[string]string{}
	for _, name := range []string{
		"listen_addresses", "unix_socket_directories", "max_connections", "server_encoding", "lc_messages",
		"TimeZone", "password_encryption", "fsync",
	} {
		got[name] = query(t, server.URL, fmt.Sprintf("SELECT current_setting('%s')", name))
	}
	want := map[string]string{
		"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "max_connections": "300",
		"server_encoding": "UTF8", "lc_messages": "C", "TimeZone": "UTC", "password_encryption": "scram-sha-256",
		"fsync": "off",
	}
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("settings (-got +want):\n%s", diff)
	}
	if server.External {
		t.Error("got External = true, want false")
	}
}

func TestPostgresIsDurableByDefault(t *testing.T) {
	t.Parallel()
	server, err := Postgres(t.Context(), hermetic(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	if got := query(t, server.URL, "SELECT current_setting('fsync')"); got != "on" {
		t.Errorf("got fsync = %s, want on", got)
	}
}

func TestThrowAwayPassesOverDatabaseURL(t *testing.T) {
	t.Parallel()
	server := run(t, hermetic(map[string]string{"DATABASE_URL": "postgres://127.0.0.1:1/none"}), ThrowAway(),
		WithSetting("max_prepared_transactions", "3"), WithSetting("max_connections", "21"))
	if server.External {
		t.Error("got External = true, want false")
	}
	got := query(t, server.URL, "SELECT current_setting('max_prepared_transactions') || ' ' || current_setting('max_connections')")
	if want := "3 21"; got != want {
		t.Errorf("got settings %s, want %s", got, want)
	}
}

func TestPostgresWantsThePassword(t *testing.T) {
	t.Parallel()
	server := run(t)
	cfg, err := pgx.ParseConfig(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Password = "guess"
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil {
		conn.Close(context.Background())
		t.Fatal("connected with a wrong password")
	}
	if want := "28P01"; !strings.Contains(err.Error(), want) {
		t.Errorf("got error %q, want SQLSTATE %s", err, want)
	}
}

func TestServersAtTheSameTime(t *testing.T) {
	t.Parallel()
	servers := make([]*Server, 2)
	var wg sync.WaitGroup
	for i := range servers {
		wg.Go(func() {
			server, err := Postgres(t.Context(), hermetic(nil), WithoutFsync())
			if err != nil {
				t.Error(err)
				return
			}
			servers[i] = server
		})
	}
	wg.Wait()
	for _, server := range servers {
		if server == nil {
			continue
		}
		defer server.Close()
		got := query(t, server.URL, "SELECT current_setting('data_directory')")
		if want := filepath.Join(server.Dir, "data"); got != want {
			t.Errorf("got data directory %s, want %s", got, want)
		}
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	server, err := Postgres(t.Context(), hermetic(nil), WithoutFsync())
	if err != nil {
		t.Fatal(err)
	}
	if len(left(t, server.Dir)) == 0 {
		t.Error("found no trace of a running server; the search is broken")
	}
	conn, err := pgx.Connect(t.Context(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := server.Close(); err != nil {
				t.Error(err)
			}
			if got := left(t, server.Dir); got != nil {
				t.Errorf("left after Close: %q", got)
			}
		})
	}
	wg.Wait()
}

func TestTakenPort(t *testing.T) {
	t.Parallel()
	other := run(t)
	silent, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	free, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := pgx.ParseConfig(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	ports := append([]int{int(cfg.Port), silent.Addr().(*net.TCPAddr).Port}, free...)

	var tried []string
	server := run(t,
		optionFunc(func(c *config) { c.ports = func() ([]int, error) { return ports, nil } }),
		onEvent(func(event string) {
			if port, ok := strings.CutPrefix(event, "port "); ok {
				tried = append(tried, port)
			}
		}))
	if got := query(t, server.URL, "SELECT current_setting('data_directory')"); got != filepath.Join(server.Dir, "data") {
		t.Errorf("got data directory %s, want that of %s", got, server.Dir)
	}
	if len(tried) < 3 || tried[0] != strconv.Itoa(ports[0]) || tried[1] != strconv.Itoa(ports[1]) {
		t.Errorf("got ports %v tried, want %v and more", tried, ports[:2])
	}

	_, err = Postgres(t.Context(), hermetic(nil), optionFunc(func(c *config) {
		c.ports = func() ([]int, error) { return ports[:2], nil }
	}))
	if err == nil {
		t.Fatal("started on a taken port")
	}
	if want := "start postgres: run server: "; !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %q, want prefix %q", err, want)
	}
}

func TestStartReportsTheLog(t *testing.T) {
	t.Parallel()
	var dir string
	_, err := Postgres(t.Context(), hermetic(nil),
		optionFunc(func(c *config) { c.settings = append(c.settings, "shared_buffers=plenty") }),
		onEvent(func(event string) {
			if d, ok := strings.CutPrefix(event, "dir "); ok {
				dir = d
			}
		}))
	if err == nil {
		t.Fatal("started with a broken setting")
	}
	got := err.Error()
	if want := `start postgres: run server: `; !strings.HasPrefix(got, want) {
		t.Errorf("got error %q, want prefix %q", got, want)
	}
	if want := `invalid value for parameter "shared_buffers": "plenty"`; !strings.Contains(got, want) {
		t.Errorf("got error %q, want it to contain %q", got, want)
	}
	if strings.Contains(got, "\n") {
		t.Errorf("got error %q, want one line", got)
	}
	if got := left(t, dir); got != nil {
		t.Errorf("left after a failed start: %q", got)
	}
}

func TestStartHonoursContext(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"dir ", "port "} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithCancel(t.Context())
			var dir string
			_, err := Postgres(ctx, hermetic(nil), onEvent(func(event string) {
				if d, ok := strings.CutPrefix(event, "dir "); ok {
					dir = d
				}
				if strings.HasPrefix(event, at) {
					cancel()
				}
			}))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got error %v, want context.Canceled", err)
			}
			if want := "start postgres: wait for the first answer: context canceled"; err != nil &&
				!strings.HasPrefix(err.Error(), want) {
				t.Errorf("got error %q, want prefix %q", err, want)
			}
			if dir == "" {
				t.Fatal("saw no directory")
			}
			if got := left(t, dir); got != nil {
				t.Errorf("left after cancel: %q", got)
			}
		})
	}
}

func TestDirectoryTheAccountCanWrite(t *testing.T) {
	t.Parallel()
	open := openDir(t)
	if err := os.Chmod(open, 0o1777); err != nil {
		t.Fatal(err)
	}
	missing := filepath.Join(open, "missing")
	closed := []string{missing}
	if os.Geteuid() == 0 {
		closed = append(closed, t.TempDir()) // below a directory of root with mode 0700
	}
	bases := append(slices.Clip(closed), open)
	server := run(t, optionFunc(func(c *config) { c.bases = bases }))
	if got := filepath.Dir(server.Dir); got != open {
		t.Errorf("got directory in %s, want %s", got, open)
	}

	_, err := Postgres(t.Context(), hermetic(nil), optionFunc(func(c *config) { c.bases = closed }))
	want := " can write to none of " + strings.Join(closed, ", ")
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got error %v, want suffix %q", err, want)
	}
}

func TestExternalServer(t *testing.T) {
	t.Parallel()
	const url = "postgres://someone@db.example:5433/orders"
	server, err := Postgres(t.Context(), hermetic(map[string]string{"DATABASE_URL": url}))
	if err != nil {
		t.Fatal(err)
	}
	if server.URL != url || !server.External || server.Dir != "" {
		t.Errorf("got %+v, want the URL %s and External", server, url)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}

	_, err = Postgres(t.Context(), hermetic(map[string]string{"DATABASE_URL": "postgres://host:port/"}))
	if want := "start postgres: read DATABASE_URL: "; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got error %v, want prefix %q", err, want)
	}
}
