package wireproxy

import "time"

// Kind says what happens at a commit point.
type Kind int

// The kinds.
const (
	// Pass forwards: nothing happens.
	Pass Kind = iota
	// CutBefore closes both ends, and the server never sees what would commit.
	CutBefore
	// CutAfter closes both ends when the server has answered, and the client
	// never sees the answer.
	CutAfter
	// CutMiddle delivers half of the answer and closes both ends.
	CutMiddle
	// Swallow keeps the answer until the client gives up.
	Swallow
	// StallReset keeps the answer for a while and resets the connection.
	StallReset
	// Delay keeps the answer for a while and delivers it.
	Delay
	// Late keeps back what would commit until the client has given up, and a while
	// longer, and delivers it to the server then: until that the transaction is
	// open, with all its locks.
	Late
	// Unread is Late for all of the statement, so that the server finds it in its
	// socket when nobody waits for the answer any more.
	Unread
)

// Kinds are all of them but Pass.
func Kinds() []Kind {
	return []Kind{CutBefore, CutAfter, CutMiddle, Swallow, StallReset, Delay, Late, Unread}
}

func (k Kind) String() string {
	switch k {
	case Pass:
		return "pass"
	case CutBefore:
		return "cut before"
	case CutAfter:
		return "cut after"
	case CutMiddle:
		return "cut in the middle"
	case Swallow:
		return "swallow"
	case StallReset:
		return "stall and reset"
	case Delay:
		return "delay"
	case Late:
		return "commit late"
	case Unread:
		return "read late"
	}
	return "unknown"
}

// Action is what happens at one commit point. The zero value forwards.
type Action struct {
	Kind Kind
	For  time.Duration // of StallReset, Delay, Late and Unread
}

// Commit is a commit point. The server has not seen it yet.
type Commit struct {
	Number int  // of the proxy, from 1
	Append bool // a statement that appends and commits by itself, no COMMIT
}
