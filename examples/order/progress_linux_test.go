package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"
)

func TestBarsOfAnImport(t *testing.T) {
	s := openShop(t)
	none := s.orderFile("none.csv")
	input := s.orderFile("orders.csv", row("1", 1, "1", "Malta"), row("C2", -1, "1", "Malta"), row("3", 1, "1", "Malta"))
	for _, tt := range []struct {
		what, input                  string
		appended, relayed, projected int
	}{
		{"no line at all", none, 0, 0, 0},
		{"first run", input, 3, 3, 3},
		{"second run", input, 3, 3, 0},
	} {
		term := openTerminal(t)
		cmd := command()
		cmd.SetArgs(s.args(tt.input))
		cmd.SetOut(io.Discard)
		cmd.SetErr(term.File)
		if err := cmd.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := term.close()
		for name, n := range map[string]int{"appended": tt.appended, "relayed": tt.relayed, "projected": tt.projected} {
			want := regexp.MustCompile(fmt.Sprintf(`%s +%d / %d .* done`, name, n, n))
			if !want.MatchString(got) {
				t.Errorf("%s: no bar that matches %s on the screen:\n%q", tt.what, want, got)
			}
		}
		if strings.Contains(got, "invoices (") {
			t.Errorf("%s: plain lines on the screen:\n%q", tt.what, got)
		}
	}
}

func TestBarsShowRateLagAndETA(t *testing.T) {
	t.Parallel()
	term := openTerminal(t)
	m := newMeter()
	m.appended.add(8, 6)
	m.relayed.add(7, 0)
	m.projected.add(3, 0)
	stop := m.show(t.Context(), term.File, 10)
	for _, want := range []*regexp.Regexp{
		regexp.MustCompile(`appended +6 / 10 \[=+>?-+\] +\d+/s +lag 4 +\d+s`),
		regexp.MustCompile(`relayed +7 / 12 \[=+>?-+\] +\d+/s +lag 1 +\d+s`),
		regexp.MustCompile(`projected +3 / 12 \[=+>?-+\] +\d+/s +lag 5 +\d+s`),
	} {
		term.await(want)
	}
	m.appended.add(5, 4)
	m.relayed.add(6, 0)
	m.projected.add(10, 0)
	stop(true)
	last := term.close()
	for _, want := range []string{`appended +10 / 10 \[=+\].* lag 0 +done`, `relayed +13 / 13 \[=+\].* lag 0 +done`, `projected +13 / 13 \[=+\].* lag 0 +done`} {
		if !regexp.MustCompile(want).MatchString(last) {
			t.Errorf("no bar that matches %s on the screen:\n%q", want, last)
		}
	}
}

func TestBarsThatAreCutShort(t *testing.T) {
	t.Parallel()
	term := openTerminal(t)
	m := newMeter()
	stop := m.show(t.Context(), term.File, 5)
	m.appended.add(5, 5) // all of it, and nothing projected
	stop(false)
	if got := term.close(); strings.Contains(got, "done") {
		t.Errorf("bars that look complete:\n%q", got)
	}
}

// terminal is a pseudo terminal that keeps all that is written to it.
type terminal struct {
	*os.File
	t       *testing.T
	drained chan struct{}

	mu    sync.Mutex
	shown []byte
}

func openTerminal(t *testing.T) *terminal {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	var number, locked int32
	ioctl(t, master, syscall.TIOCSPTLCK, unsafe.Pointer(&locked))
	ioctl(t, master, syscall.TIOCGPTN, unsafe.Pointer(&number))
	size := [4]uint16{24, 160}
	ioctl(t, master, syscall.TIOCSWINSZ, unsafe.Pointer(&size))
	file, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	term := &terminal{File: file, t: t, drained: make(chan struct{})}
	go term.drain(master)
	return term
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		t.Fatalf("ioctl %#x: %v", request, errno)
	}
}

// drain ends when the terminal is closed.
func (term *terminal) drain(master *os.File) {
	defer close(term.drained)
	buf := make([]byte, 4096)
	for {
		n, err := master.Read(buf)
		if err != nil {
			return
		}
		term.mu.Lock()
		term.shown = append(term.shown, buf[:n]...)
		term.mu.Unlock()
	}
}

func (term *terminal) screen() string {
	term.mu.Lock()
	defer term.mu.Unlock()
	return string(term.shown)
}

func (term *terminal) await(want *regexp.Regexp) {
	term.t.Helper()
	eventually(term.t, "the screen shows "+want.String(), func() bool { return want.MatchString(term.screen()) })
}

// close returns all that was shown.
func (term *terminal) close() string {
	term.t.Helper()
	if err := term.Close(); err != nil {
		term.t.Error(err)
	}
	<-term.drained
	return term.screen()
}
