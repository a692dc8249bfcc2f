package aggregatetest_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/annals-go/annals/aggregate/aggregatetest"
)

type (
	Event    interface{ isLamp() }
	SwitchOn struct{ By string }
	On       struct{ By string }
	Lamp     struct{ On bool }
	Impure   struct{ n *int }
)

func (On) isLamp() {}

func (l Lamp) Evolve(Event) Lamp { return Lamp{On: true} }

var errNobody = errors.New("nobody there")

func (c SwitchOn) Decide(l Lamp) ([]Event, error) {
	if c.By == "" {
		return nil, errNobody
	}
	if l.On {
		return nil, nil
	}
	return []Event{On(c)}, nil
}

func (c Impure) Decide(Lamp) ([]Event, error) {
	*c.n++
	return []Event{On{By: fmt.Sprint(*c.n)}}, nil
}

func TestScenarios(t *testing.T) {
	t.Parallel()
	lamp := aggregatetest.For[Lamp](t)
	lamp.When(SwitchOn{By: "ada"}).Then(On{By: "ada"})
	lamp.Given(On{}).When(SwitchOn{By: "ada"}).ThenNothing()
	lamp.When(SwitchOn{}).ThenError(errNobody)
	lamp.Given(On{}).ThenState(Lamp{On: true})
}

type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func TestScenariosFail(t *testing.T) {
	t.Parallel()
	r := &recorder{TB: t}
	lamp := aggregatetest.For[Lamp](r)
	lamp.When(SwitchOn{By: "ada"}).Then(On{By: "bob"})
	lamp.When(SwitchOn{By: "ada"}).ThenNothing()
	lamp.When(SwitchOn{By: "ada"}).ThenError(errNobody)
	lamp.ThenState(Lamp{On: true})
	lamp.ThenNothing()
	lamp.When(Impure{new(int)})
	want := []string{
		"decided [{By:ada}], error <nil>\nwant    [{By:bob}]",
		"decided [{By:ada}], error <nil>\nwant    []",
		"decided [{By:ada}], error <nil>\nwant    error nobody there",
		"state {On:false}\nwant  {On:true}",
		"Then without When: no command has decided",
		"Decide is not pure: aggregatetest_test.Impure decided\nfirst [{By:1}]\nthen  [{By:2}]",
	}
	if got := strings.Join(r.said, "\n--\n"); got != strings.Join(want, "\n--\n") {
		t.Errorf("complaints:\n%s", got)
	}
}
