package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/keyring"
)

func newKeyCmd(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "List and replace the keys that seal entries and sign sessions",
		Long: `List and replace the keys that seal entries and sign sessions.

They are lines of a file: --seal-key-file, or seal.key in the data directory, where the server makes it at its first
start. The first key is the active one: it seals and signs. All of them verify. Commands show their IDs, never the keys.

Servers over one store need the same file, and take it up when they start. To replace a key while they all work:

  1. 'bezoar key add', give the file to every server, and restart each: now all know the new key.
  2. 'bezoar key activate' with its ID, the same again: now all use it.
  3. 'bezoar key remove' with the ID of the old one, when what it sealed will not be missed.

Keep a copy of the file where the store's backups are not: without the keys all entries are misses, and whoever has both
the keys and a way into the store can forge entries.`,
		Args: commandsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// The same file as the server's, from the same places.
	var all pflag.FlagSet
	config.Flags(&all)
	for _, name := range []string{"config", "data", "seal-key-file"} {
		cmd.PersistentFlags().AddFlag(all.Lookup(name))
	}
	cmd.AddCommand(newKeyListCmd(env), newKeyAddCmd(env), newKeyActivateCmd(env), newKeyRemoveCmd(env))
	return cmd
}

// keyJSON is what --json prints of a key. Scripts depend on it: fields are added, never changed.
type keyJSON struct {
	ID    string `json:"id"`
	State string `json:"state"`
}

// The states of a key.
const (
	keyActive   = "active"
	keyVerifies = "verifies"
)

func newKeyListCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys by their IDs",
		Long: `List the keys of the file by their IDs, the active one first.

With --json an array of objects goes to standard output. It is [] if there is no file.

  id     12 hexadecimal digits that stand for the key in records and logs
  state  "active" or "verifies"`,
		Example: "  bezoar key list\n  bezoar key list --seal-key-file /etc/bezoar/seal.key --json",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path, err := keyFile(cmd, env)
		if err != nil {
			return err
		}
		ring, err := keyring.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			fmt.Fprintf(env.Stderr, "There are no keys: there is no file %s.\n", path)
			ring, err = keyring.New(), nil
		}
		if err != nil {
			return err
		}
		for _, warning := range ring.Warnings() {
			fmt.Fprintln(env.Stderr, "bezoar: warning: "+warning)
		}
		return showKeys(env, ring.IDs(), asJSON)
	}
	return cmd
}

func showKeys(env *environment, ids []string, asJSON bool) error {
	keys := make([]keyJSON, 0, len(ids)) // [] and not null
	for i, id := range ids {
		keys = append(keys, keyJSON{id, keyState(i == 0)})
	}
	if asJSON {
		return writeJSON(env.Stdout, keys)
	}
	if len(keys) == 0 {
		return nil
	}
	table := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE")
	for _, key := range keys {
		fmt.Fprintf(table, "%s\t%s\n", key.ID, key.State)
	}
	return table.Flush()
}

func keyState(active bool) string {
	if active {
		return keyActive
	}
	return keyVerifies
}

func newKeyAddCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a fresh key that verifies but is not active yet",
		Long: `Add a fresh key to the end of the file. It verifies, but seals and signs nothing until it is activated. If there is no
file, it is made, and its only key is active.

The ID goes to standard output, alone on a line; with --json, an object with the fields of 'bezoar key list'.`,
		Example: "  bezoar key add\n  ID=$(bezoar key add --seal-key-file /etc/bezoar/seal.key)",
		Args:    noArgs,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		path, err := keyFile(cmd, env)
		if err != nil {
			return err
		}
		id, active, err := keyring.Add(path)
		if err != nil {
			return err
		}
		if active {
			fmt.Fprintf(env.Stderr, "Made %s with the active key %s.\n", path, id)
		} else {
			fmt.Fprintf(env.Stderr, "Added the key %s to %s. When every server was restarted with it: bezoar key activate %s\n", id, path, id)
		}
		if asJSON {
			return writeJSON(env.Stdout, keyJSON{id, keyState(active)})
		}
		_, err = fmt.Fprintln(env.Stdout, id)
		return err
	}
	return cmd
}

func newKeyActivateCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "activate ID",
		Short: "Let a key seal and sign from now on",
		Long: `Move a key to the first place of the file: servers seal and sign with it when they start the next time. Every server
over the same store has to know it before, or it takes what others seal for misses.

With --json the keys go to standard output as 'bezoar key list' prints them.`,
		Example: "  bezoar key activate 3f9a1c22b07e",
		Args:    oneKeyID,
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := keyFile(cmd, env)
		if err != nil {
			return err
		}
		if err := keyring.Activate(path, args[0]); err != nil {
			return withKeyHint(err)
		}
		if !asJSON {
			_, err = fmt.Fprintf(env.Stdout, "The key %s is the active one of %s: servers use it from their next start on.\n", args[0], path)
			return err
		}
		return showKeyFile(env, path)
	}
	return cmd
}

func newKeyRemoveCmd(env *environment) *cobra.Command {
	var force, asJSON bool
	cmd := &cobra.Command{
		Use:   "remove ID --force",
		Short: "Remove a key, and with it the use of what it sealed",
		Long: `Remove a key that is not active. From their next start on, servers take what it sealed for forged: each such entry is a
miss and is set aside when it is asked for. Sessions that it signed end.

Without --force this is all that is said, and nothing is removed.

With --json the keys that are left go to standard output as 'bezoar key list' prints them.`,
		Example: "  bezoar key remove 3f9a1c22b07e --force",
		Args:    oneKeyID,
	}
	cmd.Flags().BoolVar(&force, "force", false, "remove it in spite of what is lost")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := keyFile(cmd, env)
		if err != nil {
			return err
		}
		if !force {
			return explainRemoval(path, args[0])
		}
		if err := keyring.Remove(path, args[0]); err != nil {
			return withKeyHint(err)
		}
		if !asJSON {
			_, err = fmt.Fprintf(env.Stdout, "The key %s is no more in %s: servers do without it from their next start on.\n", args[0], path)
			return err
		}
		return showKeyFile(env, path)
	}
	return cmd
}

// explainRemoval says why a key is not removed without --force.
func explainRemoval(path, id string) error {
	ring, err := keyring.Open(path)
	if err != nil {
		return withKeyHint(err)
	}
	switch slices.Index(ring.IDs(), id) {
	case -1:
		return withKeyHint(fmt.Errorf("%w: %q in %s", keyring.ErrNoKey, id, path))
	case 0:
		return fmt.Errorf("%w: %q: activate another one first", keyring.ErrActive, id)
	}
	return fmt.Errorf("without the key %s, all entries that it sealed are lost: each becomes a miss and is set aside when it is asked for; sessions that it signed end. A store that is still marked as sealed with it keeps servers from starting: see MARK-SEALED-BY in its directory. Nothing was removed; give --force if that is what you want", id)
}

func withKeyHint(err error) error {
	switch {
	case errors.Is(err, keyring.ErrNoKey):
		return fmt.Errorf("%w\n'bezoar key list' shows the keys", err)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w\nIs it the file of the server (--seal-key-file, --data, --config)? 'bezoar key add' makes one", err)
	}
	return err
}

func showKeyFile(env *environment, path string) error {
	ring, err := keyring.Open(path)
	if err != nil {
		return err
	}
	return showKeys(env, ring.IDs(), true)
}

// oneKeyID takes one argument that looks like the id of a key. It repeats none: it may be a key.
func oneKeyID(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError(cmd, errors.New("give the ID of one key"))
	}
	if len(args[0]) != 12 || strings.Trim(args[0], "0123456789abcdef") != "" {
		return usageError(cmd, errors.New("what was given, which is not shown, is no ID of a key: those have 12 hexadecimal digits"))
	}
	return nil
}

// keyFile finds the server's key file.
func keyFile(cmd *cobra.Command, env *environment) (string, error) {
	cfg, err := tokenConfig(cmd, env)
	if err != nil {
		return "", err
	}
	return string(cfg.SealKeyFile), nil
}
