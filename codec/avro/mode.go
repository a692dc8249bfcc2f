package avro

import "fmt"

// Mode is a rule of compatibility between the schemas of one subject.
type Mode int

// The modes, as registries name them. Backward: the new schema reads what earlier ones
// have written. Forward: earlier ones read what the new one writes. Full: both. A
// transitive mode looks at all earlier versions, another one at the last.
const (
	// BackwardTransitive is the default: an event that is stored is read for ever.
	BackwardTransitive Mode = iota
	Backward
	Forward
	ForwardTransitive
	Full
	FullTransitive
	None
)

var modeNames = [...]string{"BACKWARD_TRANSITIVE", "BACKWARD", "FORWARD", "FORWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE", "NONE"}

// String returns the name that registries use, such as BACKWARD_TRANSITIVE.
func (m Mode) String() string {
	if m < 0 || int(m) >= len(modeNames) {
		return fmt.Sprintf("mode %d", int(m))
	}
	return modeNames[m]
}

// ParseMode returns the mode of a name that registries use.
func ParseMode(name string) (Mode, error) {
	for m, n := range modeNames {
		if n == name {
			return Mode(m), nil
		}
	}
	return 0, fmt.Errorf("compatibility %q: want one of %v", name, modeNames)
}
