package quickstart

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/upcast"
)

// [types]

type (
	InvoiceEvent interface{ isInvoice() }
	Issued       struct {
		Customer string    `avro:"customer"`
		Cents    int64     `avro:"cents"`
		Due      time.Time `avro:"due,date"`
		Note     *string   `avro:"note"`                 // null, or text
		Currency string    `avro:"currency,default=EUR"` // came later: what was stored before it is in euros
	}
	Paid struct { // its schema is in schemas/invoice.paid.v1.avsc
		Cents int64  `avro:"cents"`
		By    string `avro:"by"`
	}
	issuedV1 struct { // frozen: the shape of bytes already stored
		Customer string `avro:"customer"`
		Euros    int64  `avro:"euros"`
	}
)

func (Issued) isInvoice() {}
func (Paid) isInvoice()   {}

// Invoices returns the codec of invoices, in the given format.
func Invoices(format codec.Format) *codec.Codec[InvoiceEvent] {
	return codec.New(format, codec.Types[InvoiceEvent]{
		"invoice.issued": Issued{},
		"invoice.paid":   Paid{},
	}, upcast.Step("invoice.issued", 1, func(v issuedV1) Issued {
		return Issued{Customer: v.Customer, Cents: v.Euros * 100, Currency: "EUR"}
	}))
}

// [/types]

// [format]

//go:embed schemas/*.avsc
var files embed.FS

// NewFormat returns the format that all codecs of the program share. Development has
// avro.WithRegistration among the options.
func NewFormat(registry avro.Registry, opts ...avro.Option) (*avro.Format, error) {
	schemas, err := fs.Sub(files, "schemas")
	if err != nil {
		return nil, err
	}
	return avro.New(registry, append(opts, avro.WithSchemas(schemas))...), nil
}

// [/format]

// [prepare]

// Open is called when the service starts: from then on, appends need no registry.
func Open(ctx context.Context, format *avro.Format) (*codec.Codec[InvoiceEvent], error) {
	invoices := Invoices(format)
	if err := format.Prepare(ctx); err != nil {
		return nil, err
	}
	return invoices, nil
}

// [/prepare]

// [migrate]

// ReadsBoth is deployed first, everywhere: it writes JSON as ever, and reads Avro.
func ReadsBoth(format *avro.Format) *codec.Codec[InvoiceEvent] {
	return Invoices(codec.JSONFormat()).AlsoReading(format)
}

// WritesAvro is deployed then, and stays: the log has events in JSON for ever.
func WritesAvro(format *avro.Format) *codec.Codec[InvoiceEvent] {
	return Invoices(format).AlsoReading(codec.JSONFormat())
}

// [/migrate]
