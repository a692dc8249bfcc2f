package retail_test

import (
	"fmt"

	"github.com/annals-go/annals/examples/order/retail"
)

func ExampleParseMills() {
	price, err := retail.ParseMills("2.55")
	fmt.Println(price, err)
	_, err = retail.ParseMills("0.0001")
	fmt.Println(err)
	// Output:
	// 2.550 <nil>
	// parse amount "0.0001": has more than 3 decimals
}

func ExampleKindOf() {
	for _, number := range []string{"536365", "C536379", "A563185"} {
		kind, ok := retail.KindOf(number)
		fmt.Println(number, kind, ok)
	}
	// Output:
	// 536365 order true
	// C536379 return true
	// A563185 unknown false
}

func ExampleLine_Revenue() {
	line := retail.Line{Quantity: 12, Price: 425}
	fmt.Println(line.Revenue())
	// Output: 5.1
}
