//go:build unix && !aix && !solaris

package devenv

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that runs the server.
type account struct {
	name       string
	credential *syscall.Credential // nil means the user of this process
}

func (a *account) String() string {
	if a.name == "" {
		return "this user"
	}
	return "user " + a.name
}

// unprivileged returns the account to run PostgreSQL with, which refuses root.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return &account{}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(u.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read uid of user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(u.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("read gid of user %s: %w", name, err)
		}
		return &account{name: name, credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return nil, errors.New("find an account: postgres does not run as root, and there is no user postgres or nobody")
}
