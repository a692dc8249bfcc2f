package avro

// Check returns nil if a subject that has the earlier schemas, oldest first, may have the
// next one, and an *IncompatibleError otherwise: that of the newest earlier schema that
// does not go with it, whose Version is its place in earlier, from 1. An error of another
// type says that a text is not a schema, or that it exceeds the limits.
func Check(mode Mode, next Schema, earlier ...Schema) error {
	panic("not there yet")
}

// Normal returns the text in one form, without white space, and with the attributes of
// each part in one order, and nothing left out that a reader needs: two texts of the same
// normal form are one schema.
func Normal(s Schema) (string, error) {
	panic("not there yet")
}

// FullName returns the name of the record, enum or fixed that the schema is, with its
// namespace, and the empty string for any other.
func FullName(s Schema) (string, error) {
	panic("not there yet")
}
