package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

func TestBarsOnATerminal(t *testing.T) {
	s := openShop(t)
	input := s.orderFile("orders.csv", row("1", 1, "1", "Malta"), row("C2", -1, "1", "Malta"), row("3", 1, "1", "Malta"))
	terminal, screen := openTerminal(t)
	cmd := command()
	cmd.SetArgs(s.args(input))
	cmd.SetOut(io.Discard)
	cmd.SetErr(terminal)
	if err := cmd.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := screen()
	for _, want := range []string{
		`appended +3 / 3 \[=+\].* \d+/s lag 0 done`,
		`relayed +3 / 3 \[=+\].* \d+/s lag 0 done`,
		`projected +3 / 3 \[=+\].* \d+/s lag 0 done`,
	} {
		if !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("no bar that matches %s on the screen:\n%q", want, got)
		}
	}
	if strings.Contains(got, "invoices (") {
		t.Errorf("plain lines on the screen:\n%q", got)
	}
}

func TestBarsThatAreCutShort(t *testing.T) {
	t.Parallel()
	terminal, screen := openTerminal(t)
	m := newMeter()
	stop := m.show(t.Context(), terminal, 5)
	m.appended.add(2, 2)
	stop(false)
	if got := screen(); strings.Contains(got, "done") || strings.Contains(got, "5 / 5") {
		t.Errorf("bars that look complete:\n%q", got)
	}
}

// openTerminal returns a pseudo terminal, and a function that closes it and
// returns all that was written to it.
func openTerminal(t *testing.T) (terminal *os.File, screen func() string) {
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
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })

	var shown bytes.Buffer
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(&shown, master) // until the terminal is closed
	}()
	return terminal, func() string {
		terminal.Close()
		<-drained
		return shown.String()
	}
}

func ioctl(t *testing.T, f *os.File, request uintptr, arg unsafe.Pointer) {
	t.Helper()
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), request, uintptr(arg)); errno != 0 {
		t.Fatalf("ioctl %#x: %v", request, errno)
	}
}
