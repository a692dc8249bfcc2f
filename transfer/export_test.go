package transfer

// WithSorted bounds the records that a sorter holds in memory.
func WithSorted(n int) CheckOption {
	return func(c *checkConfig) error {
		c.sorted = n
		return nil
	}
}

// ParseLine reads an event as Check does; nil without an error is a trailer.
func ParseLine(line []byte) (*Row, error) {
	row := &Row{}
	p := parser{strict: true}
	end, refused := p.line(line, row)
	if refused != nil {
		return nil, refused
	}
	if end != nil {
		return nil, nil
	}
	if _, refused := new(parser).metadata(row.Metadata); refused != nil {
		return nil, refused
	}
	return row, nil
}
