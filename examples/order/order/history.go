package order

import (
	"time"

	"github.com/annals-go/annals/examples/order/retail"
)

// placedV1 is frozen: the shape of bytes already stored. It took an order to
// have one moment and one country, and prices in whole cents; then came orders
// that crossed a month while they were written, and prices of half a cent.
type placedV1 struct {
	Customer string    `json:"customer,omitempty"`
	At       time.Time `json:"at"`
	Country  string    `json:"country"`
	Lines    []lineV1  `json:"lines"`
}

type lineV1 struct {
	Code        string `json:"code"`
	Description string `json:"description"`
	Quantity    int64  `json:"quantity"`
	Cents       int64  `json:"cents"`
}

func placedFromV1(v placedV1) Placed {
	p := Placed{Customer: v.Customer, Lines: make([]retail.Line, len(v.Lines))}
	for i, l := range v.Lines {
		p.Lines[i] = retail.Line{
			Code: l.Code, Description: l.Description, Quantity: l.Quantity,
			Price: retail.Mills(l.Cents * 10), At: v.At, Country: v.Country,
		}
	}
	return p
}
