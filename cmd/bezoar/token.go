package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

const (
	// defaultExpiry is short enough that a forgotten token ends by itself. One that has expired breaks no build: it runs without
	// the cache.
	defaultExpiry = "90d"
	// maxExpiryDays keeps slips of the keyboard from making tokens that never expire in effect.
	maxExpiryDays = 3660
)

func newTokenCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke access tokens",
		Long: `Create, list and revoke the access tokens that builds and people present to the server.

They are recorded in the ledger: in the data directory, or in the database that --ledger names. The server needs not run,
and if it does, it takes up what changes by itself: a new token works at once, a revocation holds within a second.

Without any token the server is open to anyone on its own machine. The first token ends that for good.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addLedgerFlags(cmd)
	cmd.AddCommand(newTokenCreateCmd(env), newTokenListCmd(env), newTokenRevokeCmd(env))
	return cmd
}

func newTokenCreateCmd(env *environment) *cobra.Command {
	var name, workspace, access, developer, expires string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "create --name NAME --access read|isolated|trusted",
		Short: "Create a token and show it once",
		Long: `Create a token and show it: this once, since only its SHA-256 is kept.

What a token may do has no default, because it decides who can put what into everybody's builds:

  read      reads what trusted builds stored, and stores nothing. For developers' machines.
  isolated  reads the same, and stores what nobody else reads. For builds of unreviewed code, such as pull requests.
  trusted   reads and stores what every token of the workspace reads. For builds of protected branches alone.

--developer names the person whose token it is, and needs --access isolated: what the machines of one person store, all of that person's
tokens in the workspace read, and nobody else. The server's policy may allow developers less.

--expires takes a number of days (90d), a duration (2160h), a date (2027-01-31, its first moment in UTC), a time as in
RFC 3339, or never. A build whose token has expired runs without the cache; it does not fail.

The token goes to standard output, alone on a line, and all remarks to standard error.

With --json one object goes to standard output:

  id         12 hexadecimal digits that stand for the token in lists and logs
  token      the token itself
  hash       "sha256:" and 64 hexadecimal digits, for the key tokens of the server's configuration
  name, workspace, access
  developer  whose token it is, or ""
  state      "active", "expired" or "revoked"
  created    time (RFC 3339, UTC)
  expires    time, or null: never
  revoked    time, or null`,
		Example: `  bezoar token create --name ci-main --access trusted
  bezoar token create --name jo-laptop --access isolated --developer jo
  TOKEN=$(bezoar token create --name laptop --access read --workspace web --expires 30d)`,
		Args: noArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "name", "", "what the token is for, unique in its workspace: letters, digits and . _ - @ (required)")
	flags.StringVar(&access, "access", "", "what it may do: read, isolated or trusted (required)")
	flags.StringVar(&developer, "developer", "", "whose token it is, a name like that of a token; with --access isolated")
	flags.StringVar(&workspace, "workspace", string(cache.DefaultWorkspace), "the only workspace that it is good for")
	flags.StringVar(&expires, "expires", defaultExpiry, "when it ends: 90d, 2160h, 2027-01-31 or never")
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		token, err := describeToken(name, workspace, access, developer, expires, time.Now())
		if err != nil {
			return usageError(cmd, err)
		}
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		return createToken(cmd.Context(), env, cfg, token, asJSON)
	}
	return cmd
}

// describeToken makes a token of what was said about it. It has no text and no hash yet.
func describeToken(name, workspace, access, developer, expires string, now time.Time) (t trust.Token, err error) {
	if slices.ContainsFunc([]string{name, workspace, access, developer, expires}, trust.HoldsToken) { // what is wrong is repeated below, and a secret must not be
		return t, errors.New("there is a token in a flag that describes one (not shown): 'create' makes the token itself")
	}
	if name == "" {
		return t, errors.New("--name is required: it tells people what the token is for")
	}
	if t.Name, err = trust.ParseTokenName(name); err != nil {
		return t, fmt.Errorf("--name: %w", err)
	}
	if access == "" {
		return t, errors.New("--access is required: read, isolated or trusted; only trusted can put entries into everybody's builds")
	}
	if t.Access, err = trust.ParseAccess(access); err != nil {
		return t, fmt.Errorf("--access: %w", err)
	}
	if developer != "" {
		if t.Developer, err = trust.ParseDeveloper(developer); err != nil {
			return t, fmt.Errorf("--developer: %w", err)
		}
		if t.Access != trust.Isolated {
			return t, fmt.Errorf("--developer needs --access %s: a developer's machine stores what that person alone reads", trust.Isolated)
		}
	}
	if t.Workspace, err = cache.ParseWorkspace(workspace); err != nil {
		return t, fmt.Errorf("--workspace: %w", err)
	}
	t.Created = now.UTC().Truncate(time.Millisecond) // as the ledger keeps it
	if t.Expires, err = parseExpires(expires, t.Created); err != nil {
		return t, fmt.Errorf("--expires: %w", err)
	}
	return t, nil
}

// parseExpires reads when a token ends; the zero time is never.
func parseExpires(s string, now time.Time) (time.Time, error) {
	if s == "never" {
		return time.Time{}, nil
	}
	latest := now.AddDate(0, 0, maxExpiryDays)
	at, err := expiryTime(s, now, latest)
	switch {
	case err != nil:
		return time.Time{}, fmt.Errorf("%q is none of 90d, 2160h, 2027-01-31, a time as in RFC 3339, or never", s)
	case !at.After(now):
		return time.Time{}, fmt.Errorf("%q is over already", s)
	case at.After(latest):
		return time.Time{}, fmt.Errorf("%q is more than %d days ahead: say never if that is what you mean", s, maxExpiryDays)
	}
	return at.UTC().Truncate(time.Millisecond), nil
}

func expiryTime(s string, now, latest time.Time) (time.Time, error) {
	if digits, ok := strings.CutSuffix(s, "d"); ok {
		days, err := strconv.ParseUint(digits, 10, 32)
		if days > maxExpiryDays {
			return latest.Add(1), err
		}
		return now.AddDate(0, 0, int(days)), err
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(d), nil
	}
	if at, err := time.Parse(time.DateOnly, s); err == nil {
		return at, nil
	}
	return time.Parse(time.RFC3339, s)
}

func createToken(ctx context.Context, env *environment, cfg *config.Config, t trust.Token, asJSON bool) (err error) {
	records, err := openLedger(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	text, hash := trust.NewToken()
	t.Hash, t.ID = hash, hash.ID()
	if err := records.CreateToken(ctx, t); err != nil {
		return err
	}
	if err := showNewToken(env, cfg, t, text, asJSON); err != nil {
		return fmt.Errorf("the token %s was created but could not be shown: revoke it and create another one (%w)", t.ID, err)
	}
	return nil
}

func newTokenListCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Long: `List all tokens that ever were, oldest first, without their secrets.

With --json an array of objects goes to standard output, with the fields id, name, workspace, access, developer, state,
created, expires and revoked as 'bezoar token create --help' describes them. It is [] if there are none.`,
		Example: "  bezoar token list\n  bezoar token list --json",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		return listTokens(cmd.Context(), env, cfg, asJSON)
	}
	return cmd
}

func listTokens(ctx context.Context, env *environment, cfg *config.Config, asJSON bool) (err error) {
	var tokens []trust.Token
	records, err := openExistingLedger(ctx, cfg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		fmt.Fprintf(env.Stderr, "There are no tokens: %s has no ledger.\n", cfg.Data)
	case err != nil:
		return err
	default:
		defer func() { err = errors.Join(err, records.Close()) }()
		if tokens, err = records.Tokens(ctx); err != nil {
			return err
		}
		if len(tokens) == 0 {
			fmt.Fprintf(env.Stderr, "There are no tokens in %s.\n", records.Place())
		}
	}
	if n := len(cfg.Tokens); n > 0 {
		fmt.Fprintf(env.Stderr, "Tokens of the configuration are not in this list: 'bezoar config check' shows them (%d).\n", n)
	}
	return showTokens(env.Stdout, tokens, time.Now(), asJSON)
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
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		idOrName := args[0]
		if strings.Contains(idOrName, trust.TokenPrefix) {
			hash, err := trust.ParseToken(idOrName)
			if err != nil {
				return &statusError{exitUsage, err}
			}
			idOrName = hash.ID()
		}
		var named cache.Workspace
		if workspace != "" {
			if named, err = cache.ParseWorkspace(workspace); err != nil {
				return &statusError{exitUsage, fmt.Errorf("--workspace: %w", err)}
			}
		}
		return revokeToken(cmd.Context(), env, cfg, idOrName, named, asJSON)
	}
	return cmd
}

func revokeToken(ctx context.Context, env *environment, cfg *config.Config, idOrName string, workspace cache.Workspace, asJSON bool) (err error) {
	records, err := openExistingLedger(ctx, cfg)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("there are no tokens: %s has no ledger; is it the server's data directory?", cfg.Data)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, records.Close()) }()
	now := time.Now().Truncate(time.Millisecond) // as the ledger keeps it
	t, err := records.RevokeToken(ctx, idOrName, workspace, now)
	if errors.Is(err, ledger.ErrNoToken) {
		return fmt.Errorf("%w\n'bezoar token list' shows the tokens in %s", err, records.Place())
	}
	if err != nil {
		return err
	}
	return showRevoked(env.Stdout, t, now, asJSON)
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
