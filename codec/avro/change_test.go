package avro

import (
	"fmt"
	"slices"
	"strings"
)

// copied returns a copy of the model, whose types that refer to each other do so in the copy.
func copied(m *model, seen map[*model]*model) *model {
	if c, ok := seen[m]; ok {
		return c
	}
	c := *m
	seen[m] = &c
	c.aliases, c.symbols = slices.Clone(m.aliases), slices.Clone(m.symbols)
	c.fields, c.parts = slices.Clone(m.fields), slices.Clone(m.parts)
	for i := range c.parts {
		c.parts[i] = copied(c.parts[i], seen)
	}
	for i := range c.fields {
		c.fields[i].typ = copied(c.fields[i].typ, seen)
		c.fields[i].aliases = slices.Clone(c.fields[i].aliases)
	}
	return &c
}

func (m *model) each(seen map[*model]bool, fn func(*model)) {
	if seen[m] {
		return
	}
	seen[m] = true
	fn(m)
	for _, p := range m.parts {
		p.each(seen, fn)
	}
	for _, f := range m.fields {
		f.typ.each(seen, fn)
	}
}

// change makes one change somewhere, as people make them, also such that are not allowed.
func (g *maker) change(root *model) {
	var all []*model
	root.each(map[*model]bool{}, func(m *model) { all = append(all, m) })
	m := all[g.IntN(len(all))]
	switch m.kind {
	case "record":
		g.changeRecord(m)
	case "enum":
		switch g.IntN(4) {
		case 0:
			m.symbols = g.symbols()
			m.other = ""
		case 1:
			m.symbols = g.symbols()
			m.other = m.symbols[0]
		case 2:
			m.other = m.symbols[g.IntN(len(m.symbols))]
		default:
			g.rename(m)
		}
	case "fixed":
		if g.IntN(2) == 0 {
			m.size = 1 + g.IntN(3)
		} else {
			g.rename(m)
		}
	case "union":
		switch g.IntN(4) {
		case 0:
			g.Shuffle(len(m.parts), func(i, j int) { m.parts[i], m.parts[j] = m.parts[j], m.parts[i] })
		case 1:
			if len(m.parts) > 1 {
				m.parts = m.parts[1:]
			}
		case 2:
			m.add(g.make(3))
		default:
			if m != root && m.parts[0].name == "" {
				*m = *m.parts[0]
			}
		}
	case "array", "map":
		if g.IntN(3) == 0 {
			m.kind = []string{"array", "map"}[g.IntN(2)]
		}
	default:
		switch g.IntN(3) {
		case 0:
			m.kind = scalars[g.IntN(len(scalars))]
		case 1:
			to := promoted[m.kind]
			if len(to) > 0 {
				m.kind = to[g.IntN(len(to))]
			}
		default:
			inner := *m
			*m = model{kind: "union", parts: []*model{{kind: "null"}}}
			m.add(&inner)
		}
	}
}

func (g *maker) rename(m *model) {
	old := m.name
	m.name = g.fresh(m.name[strings.LastIndexByte(m.name, '.')+1:][:1])
	switch g.IntN(4) {
	case 0:
	case 1:
		m.aliases = append(m.aliases, bare(old))
	case 2:
		m.aliases = append(m.aliases, old)
	default:
		m.name = "other." + bare(old)
	}
}

func (g *maker) changeRecord(m *model) {
	n := len(m.fields)
	switch g.IntN(6) {
	case 0:
		g.open = []*model{m}
		f := g.field(fmt.Sprintf("g%d", g.IntN(1000)), 2)
		g.open = nil
		if f.dflt == nil && g.IntN(3) > 0 {
			f.dflt = g.dflt(f.typ, 0)
		}
		m.fields = slices.Insert(m.fields, g.IntN(n+1), f)
	case 1:
		if n > 0 {
			i := g.IntN(n)
			m.fields = slices.Delete(m.fields, i, i+1)
		}
	case 2:
		if n > 0 {
			f := &m.fields[g.IntN(n)]
			if g.IntN(4) > 0 {
				f.aliases = append(f.aliases, f.name)
			}
			f.name = fmt.Sprintf("h%d", g.IntN(1000))
		}
	case 3:
		g.Shuffle(n, func(i, j int) { m.fields[i], m.fields[j] = m.fields[j], m.fields[i] })
	case 4:
		if n > 1 {
			m.fields[0].aliases = append(m.fields[0].aliases, m.fields[1].name)
		}
	default:
		g.rename(m)
	}
}
