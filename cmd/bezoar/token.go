package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
)

func newTokenCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke access tokens",
		Long: `Create, list and revoke the access tokens that builds and people present to the server.

They are recorded in the ledger: in the data directory, or in the database that --ledger names. The server needs not run,
and if it does, it takes up what changes by itself: a new token works at once, a revocation holds within a second.

` + serverHelp + `

Without any token the server is open to anyone on its own machine. The first token ends that for good.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addLedgerFlags(cmd)
	addServerFlags(cmd.PersistentFlags())
	cmd.AddCommand(newTokenCreateCmd(env), newTokenListCmd(env), newTokenRevokeCmd(env))
	return cmd
}

func newTokenCreateCmd(env *environment) *cobra.Command {
	var asked admin.NewToken
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create --name NAME --access read|isolated|trusted | --role viewer|operator|admin",
		Short: "Create a token and show it once",
		Long: `Create a token and show it: this once, since only its SHA-256 is kept.

What a token may do has no default, because it decides who can put what into everybody's builds:

  read      reads what trusted builds stored, and stores nothing. For developers' machines.
  isolated  reads the same, and stores what nobody else reads. For builds of unreviewed code, such as pull requests.
  trusted   reads and stores what every token of the workspace reads. For builds of protected branches alone.

--developer names the person whose token it is, and needs --access isolated: what the machines of one person store, all of that person's
tokens in the workspace read, and nobody else. The server's policy may allow developers less.

--role makes a token of the API of operators instead, which is none of the cache: it reads and stores no artifact, and no token of the cache is one
of that API. It is for one workspace with --workspace, and else for the whole server:

  viewer    sees tokens (without their secrets), revocations, entries, scopes, the policy and the server's state.
  operator  also does what is routine or can be undone: revoke, and delete scopes that are not trusted.
  admin     does everything: create tokens, revoke those of operators, lift revocations.

--expires takes a number of days (90d), a duration (2160h), a date (2027-01-31, its first moment in UTC), a time as in
RFC 3339, or never. A build whose token has expired runs without the cache; it does not fail.

The token goes to standard output, alone on a line, and all remarks to standard error.

With --json one object goes to standard output:

  id         12 hexadecimal digits that stand for the token in lists and logs
  token      the token itself
  hash       "sha256:" and 64 hexadecimal digits, for the key tokens of the server's configuration
  name, workspace, access, role
  developer  whose token it is, or ""
  state      "active", "expired" or "revoked"
  created    time (RFC 3339, UTC)
  expires    time, or null: never
  revoked    time, or null`,
		Example: `  bezoar token create --name ci-main --access trusted
  bezoar token create --name jo-laptop --access isolated --developer jo
  bezoar token create --name ops --role operator --expires 30d > ops.token
  TOKEN=$(bezoar token create --name laptop --access read --workspace web --expires 30d)`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&asked.Name, "name", "", "what the token is for, unique in its workspace: letters, digits and . _ - @ (required)")
	flags.StringVar(&asked.Access, "access", "", "what it may do with the cache: read, isolated or trusted (this or --role is required)")
	flags.StringVar(&asked.Role, "role", "", "what it may do at the API of operators, instead: viewer, operator or admin")
	flags.StringVar(&asked.Developer, "developer", "", "whose token it is, a name like that of a token; with --access isolated")
	flags.StringVar(&asked.Workspace, "workspace", "", `the only workspace that it is good for (default "default", and all of them with --role)`)
	flags.StringVar(&asked.Expires, "expires", admin.DefaultExpiry, "when it ends: 90d, 2160h, 2027-01-31 or never")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if _, err := admin.DescribeToken(asked, time.Now()); err != nil {
			return usageError(cmd, flagError(err))
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return createToken(cmd.Context(), env, t, asked, asJSON)
	}
	return cmd
}

func createToken(ctx context.Context, env *environment, t *target, asked admin.NewToken, asJSON bool) error {
	return t.with(ctx, openLedger, func(service admin.Service) error {
		made, err := service.CreateToken(ctx, asked)
		if err != nil {
			return flagError(err)
		}
		if err := showNewToken(env, t.url(), made, asJSON); err != nil {
			return fmt.Errorf("the token %s was created but could not be shown: revoke it and create another one (%w)", made.ID, err)
		}
		return nil
	})
}

func newTokenListCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Long: `List all tokens that ever were, oldest first, without their secrets.

With --json an array of objects goes to standard output, with the fields id, name, workspace, access, role, developer, state,
created, expires and revoked as 'bezoar token create --help' describes them. It is [] if there are none.`,
		Example: "  bezoar token list\n  bezoar token list --json",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		return listTokens(cmd.Context(), env, t, asJSON)
	}
	return cmd
}

func listTokens(ctx context.Context, env *environment, t *target, asJSON bool) error {
	tokens := []admin.Token{} // [] and not null
	err := t.with(ctx, openExistingLedger, func(service admin.Service) error {
		err := admin.All(ctx, func(ctx context.Context, page admin.Page) (admin.Tokens, error) { return service.Tokens(ctx, "", page) },
			func(got admin.Tokens) string { return got.Next },
			func(got admin.Tokens) error { tokens = append(tokens, got.Tokens...); return nil })
		if err == nil && len(tokens) == 0 {
			fmt.Fprintf(env.Stderr, "There are no tokens in %s.\n", service.Place())
		}
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(env.Stderr, "There are no tokens: %s has no ledger.\n", t.cfg.Data)
	case err != nil:
		return err
	}
	if t.cfg != nil && len(t.cfg.Tokens) > 0 {
		fmt.Fprintf(env.Stderr, "Tokens of the configuration are not in this list: 'bezoar config check' shows them (%d).\n", len(t.cfg.Tokens))
	}
	return showTokens(env.Stdout, tokens, asJSON)
}

func newTokenRevokeCmd(env *environment) *cobra.Command {
	var workspace string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "revoke ID|NAME",
		Short: "Revoke a token for good",
		Long: `Revoke a token for good. A running server refuses it within a second, uploads that are under way included. Builds
that still present it fail with the reason. What it stored stays.

Revoking a token that is revoked already succeeds and changes nothing. If all that you have is the token itself, it
may stand for its ID.

With --json the token goes to standard output as an object with the fields of 'bezoar token list'.`,
		Example: "  bezoar token revoke 3f9a1c22b07e\n  bezoar token revoke ci-main --workspace web",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError(cmd, errors.New("give the ID or the name of one token"))
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&workspace, "workspace", "", "the workspace of the token, if tokens of several have its name")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		idOrName, err := admin.TokenID(args[0])
		if err != nil {
			return &statusError{exitUsage, err}
		}
		var named cache.Workspace
		if workspace != "" {
			if named, err = cache.ParseWorkspace(workspace); err != nil {
				return &statusError{exitUsage, fmt.Errorf("--workspace: %w", err)}
			}
		}
		return revokeToken(cmd.Context(), env, t, idOrName, named, asJSON)
	}
	return cmd
}

func revokeToken(ctx context.Context, env *environment, t *target, idOrName string, workspace cache.Workspace, asJSON bool) error {
	err := t.with(ctx, openExistingLedger, func(service admin.Service) error {
		change, err := service.RevokeToken(ctx, idOrName, workspace)
		if err != nil && admin.CodeOf(err) == admin.NotFound {
			return fmt.Errorf("%w\n'bezoar token list' shows the tokens in %s", err, service.Place())
		}
		if err != nil {
			return err
		}
		return showRevoked(env.Stdout, change, asJSON)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there are no tokens: %s has no ledger; is it the server's data directory?", t.cfg.Data)
	}
	return err
}

// tokenConfig is the server's configuration, as far as it concerns tokens.
func tokenConfig(cmd *cobra.Command, env *environment) (*config.Config, error) {
	cfg, sources, err := config.Load(cmd.Flags(), env.Environ, config.OS{})
	if err != nil {
		return nil, &statusError{exitUsage, err}
	}
	for _, warning := range sources.Warnings {
		fmt.Fprintln(env.Stderr, "bezoar: warning: "+warning)
	}
	return cfg, nil
}
