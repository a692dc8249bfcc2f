package main

// product is an article of the invented shop. Its price is in mills.
type product struct {
	code, description string
	price             int64
}

// oddProducts have what a reader of CSV can stumble over.
var oddProducts = []product{
	{"K1001", `Kettle, enamel, 2 l`, 18500},
	{"K1002", `Notebook "Harbour"`, 3250},
	{"K1003", `Apron, "Sunday", linen`, 12900},
	{"K1004", "Caf\u00e9 tray", 9750},
	{"K1005", "Cr\u00e8me jug, 1/2 l", 7400},
	{"K1006", "\u00c6bler\u00f8 mug", 5990},
	{"K1007", "\u6728\u306e\u30b9\u30d7\u30fc\u30f3", 1425},
	{"K1008", "  Ribbon, 5 m  ", 425},
	{"K1009", "=Equals sign, brass", 2125},
	{"K1010", "Pencil", 85},
	{"K1011", "Paper clip", 5},
	{"K1012", "Doormat \U0001f33f", 14990},
	{"k1013b", "Tea towel (two)\nblue and grey", 6495},
	{"POST", "Parcel fee", 18000},
	{"gift_0001_20", "Voucher 20.00", 16670},
	{"DISC", "Rebate", -1500},
}

var (
	adjectives = []string{"Amber", "Birch", "Copper", "Dotted", "Folding", "Glazed", "Knotted", "Mossy", "Oval", "Striped", "Tall", "Woven"}
	things     = []string{"bowl", "brush", "candle stand", "clock", "crate", "cushion", "hook", "jar", "lamp", "tile", "tray", "vase"}
	sizes      = []string{"small", "medium", "large"}
)

// catalog is the same on every call.
func catalog() []product {
	products := append([]product(nil), oddProducts...)
	for a, adjective := range adjectives {
		for t, thing := range things {
			for s, size := range sizes {
				n := (a*len(things)+t)*len(sizes) + s
				products = append(products, product{
					code:        code(n),
					description: adjective + " " + thing + " " + size,
					price:       listPrice(n),
				})
			}
		}
	}
	return products
}

// listPrice gives every tenth product a price of three decimals.
func listPrice(n int) int64 {
	mills := int64(450 + n*37%900*10)
	if n%10 == 0 {
		mills += 5
	}
	return mills
}

// weightedCountries has the home market more often than the others.
var weightedCountries = []string{
	"Ireland", "Ireland", "Ireland", "Ireland", "Ireland", "Ireland", "Malta", "Malta", "Norway", "Portugal", "Japan", "C\u00f4te d'Ivoire",
}
