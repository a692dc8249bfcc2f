// Command synthetic writes an order file of our own making, in the columns of a
// retailer's file, with every oddity such files have. The same flags give the
// same bytes.
//
//	go run ./examples/order/synthetic -o orders.csv.gz
//	go run ./examples/order/synthetic -orders 100 > orders.csv
package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

//go:generate go run . -o ../testdata/orders.csv.gz

func main() {
	cfg := config{}
	out := flag.String("o", "", "file to write, compressed if its name ends in .gz (default standard output, plain)")
	flag.IntVar(&cfg.orders, "orders", defaultOrders, "number of ordinary orders, at most 100000; returns and oddities come on top")
	flag.Uint64Var(&cfg.seed, "seed", defaultSeed, "seed of the random numbers")
	flag.Parse()
	if err := run(cfg, *out, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "synthetic:", err)
		os.Exit(1)
	}
}

// run writes the file to path, or to stdout when path is empty.
func run(cfg config, path string, stdout io.Writer) error {
	var text bytes.Buffer
	if err := generate(&text, cfg); err != nil {
		return err
	}
	if path == "" {
		if _, err := stdout.Write(text.Bytes()); err != nil {
			return fmt.Errorf("write orders: %w", err)
		}
		return nil
	}
	content := text.Bytes()
	if strings.HasSuffix(path, ".gz") {
		var err error
		if content, err = compress(content); err != nil {
			return err
		}
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		return fmt.Errorf("write orders: %w", err)
	}
	return nil
}

// compress leaves name and time out of the gzip header, so that the bytes
// depend on content alone.
func compress(content []byte) ([]byte, error) {
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(content); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return packed.Bytes(), nil
}
