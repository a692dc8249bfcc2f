// Package intake reads a retailer's file of order lines and hands out complete
// invoices. It reads the file twice, so that nothing is handed out of a file
// that turns out to be broken half-way, and so that memory stays bounded
// although the lines of one invoice are scattered through the file.
//
// # Usage
//
// Validate reads the whole file and returns a Plan; Plan.Invoices reads it
// again and yields the invoices:
//
//	plan, err := intake.Validate(ctx, "orders.csv.gz")
//	...
//	for invoice, err := range plan.Invoices(ctx, reject) {
//
// The file is CSV with strict quotes, plain or gzip, whose header is exactly
//
//	InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
//
// A UTF-8 byte order mark, CRLF line ends and blank lines are accepted.
//
// Dates are like 2010-12-01 08:26:00 and taken as UTC; prices have at most three
// decimals. Spaces around invoice, quantity, date, price, customer and country
// are dropped; description and stock code are kept as they are. In every text,
// bytes that are no UTF-8 and control characters (NUL and line ends included)
// become U+FFFD. A customer such as 17850.0, an integer that went through a
// spreadsheet, is stored as 17850; other spellings are kept. Empty texts, prices
// of zero or less and quantities of zero or less are facts of business.
//
// # Ordering
//
// An invoice is yielded when its last good line was read, once, with its lines
// in the order of the file. Two invoices come in the order of their last
// lines, which need not be that of their numbers or dates. Rejections come in
// the order of the file.
//
// # Failure
//
// A bad line is a Rejection and never ends the reading; its neighbours still
// form their invoice. A bad file is an error and ends it: not readable, not a
// regular file, empty, other columns, quotes that do not match, gzip that is
// truncated, corrupt, followed by other data or expanding more than 200 times,
// a record larger than 1 MiB, an invoice of more than 100,000 lines. Validate
// reports all of these, so Plan.Invoices fails only when ctx ends, the disk
// fails or the file changed in between (ErrChanged).
//
// Memory holds the invoices that are open, one counter for each invoice of the
// file, and one record.
//
// # Testing
//
// Package synthetic, next to this one, writes a file with every oddity that
// this one knows how to read.
package intake
