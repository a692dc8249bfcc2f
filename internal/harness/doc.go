// Package harness runs writers and workers in processes that a test kills, and
// keeps what they have done in the process of the test, which lives on.
//
// # Usage
//
// The program of the test is the program of the child too:
//
//	func TestMain(m *testing.M) {
//		harness.Main(map[string]harness.Mode{"work": work}) // does not return in a child
//		os.Exit(m.Run())
//	}
//
//	func work(ctx context.Context, to *oracle.Recorder, args json.RawMessage) error {
//		...
//		a := to.Begin(write) // told of before it is done
//		res, err := db.Append(...)
//		a.End(res, err)
//	}
//
//	c, err := harness.Start(history, harness.Command{Mode: "work", Args: ...})
//	err = c.Signal(syscall.SIGKILL)
//	err = c.Wait() // the history has everything that the child told of
//
// A program with crash points is another one: see Build.
//
// # Failure
//
// What was on its way when a child was killed has no end in the history, so its
// outcome is unknown. A child ends when the process of the test does, whatever
// the end was. An error of a mode is one of Wait, with the end of what the child
// wrote to stderr.
package harness
