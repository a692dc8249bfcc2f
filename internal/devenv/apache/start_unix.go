//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// startTimeout bounds what takes seconds; the rest is for machines under load.
const startTimeout = 2 * time.Minute

// attempts is how often a start is tried: somebody else may take a port between its choice and its use.
const attempts = 3

// nodes are brokers that were started here.
type nodes struct {
	super  *supervisor
	id     string // of the cluster
	ports  []ports
	script []string // that runs a broker

	mu   sync.Mutex
	runs []*run // guarded by mu
}

func start(ctx context.Context, cfg Config) (*Cluster, error) {
	java, err := cfg.env.java(ctx)
	if err != nil {
		return nil, err
	}
	classpath, err := cfg.env.jars(ctx, "kafka-"+cfg.Version, coordinates(cfg.Version)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for try := 1; ; try++ {
		c, err := attempt(ctx, cfg, java, classpath)
		if err == nil || try == attempts || !strings.Contains(err.Error(), "Address already in use") {
			return c, err
		}
	}
}

func attempt(ctx context.Context, cfg Config, java, classpath string) (_ *Cluster, err error) {
	super, err := supervise(cfg.env.bases)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, super.close())
		}
	}()
	id := make([]byte, 16)
	rand.Read(id) // never fails
	n := &nodes{super: super, id: base64.RawURLEncoding.EncodeToString(id), runs: make([]*run, cfg.Brokers)}
	if strings.HasPrefix(n.id, "-") { // the tool would take it for an option
		n.id = "A" + n.id[1:]
	}
	if n.ports, err = freePorts(cfg); err != nil {
		return nil, err
	}
	if err := n.prepare(ctx, cfg, java, classpath); err != nil {
		return nil, err
	}
	c := &Cluster{Version: cfg.Version, Dir: super.dir, nodes: n}
	for i := range n.ports {
		c.Seeds = append(c.Seeds, address(n.ports[i].clients))
		c.Inner = append(c.Inner, address(n.ports[i].inner))
		if n.runs[i], err = super.run(strconv.Itoa(i+1), n.script[i]); err != nil {
			return nil, err
		}
	}
	for i := range n.ports {
		if err := n.ready(ctx, i+1, cfg.Brokers); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// freePorts returns ports that nobody listened on a moment ago.
func freePorts(cfg Config) ([]ports, error) {
	var (
		all  []ports
		held []net.Listener
		bad  error
	)
	defer func() {
		for _, l := range held {
			_ = l.Close()
		}
	}()
	free := func() int {
		l, err := net.Listen("tcp4", "127.0.0.1:0") //nolint:noctx // binding a loopback port does not wait
		if err != nil {
			bad = fmt.Errorf("find a free port: %w", err)
			return 0
		}
		// Held until all are known, or the kernel could name the same port twice.
		held = append(held, l)
		return l.Addr().(*net.TCPAddr).Port
	}
	for range cfg.Brokers {
		p := ports{clients: free(), controller: free()}
		p.inner = p.clients
		if cfg.Protocol != plaintext {
			p.inner = free()
		}
		all = append(all, p)
	}
	return all, bad
}

// prepare writes what the brokers read, and formats their storage.
func (n *nodes) prepare(ctx context.Context, cfg Config, java, classpath string) error {
	dir := n.super.dir
	name, text, property := logging(cfg.Version)
	files := map[string][]byte{name: []byte(text)}
	for name, data := range cfg.Files {
		files[name] = data
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	// Found by whoever looks for what is left of a cluster.
	begin := fmt.Sprintf("exec %s -Dannals.kafka=%s -D%s=file:%s", quote(java), quote(dir), property, quote(filepath.Join(dir, name)))
	var formats []*run
	for i := range n.ports {
		node := strconv.Itoa(i + 1)
		file := filepath.Join(dir, node+".properties")
		if err := os.WriteFile(file, []byte(properties(cfg, dir, i+1, n.ports)), 0o600); err != nil {
			return err
		}
		n.script = append(n.script, fmt.Sprintf("%s -Xms128m -Xmx384m -XX:+UseG1GC -cp %s kafka.Kafka %s\n",
			begin, quote(classpath), quote(file)))
		format := fmt.Sprintf("%s -Xmx128m -XX:TieredStopAtLevel=1 -cp %s kafka.tools.StorageTool format -t %s -c %s -g",
			begin, quote(classpath), n.id, quote(file))
		for _, arg := range cfg.Format {
			format += " " + quote(arg)
		}
		r, err := n.super.run("format-"+node, format+"\n")
		if err != nil {
			return err
		}
		formats = append(formats, r)
	}
	for i, r := range formats {
		select {
		case <-r.down:
		case <-ctx.Done():
			return fmt.Errorf("format the storage of broker %d: %w", i+1, ctx.Err())
		}
		if r.status != "0" {
			return fmt.Errorf("format the storage of broker %d: status %s: %s", i+1, r.status, n.super.log("format-"+strconv.Itoa(i+1)))
		}
	}
	return nil
}

// quote makes one word of sh.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func (n *nodes) current(node int) *run {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.runs[node-1]
}

func (n *nodes) kill(node int) error {
	r := n.current(node)
	if err := n.super.signal(r, syscall.SIGKILL); err != nil {
		return err
	}
	<-r.down
	return nil
}

func (n *nodes) stop(ctx context.Context, node int) error {
	r := n.current(node)
	if err := n.super.signal(r, syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-r.down:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *nodes) freeze(node int) error { return n.super.signal(n.current(node), syscall.SIGSTOP) }

func (n *nodes) thaw(node int) error { return n.super.signal(n.current(node), syscall.SIGCONT) }

func (n *nodes) restart(ctx context.Context, node int) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.runs[node-1].down:
	default:
		return errors.New("it is up")
	}
	r, err := n.super.run(strconv.Itoa(node), n.script[node-1])
	if err != nil {
		return err
	}
	n.runs[node-1] = r
	return n.ready(ctx, node, 1)
}
