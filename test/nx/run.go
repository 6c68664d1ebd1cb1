package nx

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Run says how to build a workspace. Its zero value builds every project without a remote cache.
type Run struct {
	// Server is the value of NX_SELF_HOSTED_REMOTE_CACHE_SERVER; empty: the variable is not set.
	Server string
	// Token points to the value of NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN; nil: the variable is not set.
	Token *string
	// Projects are those to build, and what they depend on; nil: all.
	Projects []string
	// Parallel is how many tasks run at once; 0 is 4.
	Parallel int
	// Env is added to the environment, as NAME=value. Nothing of the test's own environment reaches Nx but PATH.
	Env []string
	// Timeout ends the run, and the test with it. 0 is three minutes: the client waits forever where it waits.
	Timeout time.Duration
}

// Status is what Nx says about a task.
type Status string

// The statuses that Nx prints beside a task, in brackets; nothing for a task that ran.
const (
	Ran    Status = ""
	Remote Status = "remote cache"
	Local  Status = "local cache"
)

// Result is what Nx said and did.
type Result struct {
	// Exit is the status that Nx ended with.
	Exit int
	// Output is all that it printed, standard output and error as they came, without colours.
	Output string
	// Tasks has the tasks that Nx reported on, by project.
	Tasks map[string]Status
	// Failed lists the projects whose task Nx reports as failed, in alphabetical order.
	Failed []string
}

// With lists the projects whose task has the status, in alphabetical order.
func (r Result) With(status Status) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(r.Tasks)) {
		if r.Tasks[name] == status {
			names = append(names, name)
		}
	}
	return names
}

// Remote lists the projects that Nx reports as "[remote cache]".
func (r Result) Remote() []string { return r.With(Remote) }

// Run builds the workspace. It returns when Nx has ended and nothing that it started is left. If the
// test fails, it shows what Nx printed.
func (ws *Workspace) Run(tb testing.TB, run Run) Result {
	tb.Helper()
	result, err := ws.Try(tb.Context(), run)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("nx %s in %s ended with %d and printed:\n%s", ws.release.Version, ws.Dir, result.Exit, abridge(result.Output))
		}
	})
	return result
}

// Try is [Workspace.Run] for goroutines, which cannot end a test. The error says that Nx could not be run or did not end; a
// build that fails is none.
func (ws *Workspace) Try(ctx context.Context, run Run) (Result, error) {
	run.Parallel = cmp.Or(run.Parallel, 4)
	run.Timeout = cmp.Or(run.Timeout, 3*time.Minute)
	ctx, cancel := context.WithTimeout(ctx, run.Timeout)
	defer cancel()
	args := []string{ws.release.bin(), "run-many", "--target=build", "--outputStyle=static", "--parallel=" + strconv.Itoa(run.Parallel)}
	if run.Projects != nil {
		args = append(args, "--projects="+strings.Join(run.Projects, ","))
	}
	cmd := exec.CommandContext(ctx, "node", args...)
	cmd.Dir = ws.Dir
	cmd.Env = ws.environ(run)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	// A group of its own, so that whatever Nx leaves behind can be ended with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	err := cmd.Run()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return Result{}, fmt.Errorf("nx %s did not end within %v; it printed:\n%s", ws.release.Version, run.Timeout, plain(out.String()))
	case err != nil && !errors.As(err, &exit):
		return Result{}, fmt.Errorf("nx %s cannot be run: %w\n%s", ws.release.Version, err, out.String())
	}
	result := parse(out.String())
	result.Exit = cmd.ProcessState.ExitCode()
	return result, nil
}

// environ is closed: a developer's own Nx settings, proxies and trust stores must not decide what a test sees.
func (ws *Workspace) environ(run Run) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + ws.home,
		"TMPDIR=" + ws.home,
		"CI=true",
		"DO_NOT_TRACK=1",
		"NX_DAEMON=false",
		"NX_ISOLATE_PLUGINS=false", // one process less to start and to end
		"NX_NO_CLOUD=true",
		"NX_SKIP_NATIVE_FILE_CACHE=true",
		"NX_TUI=false",
	}
	if run.Server != "" {
		env = append(env, "NX_SELF_HOSTED_REMOTE_CACHE_SERVER="+run.Server)
	}
	if run.Token != nil {
		env = append(env, "NX_SELF_HOSTED_REMOTE_CACHE_ACCESS_TOKEN="+*run.Token)
	}
	return append(env, run.Env...)
}

var (
	colour   = regexp.MustCompile("\x1b\\[[0-9;?]*[a-zA-Z]")
	taskLine = regexp.MustCompile(`(?m)^> nx run ([^:\s]+):build(?:\s+\[([^\]\n]+)\])?\s*$`)
	failures = regexp.MustCompile(`(?m)^Failed tasks:\s*\n\s*\n((?:- .*\n)+)`)
	failure  = regexp.MustCompile(`(?m)^- ([^:\s]+):build\s*$`)
)

func plain(s string) string {
	return colour.ReplaceAllString(strings.ReplaceAll(s, "\r\n", "\n"), "")
}

// parse reads the static output style, which all releases write alike but for colours.
func parse(output string) Result {
	result := Result{Output: plain(output), Tasks: map[string]Status{}}
	for _, m := range taskLine.FindAllStringSubmatch(result.Output, -1) {
		result.Tasks[m[1]] = Status(m[2])
	}
	if block := failures.FindString(result.Output); block != "" {
		for _, m := range failure.FindAllStringSubmatch(block, -1) {
			result.Failed = append(result.Failed, m[1])
		}
	}
	slices.Sort(result.Failed)
	return result
}

// abridge keeps the ends of a long output, which are what tells.
func abridge(s string) string {
	const most = 12 << 10
	if len(s) <= most {
		return s
	}
	return fmt.Sprintf("%s\n[… %d bytes left out …]\n%s", s[:most/2], len(s)-most, s[len(s)-most/2:])
}
