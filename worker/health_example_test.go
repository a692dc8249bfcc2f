package worker_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/annals-go/annals/worker"
)

// A reader is given its Health by an option; the process shows it to whoever restarts
// it.
func ExampleHealth() {
	var health worker.Health

	live := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := health.Check(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})

	answer := httptest.NewRecorder()
	live.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/livez", nil))
	fmt.Print(answer.Code, " ", answer.Body)
	// Output: 503 reader is not running
}
