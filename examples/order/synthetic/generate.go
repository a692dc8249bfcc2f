package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/annals-go/annals/examples/order/retail"
)

const (
	defaultOrders = 2500
	defaultSeed   = 20101201
	maxOrders     = 100_000

	// firstNumber is that of the first ordinary invoice; the oddities count from
	// firstOddNumber.
	firstNumber    = 700_001
	firstOddNumber = 990_001
)

// config says what to generate. The same config gives the same bytes.
type config struct {
	orders int
	seed   uint64
}

// row is one record, sorted into the file by place: mostly the time of its
// line, but a line that is scattered or has no valid date needs another.
type row struct {
	place time.Time
	cells []string
}

// generator collects rows. Not safe for concurrent use.
type generator struct {
	random   *rand.Rand
	products []product
	rows     []row
	number   int
	odd      int
}

// generate writes an order file as plain CSV. Ordinary orders and their returns
// are random; on top come a fixed number of oddities, one method each, and
// adjustments and bad lines that a reader is to reject.
func generate(w io.Writer, cfg config) error {
	if cfg.orders < 1 || cfg.orders > maxOrders {
		return fmt.Errorf("generate orders: -orders %d, want 1 to %d", cfg.orders, maxOrders)
	}
	g := &generator{
		random:   rand.New(rand.NewPCG(cfg.seed, cfg.seed)),
		products: catalog(),
		number:   firstNumber,
		odd:      firstOddNumber,
	}
	g.ordinary(cfg.orders)
	g.oddities()
	g.badLines()
	// Stable: the lines of one minute stay in the order they were made in.
	slices.SortStableFunc(g.rows, func(a, b row) int { return a.place.Compare(b.place) })

	out := csv.NewWriter(w)
	_ = out.Write([]string{"InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country"})
	for _, r := range g.rows {
		_ = out.Write(r.cells)
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return fmt.Errorf("write orders: %w", err)
	}
	return nil
}

// begin and end of the three months.
var (
	begin = time.Date(2010, 12, 1, 8, 26, 0, 0, time.UTC)
	end   = time.Date(2011, 2, 28, 17, 0, 0, 0, time.UTC)
)

// ordinary makes orders spread evenly over the months, some followed by a
// return or an accounting adjustment.
func (g *generator) ordinary(orders int) {
	step := end.Sub(begin) / time.Duration(orders)
	for i := range orders {
		at := begin.Add(step * time.Duration(i)).Truncate(time.Minute)
		customer := strconv.Itoa(20_001+g.random.IntN(400)) + ".0"
		if g.random.IntN(8) == 0 {
			customer = ""
		}
		country := weightedCountries[g.random.IntN(len(weightedCountries))]
		number := g.next()
		var sold []product
		for range 1 + g.random.IntN(8) {
			p := g.products[g.random.IntN(len(g.products))]
			sold = append(sold, p)
			g.add(at, number, p, int64(1+g.random.IntN(24)), at, customer, country)
		}
		if g.random.IntN(12) == 0 {
			back := at.Add(time.Duration(1+g.random.IntN(72)) * time.Hour)
			if back.After(end) {
				back = end
			}
			number := "C" + g.next()
			for _, p := range sold[:1+g.random.IntN(len(sold))] {
				g.add(back, number, p, -int64(1+g.random.IntN(3)), back, customer, country)
			}
		}
		if i%500 == 250 {
			g.add(at, "A"+g.next(), product{"B", "Ledger correction", -11_062_060}, 1, at, "", "Ireland")
		}
	}
}

// next returns the number of an ordinary invoice.
func (g *generator) next() string {
	g.number++
	return strconv.Itoa(g.number - 1)
}

// nextOdd returns a number that does not depend on how many ordinary invoices
// there are.
func (g *generator) nextOdd() string {
	g.odd++
	return strconv.Itoa(g.odd - 1)
}

// add puts one valid line at its place of the file.
func (g *generator) add(place time.Time, number string, p product, quantity int64, at time.Time, customer, country string) {
	g.addCells(place, number, p.code, p.description, strconv.FormatInt(quantity, 10), at.Format(time.DateTime), price(p.price), customer, country)
}

func (g *generator) addCells(place time.Time, cells ...string) {
	g.rows = append(g.rows, row{place, cells})
}

// price writes mills as the file does: 2.55, 0.425, 18.0.
func price(mills int64) string {
	text := retail.Mills(mills).String()
	for text[len(text)-1] == '0' && text[len(text)-2] != '.' {
		text = text[:len(text)-1]
	}
	return text
}

// code returns a stock code of digits, some with a letter after them.
func code(n int) string {
	suffix := [...]string{"", "", "A", "B"}[n%4]
	return strconv.Itoa(30_000+n*7) + suffix
}
