package retail

import (
	"encoding/json"
	"time"

	"github.com/shopspring/decimal"
)

// Kind tells what an invoice does. The zero Kind is not an invoice.
type Kind uint8

const (
	// Order is a sale.
	Order Kind = iota + 1
	// Return takes back what an order sold; its quantities are negative.
	Return
)

// String returns "order", "return" or "unknown".
func (k Kind) String() string {
	switch k {
	case Order:
		return "order"
	case Return:
		return "return"
	default:
		return "unknown"
	}
}

// KindOf tells the kind from an invoice number: ASCII digits alone are an
// Order, a capital C with at least one character after it is a Return. It
// returns false for anything else, such as the accounting adjustment A563185.
func KindOf(invoice string) (Kind, bool) {
	if invoice == "" {
		return 0, false
	}
	if invoice[0] == 'C' {
		if len(invoice) > 1 {
			return Return, true
		}
		return 0, false
	}
	for i := range len(invoice) {
		if invoice[i] < '0' || invoice[i] > '9' {
			return 0, false
		}
	}
	return Order, true
}

// Invoice is one order or return with all its lines, in the order of the file.
type Invoice struct {
	Number string
	Kind   Kind

	// Customer is empty when the retailer did not record one.
	Customer string

	Lines []Line

	// Rows tells where each of the Lines stands in the file it was read from,
	// for reports about the file.
	Rows []int
}

// Line is one line of an invoice. Its JSON form is stored and therefore pinned:
// fields are only ever added.
type Line struct {
	// Code is the stock code, such as 85123A, POST or gift_0001_20.
	Code string `json:"code"`

	// Description may be empty.
	Description string `json:"description"`

	// Quantity is negative for what comes back or is written off.
	Quantity int64 `json:"quantity"`

	// Price is that of one piece. It may be zero or negative.
	Price Mills `json:"price_mills"`

	// At is the moment of the line. The lines of one invoice may differ.
	At time.Time `json:"at"`

	// Country is where the line is shipped to.
	Country string `json:"country"`
}

// Revenue returns Quantity x Price in currency units, exact. The product may
// exceed an int64 of mills, hence the decimal.
func (l Line) Revenue() decimal.Decimal {
	return decimal.NewFromInt(l.Quantity).Mul(l.Price.Decimal())
}

// MarshalJSON encodes the line with At in UTC (RFC 3339), so that equal lines
// have equal bytes whatever zone they were built in.
func (l Line) MarshalJSON() ([]byte, error) {
	type stored Line
	l.At = l.At.UTC()
	return json.Marshal(stored(l))
}
