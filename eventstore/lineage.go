package eventstore

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/annals-go/annals/event"
)

// ErrOtherServer says that the log is held by another server than the caller
// went by. Nothing was read or changed. Compare the lineage, and go on from there.
var ErrOtherServer = errors.New("the log is held by another server")

// Generation is a time in which one server has held a log.
type Generation struct {
	// Incarnation names the history. It stays the same when another server takes
	// over, as long as nothing was lost that a reader had been given already.
	Incarnation event.ID
	// Server is opaque: it changes with a failover and with a restore, and not with
	// a crash.
	Server string
	// Since: every position up to it holds what it held in the generation before.
	// More may be common, but that is not known.
	Since event.Position
	// Replica: the server only follows another one, and may lie behind it.
	Replica bool
}

// Lineage is the generations of a log, oldest first. The last is the present one.
type Lineage []Generation

// Now returns the present generation; the zero value if there is none.
func (l Lineage) Now() Generation {
	if len(l) == 0 {
		return Generation{}
	}
	return l[len(l)-1]
}

// Common returns the position up to which the log surely holds what it held on
// the given server, whatever has happened since: 0 if nothing is known of the
// server, and the highest position there is if it is the present one.
func (l Lineage) Common(server string) event.Position {
	common := event.Position(math.MaxInt64)
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].Server == server {
			return common
		}
		common = min(common, l[i].Since)
	}
	return 0
}

// CommonWith is Common for what was read in an incarnation of the log. The second
// result is false if the lineage does not have it.
func (l Lineage) CommonWith(incarnation event.ID) (event.Position, bool) {
	common := event.Position(math.MaxInt64)
	for i := len(l) - 1; i >= 0; i-- {
		if l[i].Incarnation == incarnation {
			return common, true
		}
		if i == 0 || l[i-1].Incarnation != l[i].Incarnation {
			common = min(common, l[i].Since)
		}
	}
	return 0, false
}

// lineageText bounds the incarnations in a text. Readers that know none of them
// take it for another history.
const lineageText = 8

// String returns the incarnations with where each began, such as
// "0198c0de-...@0,0198c0ff-...@4711": what messages and checkpoints carry. The
// oldest are left out when there are more than 8.
func (l Lineage) String() string {
	var words []string
	for i, g := range l {
		if i == 0 || l[i-1].Incarnation != g.Incarnation {
			words = append(words, fmt.Sprintf("%s@%d", g.Incarnation, g.Since))
		}
	}
	return strings.Join(words[max(0, len(words)-lineageText):], ",")
}

// ParseLineage returns what String made the text from; its servers are empty.
func ParseLineage(s string) (Lineage, error) {
	if s == "" {
		return nil, nil
	}
	var l Lineage
	for word := range strings.SplitSeq(s, ",") {
		id, since, _ := strings.Cut(word, "@")
		var g Generation
		err := g.Incarnation.UnmarshalText([]byte(id))
		n, nerr := strconv.ParseInt(since, 10, 64)
		if err != nil || len(id) != 36 || nerr != nil || n < 0 || len(l) == lineageText {
			return nil, fmt.Errorf("parse lineage %q: want up to %d of incarnation@position, joined by commas", s, lineageText)
		}
		g.Since = event.Position(n)
		l = append(l, g)
	}
	return l, nil
}
