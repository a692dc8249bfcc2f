package intake

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/annals-go/annals/examples/order/retail"
)

const (
	// dateLayout is local wall time without a zone, taken as UTC.
	dateLayout = "2006-01-02 15:04:05"

	maxQuantity     = 1_000_000_000
	maxInvoiceBytes = 64
	maxTextBytes    = 4096

	// maxShownBytes bounds what a reason repeats of a bad cell.
	maxShownBytes = 40
)

// entry is one good line of the file and what it says about its invoice.
type entry struct {
	invoice  string
	kind     retail.Kind
	customer string
	line     retail.Line
	row      int // of the file; set by walk
}

// parseEntry reads the cells of one record as the package comment says. Its
// error is the reason of a rejection.
func parseEntry(fields []string) (entry, error) {
	if len(fields) != len(columns) {
		return entry{}, fmt.Errorf("has %d columns, want %d", len(fields), len(columns))
	}
	var e entry
	var err error
	if e.invoice, e.kind, err = parseInvoice(fields[0]); err != nil {
		return entry{}, err
	}
	for _, i := range []int{1, 2, 6, 7} {
		if n := len(fields[i]); n > maxTextBytes {
			return entry{}, fmt.Errorf("%s has %d bytes, want at most %d", columns[i], n, maxTextBytes)
		}
	}
	if e.line.Quantity, err = parseQuantity(fields[3]); err != nil {
		return entry{}, err
	}
	if e.line.At, err = parseDate(fields[4]); err != nil {
		return entry{}, err
	}
	if e.line.Price, err = retail.ParseMills(strings.TrimSpace(fields[5])); err != nil {
		return entry{}, fmt.Errorf("UnitPrice: %w", err)
	}
	e.line.Code = cleanText(fields[1])
	e.line.Description = cleanText(fields[2])
	e.customer = parseCustomer(fields[6])
	e.line.Country = cleanText(strings.TrimSpace(fields[7]))
	return e, nil
}

func parseInvoice(cell string) (string, retail.Kind, error) {
	number := strings.TrimSpace(cell)
	if number == "" {
		return "", 0, errors.New("InvoiceNo is empty")
	}
	if len(number) > maxInvoiceBytes {
		return "", 0, fmt.Errorf("InvoiceNo has %d bytes, want at most %d", len(number), maxInvoiceBytes)
	}
	if !utf8.ValidString(number) || strings.ContainsFunc(number, func(r rune) bool { return r == ' ' || !unicode.IsPrint(r) }) {
		return "", 0, fmt.Errorf("InvoiceNo %s has a space or a character that does not print", quoted(number))
	}
	kind, ok := retail.KindOf(number)
	if !ok {
		return "", 0, fmt.Errorf("InvoiceNo %s is neither an order nor a return", quoted(number))
	}
	return number, kind, nil
}

func parseQuantity(cell string) (int64, error) {
	text := strings.TrimSpace(cell)
	quantity, err := strconv.ParseInt(text, 10, 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("Quantity %s is no integer", quoted(text))
	}
	if err != nil || quantity > maxQuantity || quantity < -maxQuantity {
		return 0, fmt.Errorf("Quantity %s is out of range, want at most %d either way", quoted(text), maxQuantity)
	}
	return quantity, nil
}

func parseDate(cell string) (time.Time, error) {
	text := strings.TrimSpace(cell)
	at, err := time.Parse(dateLayout, text)
	// Parse alone takes "8:26:00" and fractions of a second too.
	if err != nil || at.Year() < 1 || at.Format(dateLayout) != text {
		return time.Time{}, fmt.Errorf("InvoiceDate %s is no date like %s", quoted(text), dateLayout)
	}
	return at, nil
}

func parseCustomer(cell string) string {
	customer := cleanText(strings.TrimSpace(cell))
	digits, found := strings.CutSuffix(customer, ".0")
	if found && digits != "" && strings.Trim(digits, "0123456789") == "" {
		return digits
	}
	return customer
}

// cleanText replaces what is no UTF-8 and every control character by U+FFFD.
// The result is safe to store as JSON, which refuses NUL in some databases.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return utf8.RuneError
		}
		return r
	}, strings.ToValidUTF8(s, string(utf8.RuneError)))
}

// quoted shows a cell in a message, cut and with escapes.
func quoted(s string) string {
	return strconv.Quote(clip(s, maxShownBytes))
}

// clip cuts s to at most limit bytes, at the start of a character, and marks
// the cut.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit] + "..."
}
