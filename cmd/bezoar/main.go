// Command bezoar is a self-hosted remote cache for Nx.
//
// This package is the only place that wires the parts together: one file for each command, no logic of
// its own that another package could hold.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// environment is what a command gets from outside, so that tests can hand in their own.
type environment struct {
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Exit statuses.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// statusError ends a command with a status of its own. An empty text prints nothing: the command
// has said all there is to say.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func main() {
	// The first signal asks commands to end in order; a second one ends the process at once.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], &environment{
		Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr,
	}))
}

// run executes one command line and returns its exit status.
func run(ctx context.Context, args []string, env *environment) int {
	root := newRootCmd(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	status := exitFailure
	if se, ok := errors.AsType[*statusError](err); ok {
		status = se.status
	}
	if text := err.Error(); text != "" {
		fmt.Fprintf(env.Stderr, "bezoar: %s\n", text)
	}
	return status
}

func newRootCmd(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "bezoar",
		Short: "A self-hosted remote cache for Nx that cannot be poisoned and never breaks a build",
		// Errors are printed once, by run, and a mistyped flag does not deserve a page of usage.
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          commandsOnly,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	root.SetFlagErrorFunc(usageError)
	root.AddCommand(
		newServeCmd(env), newTokenCmd(env), newKeyCmd(env), newInspectCmd(env), newVerifyCmd(env), newLedgerCmd(env), newScopeCmd(env), newGCCmd(env), newDivergencesCmd(env), newRevokeCmd(env), newAuditCmd(env), newPurgeCmd(env),
		newDoctorCmd(env), newConfigCmd(env), newPolicyCmd(env), newSessionCmd(env), newVersionCmd(env),
	)
	return root
}

// usageError is the error of a command that was called wrongly.
func usageError(cmd *cobra.Command, err error) error {
	return &statusError{exitUsage, fmt.Errorf("%w\nSee '%s --help'", err, cmd.CommandPath())}
}

// noArgs is cobra.NoArgs without repeating the argument, which may be a token.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(cmd, fmt.Errorf("'%s' takes flags only", cmd.CommandPath()))
	}
	return nil
}

// commandsOnly is noArgs for a command that does nothing but hold others.
func commandsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range cmd.Commands() {
		if c.IsAvailableCommand() && c.Name() != "completion" {
			names = append(names, c.Name())
		}
	}
	last := len(names) - 1
	text := fmt.Sprintf("'%s' has the commands %s and %s", cmd.CommandPath(), strings.Join(names[:last], ", "), names[last])
	cmd.SuggestionsMinimumDistance = 2
	if similar := cmd.SuggestionsFor(args[0]); len(similar) > 0 {
		text += "; did you mean " + similar[0] + "?"
	}
	return usageError(cmd, errors.New(text))
}
