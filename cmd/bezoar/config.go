package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/config"
)

func newConfigCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and print the configuration of the server",
		Args:  commandsOnly,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCmd(env), newConfigSchemaCmd(env))
	return cmd
}

func newConfigCheckCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and print it, with the source of each setting",
		Long: `Check the configuration that 'bezoar serve' would have with the same flags, environment and file.

It is printed as a file in YAML, each setting with a comment that says where it came from. Secrets are redacted.
The policy that it names is checked, too. If it is not valid, all problems are printed instead and the exit status is 1.`,
		Example: "  bezoar config check --config /etc/bezoar.yaml",
		Args:    noArgs,
	}
	config.Flags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, sources, err := config.Load(cmd.Flags(), env.Environ, config.OS{})
		if err != nil {
			return &statusError{exitFailure, err}
		}
		for _, warning := range sources.Warnings {
			fmt.Fprintln(env.Stderr, "bezoar: warning: "+warning)
		}
		if cfg.Policy != "" {
			p, err := readPolicy(string(cfg.Policy))
			if err != nil {
				return fmt.Errorf("the policy: %w", err)
			}
			warnOfPolicy(env, string(cfg.Policy), p)
		}
		return cfg.WriteYAML(env.Stdout, sources)
	}
	return cmd
}

func newConfigSchemaCmd(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file",
		Example: "  bezoar config schema > bezoar.schema.json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = env.Stdout.Write(schema)
			return err
		},
	}
}
