//go:build unix && !aix && !solaris

package apache

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// program makes an executable file of shell lines.
func program(t *testing.T, dir, name, lines string) {
	t.Helper()
	// A child forked while the file is open for writing would make its execution fail with "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+lines), 0o755); err != nil {
		t.Fatal(err)
	}
}

const java17 = `echo 'openjdk version "17.0.15" 2025-04-15' >&2
`

// without returns an environment that finds nothing but the programs given, which are pairs of a name and lines.
func without(t *testing.T, programs ...string) env {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(programs); i += 2 {
		program(t, dir, programs[i], programs[i+1])
	}
	values := map[string]string{"PATH": dir}
	return env{getenv: func(name string) string { return values[name] }, cache: t.TempDir(), bases: []string{t.TempDir()}}
}

func TestWhatTheMachineLacks(t *testing.T) {
	t.Parallel()
	const java, maven, central = installJava + "; or set KAFKA_BROKERS", installMaven + "; or set KAFKA_BROKERS", needCentral + "; or set KAFKA_BROKERS"
	for name, c := range map[string]struct {
		programs []string
		want     string // DIR is PATH
	}{
		"no java":       {nil, "start kafka 4.4.0: no java on PATH: " + java},
		"old java":      {[]string{"java", "echo 'java version \"1.8.0_292\"' >&2\n"}, "start kafka 4.4.0: DIR/java is Java 8, and it takes 17: " + java},
		"broken java":   {[]string{"java", "echo no library >&2; exit 127\n"}, "start kafka 4.4.0: run DIR/java -version: exit status 127: no library: " + java},
		"something":     {[]string{"java", "echo tea\n"}, `start kafka 4.4.0: run DIR/java -version: "tea" names no version: ` + java},
		"no maven":      {[]string{"java", java17}, "start kafka 4.4.0: fetch org.apache.kafka:kafka_2.13:4.4.0: no mvn on PATH: " + maven},
		"no network":    {[]string{"java", java17, "mvn", "echo '[ERROR] Unknown host repo.maven.apache.org'; echo '[ERROR] more'; exit 1\n"}, "start kafka 4.4.0: fetch org.apache.kafka:kafka_2.13:4.4.0: run mvn: exit status 1: Unknown host repo.maven.apache.org: " + central},
		"maven is mute": {[]string{"java", java17, "mvn", "exit 0\n"}, "start kafka 4.4.0: fetch org.apache.kafka:kafka_2.13:4.4.0: run mvn: it copied no jar"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := without(t, c.programs...)
			_, err := Start(t.Context(), Config{env: e})
			if want := strings.ReplaceAll(c.want, "DIR", e.getenv("PATH")); err == nil || err.Error() != want {
				t.Errorf("got error %v\nwant %s", err, want)
			}
			if left, _ := filepath.Glob(filepath.Join(e.cache, "*.partial")); left != nil {
				t.Errorf("left: %v", left)
			}
		})
	}
}

// fetching is a mvn that wants the options that matter, and copies one jar.
const fetching = `[ "$*" = "-q -B -C dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=lib" ] || exit 1
case $(cat pom.xml) in *"<version>1.2</version></dependency>"*) ;; *) exit 1 ;; esac
/bin/mkdir lib && echo >lib/a.jar
`

func TestJarsAreFetchedOnce(t *testing.T) {
	t.Parallel()
	e := without(t, "mvn", strings.ReplaceAll(fetching, "cat", "/bin/cat"))
	first, err := e.jars(t.Context(), "tool", "g:a:1.2")
	if err != nil {
		t.Fatal(err)
	}
	if jars, err := filepath.Glob(first + ".jar"); err != nil || len(jars) != 1 || filepath.Dir(filepath.Dir(first)) != e.cache {
		t.Errorf("got class path %s with %v, %v, want one jar in %s", first, jars, err, e.cache)
	}
	program(t, e.getenv("PATH"), "mvn", "exit 1\n")
	if again, err := e.jars(t.Context(), "tool", "g:a:1.2"); err != nil || again != first {
		t.Errorf("got %s, %v, want %s without Maven", again, err, first)
	}
	if _, err := e.jars(t.Context(), "tool", "g:a:1.2", "g:b:1.2"); err == nil {
		t.Error("other coordinates have the same jars")
	}
	if _, err := e.jars(t.Context(), "tool", "g:a"); err == nil || err.Error() != `read coordinates: "g:a" is not group:artifact:version` {
		t.Errorf("got error %v, want one that names the coordinates", err)
	}
}

func TestPom(t *testing.T) {
	t.Parallel()
	got, err := pom(coordinates(Before))
	if err != nil {
		t.Fatal(err)
	}
	want := `<project xmlns="http://maven.apache.org/POM/4.0.0">
 <modelVersion>4.0.0</modelVersion>
 <groupId>annals</groupId><artifactId>jars</artifactId><version>1</version><packaging>pom</packaging>
 <dependencies>
  <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>3.9.2</version></dependency>
  <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-reload4j</artifactId><version>1.7.36</version></dependency>
 </dependencies>
</project>
`
	if diff := cmp.Diff(got, want); diff != "" {
		t.Errorf("pom (-got +want):\n%s", diff)
	}
}

// settings reads a file of properties.
func settings(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if _, twice := out[name]; twice || !ok {
			t.Errorf("line %q", line)
		}
		out[name] = value
	}
	return out
}

func TestProperties(t *testing.T) {
	t.Parallel()
	all := []ports{{1, 1, 2}, {3, 3, 4}, {5, 6, 7}}
	three := settings(t, properties(Config{Version: Newest, Brokers: 3, Protocol: plaintext, Properties: map[string]string{"a": "DIR/x", "min.insync.replicas": "1"}}, "/d", 2, all))
	for name, want := range map[string]string{
		"node.id":                               "2",
		"controller.quorum.voters":              "1@127.0.0.1:2,2@127.0.0.1:4,3@127.0.0.1:7",
		"listeners":                             "CLIENTS://127.0.0.1:3,CONTROLLER://127.0.0.1:4",
		"inter.broker.listener.name":            "CLIENTS",
		"log.dirs":                              "/d/2/data",
		"default.replication.factor":            "3",
		"transaction.state.log.min.isr":         "2",
		"share.coordinator.state.topic.min.isr": "2",
		"auto.create.topics.enable":             "false",
		"a":                                     "/d/x",
		"min.insync.replicas":                   "1",
	} {
		if three[name] != want {
			t.Errorf("%s is %q, want %q", name, three[name], want)
		}
	}
	tls := settings(t, properties(Config{Version: Before, Brokers: 1, Protocol: "SASL_SSL"}, "/d", 1, all[2:]))
	for name, want := range map[string]string{
		"listeners":                             "CLIENTS://127.0.0.1:5,CONTROLLER://127.0.0.1:7,INNER://127.0.0.1:6",
		"advertised.listeners":                  "CLIENTS://127.0.0.1:5,INNER://127.0.0.1:6",
		"listener.security.protocol.map":        "CLIENTS:SASL_SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":            "INNER",
		"offsets.topic.replication.factor":      "1",
		"min.insync.replicas":                   "1",
		"share.coordinator.state.topic.min.isr": "",
	} {
		if tls[name] != want {
			t.Errorf("%s is %q, want %q", name, tls[name], want)
		}
	}
}

func TestBrokersOfOthers(t *testing.T) {
	t.Parallel()
	e := env{getenv: func(name string) string { return map[string]string{"KAFKA_BROKERS": "k1:9092, k2:9092"}[name] }}
	c, err := Start(t.Context(), Config{env: e})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c.Seeds, []string{"k1:9092", "k2:9092"}); diff != "" || !c.External || c.Version != "" {
		t.Errorf("got %+v, want the brokers of KAFKA_BROKERS", c)
	}
	for want, err := range map[string]error{
		"kill broker 1: the cluster was not started here":    c.Kill(1),
		"stop broker 1: the cluster was not started here":    c.Stop(t.Context(), 1),
		"restart broker 1: the cluster was not started here": c.Restart(t.Context(), 1),
		"freeze broker 1: the cluster was not started here":  c.Freeze(1),
		"thaw broker 1: the cluster was not started here":    c.Thaw(1),
	} {
		if err == nil || err.Error() != want {
			t.Errorf("got error %v, want %s", err, want)
		}
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	e.getenv = func(string) string { return "k1" }
	if _, err := Start(t.Context(), Config{env: e}); err == nil || err.Error() != `start kafka: read KAFKA_BROKERS: "k1" is not host:port` {
		t.Errorf("got error %v, want one that names the entry", err)
	}
}

// The directory and all programs go when the owner does, however little has happened, and no program survives it.
func TestSupervisor(t *testing.T) {
	t.Parallel()
	s, err := supervise([]string{"/proc/none", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.run("1", "echo '	at frame'; echo said; exec sleep 1000\n")
	if err != nil {
		t.Fatal(err)
	}
	ended, err := s.run("2", "echo first; exit 3\n")
	if err != nil {
		t.Fatal(err)
	}
	<-ended.down
	if ended.status != "3" || s.log("2") != "first" {
		t.Errorf("status %s, log %q, want 3 and first", ended.status, s.log("2"))
	}
	if err := s.signal(ended, syscall.SIGKILL); err == nil || err.Error() != "it is down" {
		t.Errorf("got error %v for what is down", err)
	}
	if err := s.signal(r, syscall.SIGSTOP); err != nil {
		t.Error(err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(r.pid, 0); err == nil {
		t.Errorf("process %d is left", r.pid)
	}
	if _, err := os.Stat(s.dir); !os.IsNotExist(err) {
		t.Errorf("%s is left", s.dir)
	}
	if _, err := s.run("3", ""); err == nil {
		t.Error("a program was run by a supervisor that is gone")
	}
	if _, err := supervise([]string{"/proc/none"}); err == nil || err.Error() != "make a directory: can write to none of /proc/none" {
		t.Errorf("got error %v, want one that names the places", err)
	}
}
