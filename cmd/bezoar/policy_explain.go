package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
	"github.com/bezoar-cache/bezoar/internal/trust/oidc"
	"github.com/bezoar-cache/bezoar/internal/trust/policy"
)

// maxClaims bounds a file of claims, in bytes: far more than a token can hold.
const maxClaims = 64 << 10

type explainFlags struct {
	claims    string
	workspace string
	verify    bool
	json      bool
}

func newPolicyExplainCmd(env *environment) *cobra.Command {
	var flags explainFlags
	cmd := &cobra.Command{
		Use:   "explain TOKEN-FILE|- | --claims FILE",
		Short: "Say what a policy gives to an identity, and why",
		Long: `Say what a policy gives to an identity, and why: each condition, met or not, and the grant that results.

The identity is the token of a CI, in a file or on standard input (-), or its claims, a JSON object in a file. A token is
never taken as an argument, where other users of the machine could see it, and never shown.

Without --verify nothing is fetched, and nobody asks whether the token is genuine: what is said holds for a genuine one.
With it, the issuer's keys are fetched, as the server would do it.

The exit status is 0 whatever the policy says; with --json one object says it to programs.`,
		Example: `  bezoar policy explain --policy /etc/bezoar/policy.yaml token.jwt
  bezoar policy explain --policy policy.yaml --claims claims/github/pull_request.json
  echo "$BEZOAR_ID_TOKEN" | bezoar policy explain --policy policy.yaml --workspace web --verify -`,
	}
	f := cmd.Flags()
	policyFlags(f)
	f.StringVar(&flags.claims, "claims", "", "read the claims from this `file`, instead of a token")
	f.StringVar(&flags.workspace, "workspace", "", "the `workspace` that the address would name")
	f.BoolVar(&flags.verify, "verify", false, "fetch the issuer's keys and verify the token")
	f.BoolVar(&flags.json, "json", false, "print JSON")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 1 && trust.HoldsToken(args[0]), len(args) == 1 && strings.HasPrefix(args[0], "eyJ"):
			return usageError(cmd, errors.New("there is a token in the arguments (not shown), where others can see it: put it into a file, or give it on standard input (-)"))
		case len(args) > 1, (len(args) == 1) == (flags.claims != ""):
			return usageError(cmd, errors.New("give the file of a token, - for standard input, or --claims with a file"))
		case flags.verify && flags.claims != "":
			return usageError(cmd, errors.New("claims alone cannot be verified: --verify needs a token"))
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		named, err := parseNamed(flags.workspace)
		if err != nil {
			return usageError(cmd, fmt.Errorf("--workspace: %w", err))
		}
		p, err := namedPolicy(cmd, env)
		if err != nil {
			return err
		}
		e := &explanation{policy: p, now: time.Now()}
		if flags.claims != "" {
			err = e.readClaims(flags.claims)
		} else {
			err = e.readToken(cmd.Context(), args[0], env.Stdin, flags.verify)
		}
		if err != nil {
			return err
		}
		e.judge(named)
		if flags.json {
			return e.writeJSON(env.Stdout)
		}
		return e.write(env.Stdout)
	}
	return cmd
}

func parseNamed(text string) (cache.Workspace, error) {
	if text == "" {
		return "", nil
	}
	return cache.ParseWorkspace(text)
}

// explanation is what becomes of an identity at a server with the policy: first the token, then what it says.
type explanation struct {
	policy *policy.Policy
	now    time.Time

	source string // "token" or "claims"
	claims map[string]any
	// verified says that the token was verified, refused why it would not be taken whatever the policy says.
	verified bool
	refused  string

	conditions []policy.Condition
	decision   policy.Decision
}

func (e *explanation) readClaims(path string) error {
	data, err := readFile(path, maxClaims)
	if err != nil {
		return err
	}
	e.source = "claims"
	if e.claims, err = policy.ParseClaims(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (e *explanation) readToken(ctx context.Context, name string, stdin io.Reader, verify bool) error {
	var data []byte
	var err error
	if name == "-" {
		name = "standard input"
		data, err = readAll(stdin, name, maxTokenFile)
	} else {
		data, err = readFile(name, maxTokenFile)
	}
	if err != nil {
		return err
	}
	e.source = "token"
	text := strings.TrimSpace(string(data))
	if e.claims, err = decodeToken(text); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if verify {
		e.verify(ctx, text)
	}
	return nil
}

// decodeToken reads what a JSON Web Token says (RFC 7519), and asks nobody whether it is true. Its errors repeat nothing of it.
func decodeToken(text string) (map[string]any, error) {
	switch {
	case text == "":
		return nil, errors.New("there is nothing in it")
	case strings.HasPrefix(text, trust.TokenPrefix), strings.HasPrefix(text, trust.AdminPrefix):
		return nil, errors.New("this is a static token of bezoar, which the policy does not judge: 'bezoar token list' shows what it may do")
	case strings.HasPrefix(text, trust.SessionPrefix):
		return nil, errors.New("this is the token of a session; explain the CI's identity token that it was given for, or its claims (--claims)")
	}
	notOne := errors.New("this is no identity token of a CI (a JSON Web Token: three parts of base64 with points in between)")
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return nil, notOne
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil, notOne
	}
	claims, err := policy.ParseClaims(payload)
	if err != nil {
		return nil, notOne
	}
	return claims, nil
}

// verify does what the server would do, its fetches included, but asks only the issuer whose token it is.
func (e *explanation) verify(ctx context.Context, token string) {
	ctx, cancel := context.WithCancel(ctx)
	v := oidc.New(oidc.Options{Now: func() time.Time { return e.now }, Logger: slog.New(slog.DiscardHandler)})
	others := func(i oidc.Issuer) bool { return any(i.URL) != e.claims["iss"] }
	v.Configure(e.policy.Audience(), slices.DeleteFunc(issuersOf(e.policy), others))
	var fetches errgroup.Group
	fetches.Go(func() error { return v.Run(ctx) }) // so that none is under way behind us
	_, err := v.Verify(ctx, token)
	cancel()
	_ = fetches.Wait()
	e.verified = err == nil
	if err != nil {
		e.refused = err.Error()
	}
}

// judge looks at what every token must have, and asks the policy about the rest.
func (e *explanation) judge(named cache.Workspace) {
	iss, _ := e.claims["iss"].(string)
	e.issuer(iss)
	e.audience()
	if e.source == "token" {
		e.times()
	}
	for _, c := range e.conditions {
		if !c.Met && e.refused == "" {
			e.refused = c.Text + "; there is " + c.Got
		}
	}
	e.decision = e.policy.Judge(policy.Identity{Issuer: iss, Claims: e.claims}, named)
}

func (e *explanation) condition(met bool, got, format string, args ...any) {
	e.conditions = append(e.conditions, policy.Condition{Rule: "every token", Text: fmt.Sprintf(format, args...), Met: met, Got: got})
}

func (e *explanation) issuer(iss string) {
	urls := issuerURLs(e.policy)
	quoted := make([]string, len(urls))
	for i, u := range urls {
		quoted[i] = strconv.QuoteToASCII(u)
	}
	e.condition(slices.Contains(urls, iss), e.shown("iss"), "iss is %s", strings.Join(quoted, " or "))
}

func (e *explanation) audience() {
	aud := e.claims["aud"]
	if list, ok := aud.([]any); ok && len(list) == 1 {
		aud = list[0]
	}
	e.condition(aud == any(e.policy.Audience()), e.shown("aud"), "aud is %s, or a list of it alone", strconv.QuoteToASCII(e.policy.Audience()))
}

// times allows clocks to differ, as the server does.
func (e *explanation) times() {
	exp, ok := e.moment("exp")
	e.condition(ok && e.now.Before(exp.Add(oidc.Skew)), e.shownMoment("exp"), "exp is still to come")
	for _, name := range []string{"iat", "nbf"} {
		if _, there := e.claims[name]; !there && name == "nbf" {
			continue
		}
		begin, ok := e.moment(name)
		e.condition(ok && !e.now.Before(begin.Add(-oidc.Skew)), e.shownMoment(name), "%s has come", name)
	}
}

// moment reads a NumericDate (RFC 7519, section 2).
func (e *explanation) moment(name string) (time.Time, bool) {
	n, ok := e.claims[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

func (e *explanation) shownMoment(name string) string {
	at, ok := e.moment(name)
	if !ok {
		return e.shown(name)
	}
	return at.UTC().Format(time.RFC3339)
}

// shown is a claim as it may go to a terminal.
func (e *explanation) shown(name string) string {
	v, ok := e.claims[name]
	if !ok {
		return "none"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "something else"
	}
	const longest = 200
	if len(text) > longest {
		text = append(text[:longest], "..."...)
	}
	quoted := strconv.QuoteToASCII(string(text))
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

func (e *explanation) write(w io.Writer) error {
	var b strings.Builder
	switch {
	case e.source == "claims":
		b.WriteString("claims, with no token to verify\n")
	case e.verified:
		b.WriteString("token, verified with the keys of its issuer\n")
	case e.refused != "" && !e.unmet():
		b.WriteString("token, NOT VERIFIED: " + e.refused + "\n")
	default:
		b.WriteString("token, not verified: nobody was asked whether it is genuine (--verify asks its issuer)\n")
	}
	for _, c := range e.conditions {
		if c.Met {
			fmt.Fprintf(&b, "  met      %s\n", c.Text)
		} else {
			fmt.Fprintf(&b, "  NOT MET  %s; there is %s\n", c.Text, c.Got)
		}
	}
	if e.refused != "" {
		b.WriteString("\nA server refuses it before it asks the policy. To an identity that it takes, the policy says:\n")
	}
	b.WriteByte('\n')
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return e.decision.Explain(w)
}

func (e *explanation) unmet() bool {
	return slices.ContainsFunc(e.conditions, func(c policy.Condition) bool { return !c.Met })
}

func (e *explanation) writeJSON(w io.Writer) error {
	return writeIndented(w, struct {
		Source     string             `json:"source"`
		Verified   bool               `json:"verified"`
		Refused    string             `json:"refused,omitempty"`
		Conditions []policy.Condition `json:"conditions"`
		Decision   policy.Decision    `json:"decision"`
	}{e.source, e.verified, e.refused, e.conditions, e.decision})
}

func writeIndented(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
