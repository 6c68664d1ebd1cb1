package agent

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// CI is where a job's identity token comes from: [GitHub] or [Variable].
type CI interface {
	// token returns one for the audience. Its errors are [*Failure].
	token(ctx context.Context, c *client, audience string) (string, error)
	// direct says that the token lives as long as the job, so that it may be the credential itself.
	direct() bool
}

// GitHub asks the runner's own service for a token, as each job may whose workflow has the permission "id-token: write".
//
// See "OpenID Connect reference" in GitHub's documentation, section "Methods for requesting the OIDC token".
type GitHub struct {
	// URL and Token are the values of ACTIONS_ID_TOKEN_REQUEST_URL and ACTIONS_ID_TOKEN_REQUEST_TOKEN, which the runner sets.
	URL, Token string
}

func (g GitHub) direct() bool { return false }

func (g GitHub) token(ctx context.Context, c *client, audience string) (string, error) {
	if g.URL == "" || g.Token == "" {
		return "", &Failure{
			Problem: "GitHub offers this job no identity token",
			Remedy: "Add to the workflow or the job: permissions: {contents: read, id-token: write}. " +
				"A pull request of a fork never gets one; it builds without the remote cache",
		}
	}
	u, err := url.Parse(g.URL)
	if err != nil || u.Host == "" || !secure(u, c.allowHTTP) {
		return "", &Failure{Problem: "ACTIONS_ID_TOKEN_REQUEST_URL is no https URL", Remedy: "The runner sets it; no step should change it"}
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += "audience=" + url.QueryEscape(audience)
	got, err := c.do(ctx, http.MethodGet, u.String(), g.Token)
	if err != nil {
		return "", &Failure{Problem: "GitHub's token service cannot be reached: " + reason(err), again: true}
	}
	var answer struct {
		Value string `json:"value"`
	}
	switch {
	case got.status >= 500:
		return "", &Failure{Problem: "GitHub's token service answers " + got.text(), again: true}
	case got.status != http.StatusOK:
		return "", &Failure{Problem: "GitHub's token service answers " + got.text(), Remedy: "Does the job have the permission id-token: write?"}
	case json.Unmarshal(got.body, &answer) != nil || !isToken(answer.Value):
		return "", &Failure{Problem: "GitHub's token service sent no token", again: true}
	}
	return answer.Value, nil
}

// Variable is a token that the CI has put into a variable of the environment, as GitLab does for each entry of id_tokens.
type Variable struct {
	Name, Value string
}

func (v Variable) direct() bool { return true }

func (v Variable) token(context.Context, *client, string) (string, error) {
	value := strings.TrimSpace(v.Value)
	switch {
	case value == "":
		return "", &Failure{
			Problem: "the variable " + plain(v.Name) + " holds no identity token",
			Remedy: "In GitLab, give the job one: id_tokens: {" + plain(v.Name) + ": {aud: the audience of the server's policy}}; " +
				"elsewhere, name the variable that has it with --token-variable",
		}
	case strings.HasPrefix(value, "bzs_") || strings.HasPrefix(value, "bzr_") || strings.HasPrefix(value, "bza_"):
		return "", &Failure{
			Problem: "the variable " + plain(v.Name) + " holds a token of bezoar itself, which needs no exchange",
			Remedy:  "Use it as it is, in " + TokenVariable,
		}
	case !isToken(value) || strings.Count(value, ".") != 2:
		return "", &Failure{
			Problem: "what the variable " + plain(v.Name) + " holds is no identity token (a JSON Web Token, three parts with points in between)",
			Remedy:  "A variable of that name in the settings of the project or group may stand in its place",
		}
	}
	return value, nil
}

// isToken reports whether s can stand behind the word Bearer: RFC 6750, section 2.1. None of its characters means anything to a shell, a
// dotenv file or a CI's commands.
func isToken(s string) bool {
	if s == "" || len(s) > maxToken {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-._~+/=", rune(c)) {
			return false
		}
	}
	return true
}
