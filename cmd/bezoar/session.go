package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/agent"
)

// defaultTokenVariable is where GitLab's id_tokens put the job's token, if the job says so.
const defaultTokenVariable = "BEZOAR_ID_TOKEN"

type sessionFlags struct {
	github, gitlab bool
	server         string
	audience       string
	tokenVariable  string
	format         string
	ttl, timeout   time.Duration
	allowHTTP      bool
	strict         bool
}

func newSessionCmd(env *environment) *cobra.Command {
	var flags sessionFlags
	cmd := &cobra.Command{
		Use:   "session --github|--gitlab|--token-variable NAME",
		Short: "Get a session for a job of a CI and hand it to Nx",
		Long: `Get a session for a job of a CI and hand it to Nx: take the job's identity token, exchange it at the server, and hand on
` + agent.ServerVariable + ` and
` + agent.TokenVariable + `.

  --github   asks GitHub for the token (the job needs permissions: id-token: write), hides the session's token in the logs, and
             writes both variables to $GITHUB_ENV, for the steps behind.
  --gitlab   takes the token from $` + defaultTokenVariable + ` (id_tokens: in the job) and prints lines for eval.
  --token-variable NAME
             takes it from another variable, in GitLab or any other CI.

With --format: github writes to $GITHUB_ENV; shell, dotenv and json go to standard output, and hold the token.

A token that lives as long as its job, as GitLab's, can be exchanged once. If a step did that before, or the server cannot say, it
becomes the credential itself.

Nothing of this fails a build: what goes wrong is a warning that says what to do, nothing is handed on, the exit status is 0, and Nx
runs without the remote cache. If the server does not answer and ` + agent.ServerVariable + ` is set
in the environment already, it is handed on as empty, since Nx would fail. With --strict the exit status is 1.`,
		Example: `  bezoar session --github --server https://cache.example.com
  eval "$(bezoar session --gitlab --server https://cache.example.com/web)"
  bezoar session --token-variable CIRCLE_OIDC_TOKEN_V2 --server https://cache.example.com --format dotenv > .env.local`,
		Args: noArgs,
	}
	f := cmd.Flags()
	f.BoolVar(&flags.github, "github", false, "the job runs in GitHub Actions")
	f.BoolVar(&flags.gitlab, "gitlab", false, "the job runs in GitLab CI")
	f.StringVar(&flags.tokenVariable, "token-variable", defaultTokenVariable, "the `variable` that holds the identity token")
	f.StringVar(&flags.server, "server", "", "`URL` of the server; else the value of "+agent.ServerVariable)
	f.StringVar(&flags.audience, "audience", "", "what GitHub shall make the token for, as the server's policy has it; else the server's scheme and name")
	f.DurationVar(&flags.ttl, "ttl", 0, "how long the session shall live, such as 3h; else as the server's policy says")
	f.StringVar(&flags.format, "format", "", "github, shell, dotenv or json; else github with --github, and shell")
	f.DurationVar(&flags.timeout, "timeout", 30*time.Second, "bound for all attempts together")
	f.BoolVar(&flags.allowHTTP, "allow-http", false, "send credentials without TLS, beyond this machine too")
	f.BoolVar(&flags.strict, "strict", false, "exit with 1 if there is no session")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if n := count(flags.github, flags.gitlab, cmd.Flags().Changed("token-variable") && !flags.gitlab); n != 1 {
			return usageError(cmd, errors.New("one of --github, --gitlab and --token-variable says where the identity token comes from"))
		}
		format := agent.FormatShell
		if flags.github {
			format = agent.FormatGitHub
		}
		if flags.format != "" {
			var err error
			if format, err = agent.ParseFormat(flags.format); err != nil {
				return usageError(cmd, fmt.Errorf("--format: %w", err))
			}
		}
		if flags.timeout <= 0 || cmd.Flags().Changed("ttl") && flags.ttl < time.Second {
			return usageError(cmd, errors.New("--timeout must be positive, and --ttl at least 1s"))
		}
		return runSession(cmd.Context(), env, flags, format)
	}
	return cmd
}

func count(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func runSession(ctx context.Context, env *environment, flags sessionFlags, format agent.Format) error {
	vars := variablesOf(env.Environ)
	out := handover{env: env, format: format, github: flags.github, file: vars["GITHUB_ENV"]}
	var ci agent.CI = agent.Variable{Name: flags.tokenVariable, Value: vars[flags.tokenVariable]}
	if flags.github {
		ci = agent.GitHub{URL: vars["ACTIONS_ID_TOKEN_REQUEST_URL"], Token: vars["ACTIONS_ID_TOKEN_REQUEST_TOKEN"]}
	}
	ctx, cancel := context.WithTimeout(ctx, flags.timeout)
	defer cancel()
	transport := sessionTransport()
	defer transport.CloseIdleConnections()
	session, err := agent.Get(ctx, agent.Options{
		Server: cmp.Or(flags.server, vars[agent.ServerVariable]), Audience: flags.audience, TTL: flags.ttl, AllowHTTP: flags.allowHTTP,
		CI: ci, Transport: transport,
	})
	if err == nil {
		if err = out.session(session); err == nil {
			fmt.Fprintln(env.Stderr, "bezoar: "+session.Summary())
			return nil
		}
	}
	out.warn(err)
	if f, ok := errors.AsType[*agent.Failure](err); ok && f.Unreachable && vars[agent.ServerVariable] != "" {
		if err := out.off(); err != nil {
			out.warn(err)
		}
	}
	if flags.strict {
		return &statusError{status: exitFailure}
	}
	return nil
}

// sessionTransport is net/http's own, with its proxy variables, and bounds of its own.
func sessionTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	return t
}

// handover gives the steps behind what they need.
type handover struct {
	env    *environment
	format agent.Format
	github bool   // the runner reads commands in what is printed
	file   string // $GITHUB_ENV
}

// session hands on a session. GitHub's runner is told to hide the token before anything else knows it.
func (h *handover) session(s *agent.Session) error {
	if h.github {
		fmt.Fprint(h.commands(), s.Mask())
	}
	return h.write(func(w io.Writer) error { return s.Export(w, h.format) })
}

// off hands on that there is no server.
func (h *handover) off() error {
	return h.write(func(w io.Writer) error { return agent.WriteOff(w, h.format) })
}

func (h *handover) write(to func(io.Writer) error) error {
	if h.format != agent.FormatGitHub {
		return to(h.env.Stdout)
	}
	if h.file == "" {
		return errors.New("GITHUB_ENV is not set, so nothing can be handed to the steps behind: is this a job of GitHub Actions? --format chooses another way")
	}
	// The runner made it; a file that is not there would be read by nobody.
	f, err := os.OpenFile(h.file, os.O_RDWR|os.O_APPEND, 0)
	if err != nil {
		return fmt.Errorf("the file that GITHUB_ENV names cannot be written: %w", err)
	}
	return errors.Join(endLine(f), to(f), f.Close())
}

// endLine ends a last line that somebody left open, so that ours is not taken for its rest.
func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	var last [1]byte
	if _, err := f.ReadAt(last[:], info.Size()-1); err != nil || last[0] == '\n' {
		return err
	}
	_, err = io.WriteString(f, "\n")
	return err
}

// warn says why there is no session, where a person will look.
func (h *handover) warn(err error) {
	text := "no remote cache for this job: " + err.Error()
	if h.github {
		fmt.Fprint(h.commands(), agent.Warning(text))
		return
	}
	fmt.Fprintln(h.env.Stderr, "bezoar: warning: "+text)
}

// commands is where the runner reads commands, and nobody a result: it reads both.
func (h *handover) commands() io.Writer {
	if h.format == agent.FormatGitHub {
		return h.env.Stdout
	}
	return h.env.Stderr
}

// variablesOf is the environment by name. Of several with one name the last counts, as in a shell.
func variablesOf(environ []string) map[string]string {
	vars := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		vars[name] = value
	}
	return vars
}
