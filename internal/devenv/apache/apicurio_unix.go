//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

func startApicurio(ctx context.Context, e env) (*Apicurio, error) {
	java, err := e.java(ctx)
	if err != nil {
		return nil, err
	}
	lib, err := e.unpacked(ctx, "apicurio-"+ApicurioVersion, "io.apicurio:apicurio-registry-app:"+ApicurioVersion+":tar.gz:all")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for try := 1; ; try++ {
		r, err := attemptApicurio(ctx, e, java, filepath.Join(lib, "apicurio-registry-app-"+ApicurioVersion+"-runner.jar"))
		if err == nil || try == attempts || !strings.Contains(err.Error(), "already bound") {
			return r, err
		}
	}
}

func attemptApicurio(ctx context.Context, e env, java, jar string) (_ *Apicurio, err error) {
	super, err := supervise(e.bases)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, super.close())
		}
	}()
	free, err := freePorts(Config{Brokers: 1, Protocol: plaintext})
	if err != nil {
		return nil, err
	}
	base := "http://" + address(free[0].clients)
	// The marker is found by whoever looks for what is left; what it unpacks goes with the directory.
	p, err := super.run("apicurio", fmt.Sprintf("cd %s && exec %s -Dannals.kafka=%s -Djava.io.tmpdir=%s -Xmx512m -XX:TieredStopAtLevel=1"+
		` '-Dquarkus.log.category."io.quarkus".level=INFO' -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port=%d -jar %s`+"\n",
		quote(super.dir), quote(java), quote(super.dir), quote(super.dir), free[0].clients, quote(jar)))
	if err != nil {
		return nil, err
	}
	r := &Apicurio{URL: base + "/apis/ccompat/v7", Dir: super.dir, super: super}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := r.ask(ctx, base)
		if err == nil {
			return r, nil
		}
		select {
		case <-p.down:
			return nil, fmt.Errorf("status %s: %s", p.status, super.log("apicurio"))
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for it: %w (last: %w; log: %s)", ctx.Err(), err, super.log("apicurio"))
		case <-tick.C:
		}
	}
}

// ask returns nil if this registry answers. Its log says that the port is its own.
func (r *Apicurio) ask(ctx context.Context, base string) error {
	text, err := os.ReadFile(filepath.Join(r.Dir, "apicurio", "log"))
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "Listening on: "+base) {
		return errors.New("it does not listen yet")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL+"/subjects", nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if got := strings.TrimSpace(string(body)); resp.StatusCode != http.StatusOK || got != "[]" {
		return fmt.Errorf("got %d %.200q for the list of subjects, want none", resp.StatusCode, got)
	}
	return nil
}
