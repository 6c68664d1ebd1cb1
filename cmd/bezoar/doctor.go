package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/config"
	"github.com/bezoar-cache/bezoar/internal/doctor"
)

// maxTokenFile bounds a file that is said to hold a token, in bytes. Headers of this size are refused by most servers.
const maxTokenFile = 16 << 10

type doctorFlags struct {
	tokenFile string
	workspace string
	size      string
	samples   int
	timeout   time.Duration
	json      bool
	strict    bool
}

func newDoctorCmd(env *environment) *cobra.Command {
	var flags doctorFlags
	cmd := &cobra.Command{
		Use:   "doctor [URL]",
		Short: "Check a cache server from where a build runs, as Nx would use it",
		Long: `Check a cache server from where a build runs, as Nx would use it: name, port, TLS, credential, a miss, an upload,
a hit, a second upload, a large body and latency. It works with every server of Nx's cache API.

URL and token default to ` + doctor.ServerVariable + ` and
` + doctor.TokenVariable + `, as Nx reads them. A token is never taken as an argument,
where other users of the machine could see it.

The API has no way to delete: a check leaves one small entry and one of --size in the cache, under hashes
that begin with "doctor-". They stay until they are removed from the store, like others.

Exit status: 0 all is well or there are warnings only, 1 a check failed (or, with --strict, warned), 2 wrong usage.`,
		Example: `  bezoar doctor
  bezoar doctor https://cache.example.com --token-file /run/secrets/nx-cache
  bezoar doctor --nx . --strict
  bezoar doctor http://127.0.0.1:8099 --size 0 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := cobra.MaximumNArgs(1)(cmd, args); err != nil {
				return usageError(cmd, err)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return runDoctor(cmd.Context(), env, flags, args) },
	}
	f := cmd.Flags()
	f.StringVar(&flags.tokenFile, "token-file", "", "read the token from this `file`; - is the standard input")
	f.StringVar(&flags.workspace, "nx", "", "check the Nx workspace in this `directory` too; nothing in it is executed")
	f.StringVar(&flags.size, "size", "16MiB", "`size` of the large body, streamed up and down; 0 sends none")
	f.IntVar(&flags.samples, "samples", doctor.DefaultSamples, "requests of each latency measurement")
	f.DurationVar(&flags.timeout, "timeout", 5*time.Minute, "bound for all checks together")
	f.BoolVar(&flags.json, "json", false, "print one JSON document")
	f.BoolVar(&flags.strict, "strict", false, "exit with 1 on warnings too")
	return cmd
}

func runDoctor(ctx context.Context, env *environment, flags doctorFlags, args []string) error {
	opts := doctor.Options{Environ: env.Environ, Workspace: flags.workspace, Samples: flags.samples}
	usage := func(err error) error { return &statusError{exitUsage, err} }
	size, err := config.ParseSize(flags.size)
	if err != nil {
		return usage(fmt.Errorf("--size: %w", err))
	}
	if size > doctor.MaxSize {
		return usage(fmt.Errorf("--size: at most %s", config.Size(doctor.MaxSize)))
	}
	opts.Size = int64(size)
	if flags.samples < 1 || flags.samples > 1000 {
		return usage(errors.New("--samples is 1 to 1000"))
	}
	if flags.timeout <= 0 {
		return usage(errors.New("--timeout must be positive"))
	}
	if len(args) == 1 {
		opts.Server = doctor.Setting{Value: args[0], Set: true, Source: "argument"}
	}
	if flags.tokenFile != "" {
		if opts.Token, err = readToken(flags.tokenFile, env.Stdin); err != nil {
			return usage(fmt.Errorf("--token-file: %w", err))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, flags.timeout)
	defer cancel()
	report, err := doctor.Run(ctx, opts)
	if errors.Is(err, doctor.ErrNoServer) {
		return usage(fmt.Errorf("%w: give its URL, or set %s as the build does", err, doctor.ServerVariable))
	}
	if err != nil {
		return usage(err)
	}
	if flags.json {
		err = report.WriteJSON(env.Stdout)
	} else {
		err = report.WriteText(env.Stdout, styleOf(env))
	}
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if s := report.Summary.Status; s == doctor.Fail || s == doctor.Warn && flags.strict {
		return &statusError{status: exitFailure}
	}
	return nil
}

// readToken takes a file's one line break at the end for an editor's; any other is a part of the token, and a finding.
func readToken(name string, stdin io.Reader) (doctor.Setting, error) {
	s := doctor.Setting{Set: true, Source: "standard input"}
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return s, err
		}
		defer f.Close()
		in, s.Source = f, "file "+name
	}
	data, err := io.ReadAll(io.LimitReader(in, maxTokenFile+1))
	if err != nil {
		return s, err
	}
	if len(data) > maxTokenFile {
		return s, fmt.Errorf("%s has more than %d bytes; that is no token", s.Source, maxTokenFile)
	}
	data = bytes.TrimSuffix(data, []byte("\n"))
	s.Value = string(bytes.TrimSuffix(data, []byte("\r")))
	return s, nil
}

// styleOf follows the locale (POSIX: LC_ALL, LC_CTYPE, LANG in this order) and https://no-color.org.
func styleOf(env *environment) doctor.Style {
	values := variablesOf(env.Environ)
	locale := strings.ToLower(cmp.Or(values["LC_ALL"], values["LC_CTYPE"], values["LANG"]))
	terminal := false
	if f, ok := env.Stdout.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return doctor.Style{
		Unicode: strings.Contains(locale, "utf-8") || strings.Contains(locale, "utf8"),
		Color:   terminal && values["NO_COLOR"] == "" && values["TERM"] != "dumb",
	}
}
