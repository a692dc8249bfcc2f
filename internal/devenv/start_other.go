//go:build !unix || aix || solaris

package devenv

import (
	"context"
	"fmt"
	"runtime"
)

func start(context.Context, *config) (*Server, error) {
	return nil, fmt.Errorf("no server can be started on %s: set DATABASE_URL", runtime.GOOS)
}
