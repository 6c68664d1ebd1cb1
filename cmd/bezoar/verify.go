package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// verification is what was asked for.
type verification struct {
	part             cache.Part
	hash             cache.Hash // empty: all
	setAside, asJSON bool
}

func newVerifyCmd(env *environment) *cobra.Command {
	var v verification
	cmd := &cobra.Command{
		Use:   "verify [WORKSPACE [SCOPE [HASH]]]",
		Short: "Read what is stored and tell what of it is damaged",
		Long: `Read all that is stored, or a workspace, a scope or one entry of it, and tell what is damaged: what has no record or that of another key,
another size or SHA-256 than its record says, or a seal that is not good.

Nothing in the store is changed, and servers may run meanwhile. With --set-aside, what is damaged is set aside, as a server does with what it finds: the
key is free then, and the next build makes the entry anew. With a bucket, what waits in the spool of this machine is read, too; copies in a
tier are not, since a server verifies them when it reads them.

The exit status is 1 if something is damaged or cannot be read.

With --json one object goes to standard output:

  entries, bytes   what was read
  damaged          how many entries are damaged
  errors           how many entries or parts of the store could not be read; standard error says why
  found            the first thousand damaged ones: {"workspace", "scope", "hash", "path", "reason", "set_aside"}; the
                   key is empty if it is not to be read`,
		Example: "  bezoar verify\n  bezoar verify web trusted --set-aside",
	}
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range []string{"config", "data", "store", "spool-dir", "seal", "seal-key-file"} {
		cmd.Flags().AddFlag(all.Lookup(name))
	}
	cmd.Flags().BoolVar(&v.setAside, "set-aside", false, "take what is damaged out of the way")
	cmd.Flags().BoolVar(&v.asJSON, "json", false, "print JSON")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := v.parse(args); err != nil {
			return usageError(cmd, err)
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := tokenConfig(cmd, env)
		if err != nil {
			return err
		}
		return v.run(cmd.Context(), cfg, env)
	}
	return cmd
}

func (v *verification) parse(args []string) error {
	if len(args) > 3 {
		return errors.New("give a workspace, a scope and a hash at most")
	}
	var errs [3]error
	for i, arg := range args {
		switch i {
		case 0:
			v.part.Workspace, errs[i] = cache.ParseWorkspace(arg)
		case 1:
			v.part.Scope, errs[i] = cache.ParseScope(arg)
		case 2:
			v.hash, errs[i] = cache.ParseHash(arg)
		}
		if errs[i] != nil {
			errs[i] = fmt.Errorf("%s %q: %w", [...]string{"WORKSPACE", "SCOPE", "HASH"}[i], arg, errs[i])
		}
	}
	return errors.Join(errs[:]...)
}

func (v *verification) run(ctx context.Context, cfg *config.Config, env *environment) (err error) {
	ring, err := openRing(cfg)
	if err != nil {
		return err
	}
	places, closePlaces, err := openPlaces(ctx, cfg, ring, v.setAside)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closePlaces()) }()
	r := &verifyReport{env: env, asJSON: v.asJSON, setAside: v.setAside}
	for _, place := range places {
		if err := v.verify(ctx, place, ring.Derive("seal"), r); err != nil {
			return err
		}
	}
	return r.end()
}

func (v *verification) verify(ctx context.Context, place *verifiedPlace, keys keyring.Keys, r *verifyReport) error {
	way := cache.LeaveAlone
	if v.setAside {
		way = cache.SetAside
	}
	if v.hash != "" {
		key := cache.Key{Workspace: v.part.Workspace, Scope: v.part.Scope, Hash: v.hash}
		v.entry(ctx, place, keys, cache.Step{Entry: cache.Entry{Key: key}, Place: key.String()}, r)
		return ctx.Err()
	}
	for step, err := range place.Walk(ctx, v.part, "", way) {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			r.failed(err)
		case step.Damage != nil:
			r.damaged(step.Key, step.Place, step.Damage, step.Stuck)
		default:
			v.entry(ctx, place, keys, step, r)
		}
	}
	return ctx.Err()
}

// entry reads one entry.
func (v *verification) entry(ctx context.Context, place *verifiedPlace, keys keyring.Keys, step cache.Step, r *verifyReport) {
	found, err := place.look(ctx, step.Key)
	if errors.Is(err, cache.ErrNotExist) {
		return // it went meanwhile
	}
	if err != nil {
		r.failed(err)
		return
	}
	defer found.Close()
	flaw := found.Damage
	if flaw == nil {
		flaw = seal.Verify(keys, step.Key, found.Record)
	}
	switch {
	case flaw == nil:
		r.whole(found.Record.Size)
	case errors.Is(flaw, seal.ErrLater):
		r.failed(fmt.Errorf("%s: %w", found.Place, flaw))
	case v.setAside:
		r.damaged(step.Key, found.Place, flaw, place.setAside(ctx, step.Key, found.Record, flaw))
	default:
		r.damaged(step.Key, found.Place, flaw, nil)
	}
}
