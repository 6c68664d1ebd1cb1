package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
)

func newAuditCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Read the audit log, and verify that nobody changed it",
		Long: `Read the audit log, and verify that nobody changed it.

It says who stored what, was denied, got a session, made and revoked tokens, revoked identities, purged, and which policy and keys were in
force when. Downloads are not in it. It lies in the ledger; each event is bound to all before it by a hash, and servers sign the chain with a key
that comes from the key file, so that who can write to the ledger alone cannot change what was signed without being found out.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addLedgerFlags(cmd)
	addServerFlags(cmd.PersistentFlags())
	cmd.AddCommand(newAuditListCmd(env), newAuditExportCmd(env), newAuditVerifyCmd(env), newAuditHeadCmd(env))
	return cmd
}

func newAuditExportCmd(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "export",
		Short: "Write the whole audit log as lines of JSON",
		Long: `Write the whole audit log to standard output, oldest event first, one JSON object on a line: events, and among them the seals of servers.
'bezoar audit verify --from-file' reads it, without a server or its ledger.

` + serverHelp,
		Example: "  bezoar audit export > audit.jsonl",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			t, err := findTarget(cmd, env)
			if err != nil {
				return err
			}
			return t.withRecords(cmd.Context(), func(service admin.Service) error {
				w := bufio.NewWriter(env.Stdout)
				return errors.Join(eachAuditLines(cmd.Context(), service, func(lines string) error {
					_, err := w.WriteString(lines)
					return err
				}), w.Flush())
			})
		},
	}
}

// eachAuditLines reads the whole audit log, some lines at a time.
func eachAuditLines(ctx context.Context, service admin.Service, each func(lines string) error) error {
	return admin.All(ctx, service.AuditLines, func(p admin.AuditLines) string { return p.Next }, func(p admin.AuditLines) error {
		if len(p.Lines) == 0 {
			return nil
		}
		return each(strings.Join(p.Lines, "\n") + "\n")
	})
}

func newAuditVerifyCmd(env *environment) *cobra.Command {
	var file, head string
	var public []string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Verify that the audit log is whole, and find the first event that is not",
		Long: `Verify that the audit log is whole: that no event was changed, removed, moved or put in.

It follows the chain of hashes from its beginning, or from where servers trimmed it, and checks what servers signed with the key file, or with
the keys that --public-key names. Without any key the chain alone is verified, which somebody who can write to the ledger could have made anew.

--head is the hash of an event that has to be in the chain, such as one that 'bezoar audit head' or the log of a server told and that was
kept elsewhere: with it, nobody can have cut the end off or made anew what came before.

` + serverHelp + ` The log is verified
here, line by line as the server sends it. Without --public-key the keys are those that the server tells: that finds out who had the ledger alone.

The exit status is 0 if it is whole, and 1 if not: then the first row that is broken is named, and how:

  changed     it is not what its hash was made of
  missing     it is not there, although later ones are
  reordered   it is elsewhere, and another one in its place
  truncated   the chain ends before a seal or before --head
  rewritten   the chain is whole, and not the one that was signed
  forged      a signature is not good
  unsealed    all seals were removed
  damaged     a line of the file is none of an export

With --json an object goes to standard output: whole (true or false), rows, first, last, head, seals (good ones), unchecked (of keys that are not
known), sealed (the last row that was signed), and for a broken chain kind, row and text.`,
		Example: `  bezoar audit verify
  bezoar audit verify --from-file audit.jsonl --head 5f0c…`,
		Args: noArgs,
	}
	addKeyFileFlag(cmd)
	cmd.Flags().StringVar(&file, "from-file", "", "verify this file, which 'bezoar audit export' wrote, and not the ledger; -: standard input")
	cmd.Flags().StringVar(&head, "head", "", "the hash of an event that has to be in the chain")
	cmd.Flags().StringArrayVar(&public, "public-key", nil, "a key as 'bezoar audit head' shows it, in place of the key file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var want *audit.Hash
		if head != "" {
			h, err := audit.ParseHash(head)
			if err != nil {
				return usageError(cmd, fmt.Errorf("--head: %w", err))
			}
			want = &h
		}
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		defer t.end()
		return verifyAudit(cmd.Context(), env, t, auditQuestion{file, public, want, asJSON})
	}
	return cmd
}

// auditQuestion is what is to be verified, and by what.
type auditQuestion struct {
	file   string
	public []string
	head   *audit.Hash
	asJSON bool
}

func verifyAudit(ctx context.Context, env *environment, t *target, q auditQuestion) error {
	keys, warning, err := verifyingKeys(ctx, t, q)
	if err != nil {
		return err
	}
	v := audit.NewVerifier(keys, q.head)
	switch {
	case q.file != "":
		err = verifyFile(env, q.file, v)
	case t.client != nil:
		err = eachAuditLines(ctx, t.client, func(lines string) error { return audit.Lines(strings.NewReader(lines), v) })
	default:
		err = withRecords(ctx, t.cfg, func(records *ledger.Ledger) error { return audit.Read(ctx, records, 0, v) })
	}
	if err != nil {
		return err
	}
	if warning != "" {
		fmt.Fprintln(env.Stderr, "bezoar: warning: "+warning)
	}
	return showVerified(env.Stdout, v, q.asJSON)
}

// verifyingKeys are those that were named, or those of the key file, or those that the server tells; nil if there are none. The warning says what they are worth.
func verifyingKeys(ctx context.Context, t *target, q auditQuestion) (keys audit.Keys, warning string, err error) {
	if len(q.public) > 0 {
		keys, err := audit.ParsePublicKeys(q.public)
		if err != nil {
			return nil, "", &statusError{exitUsage, fmt.Errorf("--public-key: %w", err)}
		}
		return keys, "", nil
	}
	if t.client != nil {
		return serverKeys(ctx, t.client)
	}
	ring, err := keyring.Open(string(t.cfg.SealKeyFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Sprintf("there is no key file %s, and no signature was checked: the whole chain could have been made anew", t.cfg.SealKeyFile), nil
	}
	if err != nil {
		return nil, "", err
	}
	return audit.PublicKeys(auditKeys(ring)), "", nil
}

// serverKeys asks a server for its keys. Who has the server has them.
func serverKeys(ctx context.Context, service admin.Service) (audit.Keys, string, error) {
	head, err := service.AuditHead(ctx)
	if err != nil && admin.CodeOf(err) == admin.NotFound {
		return nil, "the server has sealed nothing yet, and no signature was checked", nil
	}
	if err != nil {
		return nil, "", err
	}
	keys, err := audit.ParsePublicKeys(head.PublicKeys)
	if err != nil {
		return nil, "", fmt.Errorf("the keys of %s: %w", service.Place(), err)
	}
	return keys, "the keys are those that the server tells: --public-key has it verified by those that you kept", nil
}

func verifyFile(env *environment, name string, v *audit.Verifier) error {
	if name == "-" {
		return audit.Lines(env.Stdin, v)
	}
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return audit.Lines(f, v)
}

func newAuditHeadCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "head",
		Short: "Seal the audit log and show its head, to be kept elsewhere",
		Long: `Verify what came since the last seal, seal the audit log with the active key of the key file, and show its head: the hash of its last event. Kept
where the ledger's writers cannot reach it, it proves later that nothing up to here was changed: 'bezoar audit verify --head HASH'.

` + serverHelp + `

The hash goes to standard output, alone on a line. With --json an object does: row, head, key and public_key. The last one is for --public-key, so
that others can verify an export without the key file.`,
		Example: "  bezoar audit head\n  bezoar audit head --json",
		Args:    noArgs,
	}
	addKeyFileFlag(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		t, err := findTarget(cmd, env)
		if err != nil {
			return err
		}
		if t.client != nil {
			defer t.end()
			head, err := t.client.SealAudit(cmd.Context())
			if err != nil {
				return err
			}
			return showHead(env.Stdout, head, asJSON)
		}
		ring, err := openRing(t.cfg)
		if err != nil {
			return err
		}
		return withRecords(cmd.Context(), t.cfg, func(records *ledger.Ledger) error {
			local := admin.New(admin.Options{Ledger: records, Now: time.Now, AuditKeys: auditKeys(ring)})
			head, err := local.As(admin.LocalOperator(whoOrders())).SealAudit(cmd.Context())
			if err != nil {
				return err
			}
			return showHead(env.Stdout, head, asJSON)
		})
	}
	return cmd
}

// addKeyFileFlag lets a command find the key file of the server.
func addKeyFileFlag(cmd *cobra.Command) {
	var all pflag.FlagSet
	config.Flags(&all)
	cmd.Flags().AddFlag(all.Lookup("seal-key-file"))
}

// parseAction reads the name of an action.
func parseAction(s string) (audit.Action, error) {
	if slices.Contains(audit.Actions[:], audit.Action(s)) {
		return audit.Action(s), nil
	}
	names := make([]string, len(audit.Actions))
	for i, a := range audit.Actions {
		names[i] = string(a)
	}
	return "", fmt.Errorf("%q is none of %s", s, strings.Join(names, ", "))
}
