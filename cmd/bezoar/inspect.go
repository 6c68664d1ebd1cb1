package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

const (
	// maxInspectOutput bounds the bytes of a terminal's output that are shown.
	maxInspectOutput = 1 << 20
	// maxInspectMembers bounds --members.
	maxInspectMembers = 1_000_000
)

// inspection is what was asked for.
type inspection struct {
	key         cache.Key
	members     int
	output, raw bool
	asJSON      bool
	inToto      bool
	target      *target
}

func newInspectCmd(env *environment) *cobra.Command {
	var in inspection
	cmd := &cobra.Command{
		Use:   "inspect WORKSPACE SCOPE HASH",
		Short: "Show an entry: who made it, its seal, and what is in it",
		Long: `Show an entry of the store: its record, who made it, whether its seal is good, and what is in its archive.

The store is only read: nothing in it is changed or set aside, and servers may run meanwhile. Paths and texts of the
archive come from whoever made it; what could control a terminal is shown as an escape such as \x1b.

The exit status is 1 if there is no such entry, if the store would not serve it, or if its seal is not good. Without the
server's key file the seal is not checked.

` + serverHelp + ` It looks with the server's keys, tells of
at most 1,000 members, and never of what the task printed.

With --json one object goes to standard output:

  workspace, scope, hash
  path     the file, or the bucket and the object in it
  damage   why the store would not serve it, or ""
  seal     {"state", "key_id", "reason"}; state is "good", "missing", "broken", "unknown_key", "later_release" or
           "unchecked"
  record   the record as it is stored, with the producer; not to be believed unless the seal is good
  archive  {"fault", "exit_code", "members", "members_shown", "members_in_all", "output", "output_size"}; fault says what is wrong with
           the archive, or is ""; each member has path, type, mode, size, sha256 and target; output is there with --output
Bytes that are no UTF-8 become U+FFFD.

With --in-toto the record goes to standard output as a statement for tools of the supply chain. It is not signed: it is worth what the
server's key and this command's word are.`,
		Example: "  bezoar inspect default trusted 12777289511367993887\n  bezoar inspect web pr/17 12777289511367993887 --members 0 --output",
	}
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range []string{"config", "data", "store", "spool-dir", "seal", "seal-key-file"} {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	addServerFlags(cmd.Flags())
	flags := cmd.Flags()
	flags.IntVar(&in.members, "members", 100, "how many members of the archive are shown")
	flags.BoolVar(&in.output, "output", false, "show what the task wrote to its terminal, at most 1 MiB")
	flags.BoolVar(&in.raw, "raw", false, "with --output: do not escape control sequences, which may do anything to a terminal")
	flags.BoolVar(&in.asJSON, "json", false, "print JSON")
	flags.BoolVar(&in.inToto, "in-toto", false, "print who made it as an in-toto statement with SLSA provenance; its seal must be good")
	cmd.Args = func(cmd *cobra.Command, args []string) (err error) {
		if in.key, err = parseKey(args); err != nil {
			return usageError(cmd, err)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		switch {
		case in.members < 0 || in.members > maxInspectMembers:
			return usageError(cmd, fmt.Errorf("--members is 0 to %d", maxInspectMembers))
		case in.raw && (!in.output || in.asJSON):
			return usageError(cmd, errors.New("--raw goes with --output and without --json"))
		case in.inToto && (in.output || in.asJSON || cmd.Flags().Changed("members")):
			return usageError(cmd, errors.New("--in-toto says who made the entry and nothing of what is in it: leave --json, --output and --members out"))
		}
		var err error
		if in.target, err = findTarget(cmd, env); err != nil {
			return err
		}
		if in.target.client != nil && in.members > admin.MaxRemoteMembers {
			return usageError(cmd, fmt.Errorf("--members is at most %d with --server", admin.MaxRemoteMembers))
		}
		return in.run(cmd.Context(), env)
	}
	return cmd
}

// parseKey reads the three arguments.
func parseKey(args []string) (key cache.Key, err error) {
	if len(args) != 3 {
		return key, errors.New("give the workspace, the scope and the hash of one entry")
	}
	var errs [3]error
	key.Workspace, errs[0] = cache.ParseWorkspace(args[0])
	key.Scope, errs[1] = cache.ParseScope(args[1])
	key.Hash, errs[2] = cache.ParseHash(args[2])
	for i, what := range []string{"WORKSPACE", "SCOPE", "HASH"} {
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s %q: %w", what, args[i], errs[i])
		}
	}
	return key, errors.Join(errs[:]...)
}

func (in *inspection) run(ctx context.Context, env *environment) error {
	if in.target.client != nil {
		return in.show(ctx, env, in.target.client)
	}
	finder, closeFinder, err := openFinder(ctx, in.target.cfg)
	if err != nil {
		return err
	}
	local := admin.New(admin.Options{Finder: finder, Seal: in.judgeSeal, Limits: artifactLimits(in.target.cfg), Now: time.Now})
	return errors.Join(in.show(ctx, env, local.As(admin.LocalOperator(""))), closeFinder())
}

func (in *inspection) show(ctx context.Context, env *environment, service admin.Service) error {
	look := admin.Look{Archive: !in.inToto, Members: in.members}
	if in.output {
		look.Output = maxInspectOutput
	}
	found, err := service.Inspect(ctx, in.key, look)
	if err != nil {
		return err
	}
	report := inspected{found}
	if in.inToto {
		s, err := report.state(in.key)
		if err != nil {
			return err
		}
		return writeHarmlessJSON(env.Stdout, s)
	}
	if in.asJSON {
		err = writeHarmlessJSON(env.Stdout, found)
	} else {
		err = report.writeText(env.Stdout, in)
	}
	if err == nil && (found.Damage != "" || found.Seal.State != admin.SealGood && found.Seal.State != admin.SealUnchecked) {
		return &statusError{status: exitFailure}
	}
	return err
}

// judgeSeal verifies the seal as the server would.
func (in *inspection) judgeSeal(key cache.Key, record cache.Record) (admin.Seal, error) {
	path := string(in.target.cfg.SealKeyFile)
	ring, err := keyring.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return admin.Seal{State: admin.SealUnchecked, KeyID: seal.KeyID(record.Seal), Reason: "there is no key file " + path}, nil
	}
	if err != nil {
		return admin.Seal{}, err
	}
	return admin.JudgeSeal(ring.Derive("seal"), key, record), nil
}

// artifactLimits bound the unpacking of an archive.
func artifactLimits(cfg *config.Config) artifact.Limits {
	return artifact.Limits{
		MaxInflated:   int64(cfg.MaxInflatedSize),
		MaxRatio:      int64(cfg.MaxInflateRatio),
		MaxMembers:    cfg.MaxMembers,
		MaxPathLength: cfg.MaxPathLength,
	}
}
