package bezoar

import (
	"context"
	"os"
	"slices"
	"testing"
)

// Path is that of the command.
func (b Binary) Path() string { return b.path }

// At is the command at another path, such as one that was built in another way.
func (b Binary) At(path string) Binary {
	b.path = path
	return b
}

// Under returns the command as another command of the system runs it, such as "prlimit", "--nofile=64". That one has to become bezoar itself (exec).
func (b Binary) Under(command ...string) Binary {
	b.under = slices.Clip(command)
	return b
}

// ServeOn is [Binary.Serve] on a socket that somebody else holds, as systemd does: it stays open when the server ends, and who connects meanwhile waits.
func (b Binary) ServeOn(tb testing.TB, socket *os.File, data string, args ...string) *Server {
	tb.Helper()
	// The variable names the process that the socket is for, which nobody knows before it is there.
	b.under = slices.Concat([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$@"`, "sh"}, b.under)
	b = b.With("LISTEN_FDS=1")
	cmd := b.Command(context.Background(), "serve", "--data", data, "--listen", "systemd", "--log-format", "json")
	cmd.Args = append(cmd.Args, args...)
	cmd.ExtraFiles = []*os.File{socket}
	return serve(tb, cmd)
}
