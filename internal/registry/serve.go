package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// grace is how long requests in flight have to end.
const grace = 5 * time.Second

// Serve answers HTTP requests on a listener until ctx ends, and closes the listener. Requests
// in flight then have 5 s to end. It returns nil when ctx has ended, and else what the listener
// has failed with; none of its goroutines outlives it. It has no TLS.
//
// A client has 5 s to send the head of a request, which is 64 KiB long at most, and 10 s for
// all of it; it gets its answer within 30 s, or none. Requests that change something
// for a page of another site in a browser get 403: without users, a browser on this machine
// could do as much as its owner.
func (r *Registry) Serve(ctx context.Context, l net.Listener) error {
	server := http.Server{
		Handler:           sameOrigin(r),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       60 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		_ = server.Close() // the connections that it has
		return fmt.Errorf("serve schemas: %w", err)
	case <-ctx.Done():
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if err := server.Shutdown(stopping); err != nil {
		_ = server.Close() // they had their time
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve schemas: %w", err)
	}
	return nil
}

// sameOrigin refuses changes that a browser asks for on behalf of another site.
func sameOrigin(h http.Handler) http.Handler {
	p := http.NewCrossOriginProtection()
	p.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, nil, refuse(http.StatusForbidden, http.StatusForbidden, "a page of another site may not change schemas"))
	}))
	return p.Handler(h)
}
