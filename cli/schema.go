package cli

import (
	"errors"
	"reflect"

	"github.com/spf13/cobra"

	"github.com/annals-go/annals/codec"
	"github.com/annals-go/annals/codec/avro"
	"github.com/annals-go/annals/event"
)

// Codec is a *codec.Codec of any family.
type Codec interface {
	// Names, Shapes and Shape are what the codec knows, and Writes which version of a name
	// it writes.
	Names(yield func(name string) bool)
	Shapes(yield func(name string, schema int) bool)
	Shape(name string, schema int) reflect.Type
	Writes(name string) int
	// Covers reports whether events of this name belong to the codec, Values decodes one.
	Covers(name string) bool
	Values(r event.Recorded) ([]any, error)
	Formats() []codec.Format
	ContentType() string
	Reads(contentType string) bool
}

// WithCodecs gives the commands of schema the codecs of the program, so a service gives
// its own:
//
//	cli.WithCodecs(order.Codec, payment.Codec)
//
// Default: none. Then schema ls lists the subjects of the registry, and the others work
// with files alone.
func WithCodecs(codecs ...Codec) Option {
	return func(a *app) { a.codecs = append(a.codecs, codecs...) }
}

var errNoCodecs = errors.New("this program has no codecs: run the command in the binary of the service, made with cli.WithCodecs, or give --dir")

func (a *app) schemas() *cobra.Command {
	cmd := a.group("schema", "Look at schemas, check, register, generate and serve them")
	cmd.AddCommand(a.schemaList(), a.schemaCheck(), a.schemaRegister(), a.schemaGen(), a.schemaServe())
	return cmd
}

// modeFlag is a compatibility by its name, or nothing.
func modeFlag() choiceFlag {
	f := choiceFlag{}
	for m := avro.BackwardTransitive; m <= avro.None; m++ {
		f.choices = append(f.choices, m.String())
	}
	return f
}

// addMode adds the flag --mode to a command.
func addMode(cmd *cobra.Command, f *choiceFlag, use string) {
	cmd.Flags().Var(f, "mode", use)
	_ = cmd.RegisterFlagCompletionFunc("mode", cobra.FixedCompletions(f.choices, cobra.ShellCompDirectiveNoFileComp)) // fails only for a flag that is not there
}

// mode is what the flag says, and whether it says anything.
func (f *choiceFlag) mode() (avro.Mode, bool) {
	m, err := avro.ParseMode(f.value)
	return m, err == nil
}

// eventNames completes the names that the codecs know.
func (a *app) eventNames(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	var names []string
	for _, c := range a.codecs {
		for n := range c.Names {
			names = append(names, n)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
