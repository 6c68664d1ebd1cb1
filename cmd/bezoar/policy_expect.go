package main

import (
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

func newPolicyTestCmd(env *environment) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "test FILE --policy FILE",
		Short: "Test a policy against expectations",
		Long: `Test a policy against expectations, for the CI of the repository in which it is kept.

The file has claims and what must come of them; examples are beside the documentation. Files of claims that it names are
looked for from its own directory.

Exit status: 0 all is as expected, 1 something is not or a file does not load, 2 wrong usage.`,
		Example: "  bezoar policy test policy-test.yaml --policy policy.yaml",
		Args:    oneFile("tests"),
	}
	policyFlags(cmd.Flags())
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		p, err := namedPolicy(cmd, env)
		if err != nil {
			return err
		}
		data, err := readFile(args[0], policy.MaxSize)
		if err != nil {
			return err
		}
		tests, err := policy.ParseTests(args[0], data)
		if err != nil {
			return err
		}
		results := tests.Run(p, func(name string) ([]byte, error) {
			if !filepath.IsAbs(name) {
				name = filepath.Join(filepath.Dir(args[0]), name)
			}
			return readFile(name, maxClaims)
		})
		failed := 0
		for _, r := range results {
			if r.Problem != "" {
				failed++
			}
		}
		if asJSON {
			err = writeResultsJSON(env.Stdout, results, failed)
		} else {
			err = writeResults(env.Stdout, args[0], results, failed)
		}
		if err == nil && failed > 0 {
			err = &statusError{status: exitFailure}
		}
		return err
	}
	return cmd
}

// writeResults has a line for each test, and for those that fail what helps to see why.
func writeResults(w io.Writer, file string, results []policy.TestResult, failed int) error {
	for _, r := range results {
		if r.Problem == "" {
			fmt.Fprintf(w, "ok    %s\n", r.Name)
			continue
		}
		fmt.Fprintf(w, "FAIL  %s\n      %s:%d: %s\n", r.Name, file, r.Line, r.Problem)
		if r.Decision.Rule != "" {
			fmt.Fprintf(w, "      rule:   %s\n", r.Decision.Rule)
		}
		if r.Decision.Reason != "" {
			fmt.Fprintf(w, "      reason: %s\n", r.Decision.Reason)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d of %d tests passed\n", len(results)-failed, len(results))
	return err
}

func writeResultsJSON(w io.Writer, results []policy.TestResult, failed int) error {
	type result struct {
		Name     string          `json:"name"`
		Line     int             `json:"line"`
		Passed   bool            `json:"passed"`
		Problem  string          `json:"problem,omitempty"`
		Decision policy.Decision `json:"decision"`
	}
	all := make([]result, len(results))
	for i, r := range results {
		all[i] = result{r.Name, r.Line, r.Problem == "", r.Problem, r.Decision}
	}
	return writeIndented(w, struct {
		Passed int      `json:"passed"`
		Failed int      `json:"failed"`
		Tests  []result `json:"tests"`
	}{len(results) - failed, failed, all})
}
