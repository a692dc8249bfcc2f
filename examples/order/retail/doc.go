// Package retail holds the words of the order example: invoices, their lines
// and exact money. It knows nothing of files and nothing of storage.
//
// Every type is a plain value and safe to copy. Money is counted in mills,
// thousandths of the currency unit, and never passes through a float.
package retail
