package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

func newPolicyCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Check, explain and test a policy",
		Long: `Check, explain and test a policy: the file that says which identities of CIs may read and write what.

Nothing here needs a server, or changes one. A running server takes up a new policy by itself, within seconds after its file
was replaced.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyCheckCmd(env), newPolicyExplainCmd(env), newPolicyTestCmd(env), newPolicySchemaCmd(env))
	return cmd
}

func newPolicyCheckCmd(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE",
		Short: "Check that a policy loads, and say what it comes down to",
		Long: `Check that a policy loads, as 'bezoar serve' would load it, and say what it comes down to.

Exit status: 0 it loads, 1 it does not, with all problems and their places on standard error.`,
		Example: "  bezoar policy check /etc/bezoar/policy.yaml",
		Args:    oneFile("a policy"),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := readPolicy(args[0])
			if err != nil {
				return err
			}
			warnOfPolicy(env, args[0], p)
			var workspaces []string
			for _, name := range p.Workspaces() {
				workspaces = append(workspaces, string(name))
			}
			_, err = fmt.Fprintf(env.Stdout, "%s loads\n  audience     %s\n  issuers      %s\n  workspaces   %s\n  fingerprint  %s\n",
				args[0], p.Audience(), strings.Join(issuerURLs(p), ", "), strings.Join(workspaces, ", "), p.Fingerprint())
			return err
		},
	}
}

func newPolicySchemaCmd(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of a policy",
		Example: "  bezoar policy schema > policy.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := policy.Schema()
			if err != nil {
				return err
			}
			_, err = env.Stdout.Write(schema)
			return err
		},
	}
}

// oneFile asks for one argument, and repeats none, which may be a token.
func oneFile(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError(cmd, fmt.Errorf("'%s' takes one argument, the file of %s", cmd.CommandPath(), what))
		}
		return nil
	}
}

// policyFlags adds the flags that name the server's policy, as 'bezoar serve' has them.
func policyFlags(to *pflag.FlagSet) {
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range []string{"config", "policy"} {
		to.AddFlag(all.Lookup(name))
	}
}

// namedPolicy reads the policy that flags, environment or configuration name.
func namedPolicy(cmd *cobra.Command, env *environment) (*policy.Policy, error) {
	cfg, err := tokenConfig(cmd, env)
	if err != nil {
		return nil, err
	}
	if cfg.Policy == "" {
		return nil, usageError(cmd, errors.New("no policy is named: give its file with --policy"))
	}
	p, err := readPolicy(string(cfg.Policy))
	if err != nil {
		return nil, err
	}
	return p, nil
}

func readPolicy(path string) (*policy.Policy, error) {
	data, err := readFile(path, policy.MaxSize)
	if err != nil {
		return nil, err
	}
	return policy.Parse(path, data)
}

func warnOfPolicy(env *environment, path string, p *policy.Policy) {
	for _, warning := range p.Warnings() {
		fmt.Fprintf(env.Stderr, "bezoar: warning: %s: %s\n", path, warning)
	}
}

// readFile reads a file of no more than limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readAll(f, path, limit)
}

func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s has more than %d bytes: is it the right file?", name, limit)
	}
	return data, nil
}
