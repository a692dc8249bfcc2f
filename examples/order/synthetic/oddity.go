package main

import (
	"fmt"
	"time"
)

// oddities adds invoices that are valid and unusual, always the same ones.
func (g *generator) oddities() {
	g.scattered()
	g.twoCountries()
	g.lateCustomer()
	g.partlyMalformed()
	g.large()
	g.strangeLines()
}

// scattered makes invoices whose lines have other invoices between them. The
// dates of the first two go over the end of a month, and those of the third run
// backwards.
func (g *generator) scattered() {
	for _, start := range []time.Time{
		time.Date(2010, 12, 31, 23, 58, 0, 0, time.UTC),
		time.Date(2011, 1, 31, 23, 30, 0, 0, time.UTC),
	} {
		number := g.nextOdd()
		for i := range 4 {
			at := start.Add(time.Duration(i) * 45 * time.Minute)
			g.add(at.Add(time.Duration(i)*24*time.Hour), number, g.products[20+i], int64(i+1), at, "20500.0", "Norway")
		}
	}
	number := g.nextOdd()
	at := time.Date(2011, 2, 10, 12, 0, 0, 0, time.UTC)
	for i := range 3 {
		g.add(at.Add(time.Duration(i)*48*time.Hour), number, g.products[30+i], 2, at.Add(-time.Duration(i)*time.Hour), "20501.0", "Malta")
	}
}

// twoCountries makes one invoice that is shipped to two countries.
func (g *generator) twoCountries() {
	number, at := g.nextOdd(), time.Date(2011, 1, 12, 9, 5, 0, 0, time.UTC)
	g.add(at, number, g.products[40], 3, at, "20502.0", "Malta")
	g.add(at, number, g.products[41], 5, at, "20502.0", "Japan")
}

// lateCustomer makes one invoice whose first line has no customer.
func (g *generator) lateCustomer() {
	number, at := g.nextOdd(), time.Date(2011, 1, 13, 9, 5, 0, 0, time.UTC)
	g.add(at, number, g.products[42], 3, at, "", "Malta")
	g.add(at, number, g.products[43], 5, at, "20503.0", "Malta")
	g.add(at, number, g.products[44], 1, at, "20504", "Malta")
}

// partlyMalformed makes an order and a return that lose one line each.
func (g *generator) partlyMalformed() {
	at := time.Date(2011, 1, 14, 9, 5, 0, 0, time.UTC)
	for _, kind := range []struct {
		prefix string
		sign   int64
	}{{"", 1}, {"C", -1}} {
		number := kind.prefix + g.nextOdd()
		g.add(at, number, g.products[45], kind.sign*2, at, "20505.0", "Malta")
		g.addCells(at, number, "31000", "Lost line", "two", at.Format(time.DateTime), "1.25", "20505.0", "Malta")
		g.add(at, number, g.products[46], kind.sign*4, at, "20505.0", "Malta")
	}
}

// large makes one invoice of 1500 lines, without a customer.
func (g *generator) large() {
	number, at := g.nextOdd(), time.Date(2011, 2, 3, 16, 40, 0, 0, time.UTC)
	for i := range 1500 {
		g.add(at, number, g.products[i%len(g.products)], int64(1+i%5), at, "", "Ireland")
	}
}

// strangeLines makes one order each for what a line may be and rarely is.
func (g *generator) strangeLines() {
	at := time.Date(2011, 2, 4, 10, 0, 0, 0, time.UTC)
	date := at.Format(time.DateTime)
	for i, cells := range [][]string{
		{"31001", "", "12", date, "0.0", "", "Ireland"},
		{"31002", "broken in store", "-40", date, "0.0", "", "Ireland"},
		{"31003", "Counted twice", "-7", date, "3.25", "20506.0", "Ireland"},
		{"31004", "Nothing sold", "0", date, "3.25", "20506.0", "Ireland"},
		{"ADJ", "Carry-over", "1", date, "-250.75", "", "Ireland"},
		{"31005", "Thread, by the metre", "80995", date, "0.001", "20507.0", "Portugal"},
		{"31006", "Trailing zeros", "1", date, "1.2500000", "20507.0", "Portugal"},
		{"31007", "Not UTF-8: caf\xe9", "1", date, "2.5", "20507.0", "Portugal"},
		{"31008", "Has a\x00NUL and a\ttab", "1", date, "2.5", "20507.0", "Portugal"},
		{"31009", "Spaces around", " 3 ", " " + date + " ", " 2.5 ", " 20507.0 ", " Portugal "},
		{"31010", "Customer of another spelling", "1", date, "2.5", "walk-in/7", "Portugal"},
		{"31011", "Largest quantity", "1000000000", date, "999999999.999", "20507.0", "Portugal"},
		{"", "No code", "1", date, "2.5", "20507.0", ""},
	} {
		g.addCells(at.Add(time.Duration(i)*time.Minute), append([]string{g.nextOdd()}, cells...)...)
	}
}

// badLines adds lines that are to be rejected, each of an invoice of its own.
func (g *generator) badLines() {
	at := time.Date(2011, 2, 5, 10, 0, 0, 0, time.UTC)
	date := at.Format(time.DateTime)
	for i, cells := range [][]string{
		{"32001", "Quantity is a word", "six", date, "2.5", "20508.0", "Malta"},
		{"32001", "Quantity is empty", "", date, "2.5", "20508.0", "Malta"},
		{"32001", "Quantity has decimals", "1.5", date, "2.5", "20508.0", "Malta"},
		{"32001", "Quantity is too large", "5000000000", date, "2.5", "20508.0", "Malta"},
		{"32001", "No such day", "1", "2011-02-30 10:00:00", "2.5", "20508.0", "Malta"},
		{"32001", "Other layout", "1", "02/05/2011 10:00", "2.5", "20508.0", "Malta"},
		{"32001", "Price is a word", "1", date, "free", "20508.0", "Malta"},
		{"32001", "Price has an exponent", "1", date, "2e3", "20508.0", "Malta"},
		{"32001", "Price has four decimals", "1", date, "2.5555", "20508.0", "Malta"},
		{"32001", "Country is missing", "1", date, "2.5", "20508.0"},
		{"32001", "One column more", "1", date, "2.5", "20508.0", "Malta", "?"},
	} {
		g.addCells(at.Add(time.Duration(i)*time.Minute), append([]string{g.nextOdd()}, cells...)...)
	}
	for i, number := range []string{"", "C", "X990900", "99 0901", fmt.Sprintf("%065d", 7)} {
		g.addCells(at.Add(time.Duration(i)*time.Hour), number, "32002", "Number is no invoice", "1", date, "2.5", "20508.0", "Malta")
	}
}
