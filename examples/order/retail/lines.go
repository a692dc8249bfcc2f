package retail

import "slices"

// Equal reports whether two lines say the same.
func (l Line) Equal(m Line) bool {
	return l.At.Equal(m.At) && l.Code == m.Code && l.Description == m.Description &&
		l.Quantity == m.Quantity && l.Price == m.Price && l.Country == m.Country
}

// SameLines reports whether two invoices have the same lines in the same order.
func SameLines(a, b []Line) bool { return slices.EqualFunc(a, b, Line.Equal) }

// maxChunkBytes bounds the lines of one event, far below what a store takes.
const maxChunkBytes = 256 << 10

// Chunks cuts the lines into parts that fit into one event each. There is at
// least one part, so that an invoice without lines has one too.
func Chunks(lines []Line) [][]Line {
	var chunks [][]Line
	start, size := 0, 0
	for i, l := range lines {
		n := sizeAtMost(l)
		if i > start && size+n > maxChunkBytes {
			chunks = append(chunks, lines[start:i])
			start, size = i, 0
		}
		size += n
	}
	return append(chunks, lines[start:])
}

// sizeAtMost bounds the JSON of a line: a byte of text takes at most six
// (\u003c), and names and numbers take less than 200.
func sizeAtMost(l Line) int {
	return 200 + 6*(len(l.Code)+len(l.Description)+len(l.Country))
}
