//go:build unix && !aix && !solaris

package apache

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// minJava is the oldest that brokers of 4.x, and Apicurio Registry, run with.
const minJava = 17

const installJava = "install a Java runtime 17 or newer (Debian: apt-get install openjdk-17-jre-headless)"

// Java returns the path of a java that is 17 or newer: that in JAVA_HOME if it is set, else that on PATH.
func Java(ctx context.Context) (string, error) { return env{}.orDefault().java(ctx) }

func (e env) java(ctx context.Context) (string, error) {
	path := filepath.Join(e.getenv("JAVA_HOME"), "bin", "java")
	if e.getenv("JAVA_HOME") == "" {
		if path = e.find("java"); path == "" {
			return "", fmt.Errorf("no java on PATH: %s", installJava+e.instead)
		}
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run %s -version: %w: %s: %s", path, err, lastLine(string(out)), installJava+e.instead)
	}
	version, err := javaMajor(string(out))
	if err != nil {
		return "", fmt.Errorf("run %s -version: %w: %s", path, err, installJava+e.instead)
	}
	if version < minJava {
		return "", fmt.Errorf("%s is Java %d, and it takes %d: %s", path, version, minJava, installJava+e.instead)
	}
	return path, nil
}

// find returns the path of a program on PATH, empty when there is none.
func (e env) find(program string) string {
	for _, dir := range filepath.SplitList(e.getenv("PATH")) {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); filepath.IsAbs(dir) && err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path
		}
	}
	return ""
}

var javaVersion = regexp.MustCompile(`version "(?:1\.)?(\d+)`)

// javaMajor reads what java -version prints. Before 9 the version was 1.8.0_292.
func javaMajor(text string) (int, error) {
	m := javaVersion.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q names no version", lastLine(text))
	}
	return strconv.Atoi(m[1])
}

// lastLine returns the last line that is not empty.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
