package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/annals-go/annals/postgres"
)

// pollInterval is how late log --follow may see an event.
const pollInterval = 200 * time.Millisecond

// pool returns a pool that has reached the database, and what ends its use.
func (a *app) pool(ctx context.Context) (*pgxpool.Pool, func(), error) {
	pool, done, err := a.openPool(ctx)
	if err != nil {
		return nil, nil, err
	}
	config := pool.Config()
	a.keepSecret(config.ConnString())
	if ambiguous(config.ConnString()) { // that of a caller; ours was looked at before
		done()
		return nil, nil, fmt.Errorf("open pool: %w", errAmbiguous)
	}
	a.keepPassword(config)
	if err := pool.Ping(ctx); err != nil {
		done()
		if !errors.As(err, new(*pgconn.ConnectError)) { // which report gives these words
			err = fmt.Errorf("connect to database: %w", err)
		}
		return nil, nil, err
	}
	return pool, done, nil
}

// keepSecret takes no shorter texts: to mask each "a" of a message hides nothing.
func (a *app) keepSecret(s string) {
	if len(s) >= 4 {
		a.secrets = append(a.secrets, s)
	}
}

// keepPassword takes no password that is the name of something that is no secret.
func (a *app) keepPassword(config *pgxpool.Config) {
	if p := config.ConnConfig.Password; p != config.ConnConfig.User && p != config.ConnConfig.Database && p != config.ConnConfig.Host {
		a.keepSecret(p)
	}
}

func (a *app) openPool(ctx context.Context) (*pgxpool.Pool, func(), error) {
	if a.open != nil {
		pool, err := a.open(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("open pool: %w", err)
		}
		return pool, func() {}, nil
	}
	url := a.databaseURL
	if url == "" {
		url, _ = a.lookupEnv("DATABASE_URL")
	}
	if url == "" {
		return nil, nil, usage(errNoDatabase)
	}
	return a.openURL(ctx, url)
}

// openURL opens a pool of the commands' own.
func (a *app) openURL(ctx context.Context, url string) (*pgxpool.Pool, func(), error) {
	a.keepSecret(url)
	if ambiguous(url) {
		return nil, nil, usage(errAmbiguous)
	}
	config, err := pgxpool.ParseConfig(url)
	if err != nil || !plainKeys(config) {
		return nil, nil, usage(errUnreadable)
	}
	config.MaxConns, config.MinConns, config.MinIdleConns = 2, 0, 0
	if config.ConnConfig.RuntimeParams["application_name"] == "" {
		config.ConnConfig.RuntimeParams["application_name"] = "annals"
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	return pool, pool.Close, nil
}

// ambiguous reports a URL whose user or password may have gone elsewhere: with
// postgres://app:12/34@db/shop the host is app and the database is 34@db/shop,
// and errors name hosts and databases.
func ambiguous(url string) bool {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || scheme != "postgres" && scheme != "postgresql" {
		return false
	}
	credentials, rest, ok := strings.Cut(rest, "@")
	return ok && (strings.Contains(rest, "@") || strings.ContainsAny(credentials, "/?"))
}

// plainKeys reports whether all settings that go to the server have names that
// can be meant: in password=a b host=db, without quotes, the second is "b host".
func plainKeys(config *pgxpool.Config) bool {
	for key := range config.ConnConfig.RuntimeParams {
		if strings.ContainsFunc(key, func(r rune) bool { return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			return false
		}
	}
	return true
}

// store returns the event store, and what ends its use, once it is known to be
// migrated.
func (a *app) store(ctx context.Context) (*postgres.DB, func(), error) {
	pool, done, err := a.pool(ctx)
	if err != nil {
		return nil, nil, err
	}
	db := postgres.New(pool, postgres.WithSchema(string(a.schema)), postgres.WithPollInterval(pollInterval))
	if err := db.Check(ctx); err != nil {
		done()
		return nil, nil, err
	}
	return db, done, nil
}
