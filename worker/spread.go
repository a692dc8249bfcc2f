package worker

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
)

// segmentName returns the name of the i-th of n segments: "" if there is only one.
func segmentName(i, n int) string {
	if n <= 1 {
		return ""
	}
	return fmt.Sprintf("%dof%d", i, n)
}

// SegmentOf returns which of n segments a key belongs to, from 0. It is the same for
// ever: 64-bit FNV-1a, with its high half folded into the low one, modulo n.
func SegmentOf(key string, n int) int {
	if n <= 1 {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(key))
	sum := h.Sum64()
	return int((sum ^ sum>>32) % uint64(n))
}

// SegmentNames returns the names of the segments, and of the parts of the checkpoint,
// of a reader of the log that has n.
func SegmentNames(n int) []string {
	out := make([]string, max(n, 1))
	for i := range out {
		out[i] = segmentName(i, n)
	}
	return out
}

// share returns how many of n segments a member may have: the same number each, and
// one more for those that have most already, so that as little as possible moves.
// All members come to the same result from the same roster.
func share(roster Roster, member string, n int) int {
	has := map[string]int{}
	for _, s := range roster.Seats {
		if s.Live {
			has[s.Holder]++
		}
	}
	members := slices.Clone(roster.Members)
	slices.SortFunc(members, func(a, b string) int {
		return cmp.Or(cmp.Compare(has[b], has[a]), cmp.Compare(a, b))
	})
	rank := slices.Index(members, member)
	if rank < 0 {
		return 0
	}
	each, more := n/len(members), n%len(members)
	if rank < more {
		each++
	}
	return each
}
