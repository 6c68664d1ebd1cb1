package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

const (
	planted      = "hunter2-is-a-secret"
	plantedToken = "bzr_hunter2hunter2hunter2hunter2"
)

// leaks fails if text holds a planted secret, or a part that would give it away.
func leaks(t *testing.T, what, text string) {
	t.Helper()
	if strings.Contains(text, "hunter2") {
		t.Errorf("%s shows a secret: %s", what, text)
	}
}

// TestSecretsInOutputs gives the secret in each way there is and looks through all forms of the configuration.
func TestSecretsInOutputs(t *testing.T) {
	for name, run := range map[string]struct {
		args, environ []string
		file          string
	}{
		"file":        {file: "metrics-token: " + planted + "\n"},
		"environment": {environ: []string{"BEZOAR_METRICS_TOKEN=" + planted}},
		"flag":        {args: []string{"--metrics-token=" + planted}},
		"secret file": {args: []string{"--metrics-token-file=/secret"}},
	} {
		t.Run(name, func(t *testing.T) {
			flags := pflag.NewFlagSet("bezoar", pflag.ContinueOnError)
			Flags(flags)
			if err := flags.Parse(append(run.args, "--config=/public/f")); err != nil {
				t.Fatal(err)
			}
			c, sources, err := Load(flags, append(run.environ, "HOME=/h"), disk{"/public/f": run.file, "/secret": planted + "\n"})
			if err != nil {
				t.Fatal(err)
			}
			if got := c.MetricsToken.Reveal(); got != planted {
				t.Fatalf("the secret is %q", got)
			}
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
				leaks(t, verb, fmt.Sprintf(verb, c))
				leaks(t, verb+" of a value", fmt.Sprintf(verb, *c))
				leaks(t, verb+" of the secret", fmt.Sprintf(verb, c.MetricsToken))
				// Inside of a field that fmt may not call methods of.
				leaks(t, verb+" of a private field", fmt.Sprintf(verb, struct{ s Secret }{c.MetricsToken}))
				leaks(t, verb+" of the sources", fmt.Sprintf(verb, sources))
			}
			hex := fmt.Sprintf("%x", planted)
			if text := fmt.Sprintf("%x %x", c, c.MetricsToken); strings.Contains(text, hex) {
				t.Errorf("%%x shows the secret: %s", text)
			}
			var out bytes.Buffer
			for _, v := range []any{c, *c, c.MetricsToken} {
				if err := json.NewEncoder(&out).Encode(v); err != nil {
					t.Fatal(err)
				}
			}
			for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
				slog.New(h).Info("x", "config", c, "value", *c, "secret", c.MetricsToken, "flags", flags.Lookup("metrics-token").Value)
			}
			if err := c.WriteYAML(&out, sources); err != nil {
				t.Fatal(err)
			}
			out.WriteString(flags.FlagUsages())
			flags.VisitAll(func(f *pflag.Flag) { out.WriteString(f.Value.String()) })
			leaks(t, "an output", out.String())
		})
	}
}

// TestSecretsInProblems puts secrets where they do not belong.
func TestSecretsInProblems(t *testing.T) {
	for _, file := range []string{
		"metrics-token: [" + planted + "]\n",
		"metrics-token: " + planted + " with blanks\n",
		"metrics-token: \"" + planted + "\n",
		"metrics-token: \"" + planted + "\\q\"\n",
		"metrics-token: '" + planted + "\n",
		"metrics-token: " + planted + "\n  x: y\n",
		"metrics-token: " + planted + ": x\n",
		"metrics-token: [" + planted + "\n",
		"metrics-token: {" + planted + "}\n",
		"metrics-token: |\n  " + planted + "\n  more\n",
		"metrics-token: >x\n  " + planted + "\n",
		"metrics-token: |" + planted + "\n",
		"metrics-token: >" + planted + "\n  x\n",
		"? " + planted + "\n",
		"metrics-token: {a: b, " + planted + "]\n",
		"metrics-token: !" + planted + "\n",
		"metrics-token: &" + planted + " x\n",
		"metrics-token: *" + planted + "\n",
		"metrics-token: @" + planted + "\n",
		"metrics-token: `" + planted + "\n",
		"metrics-token: %" + planted + "\n",
		"metrics-token: a\nmetrics-token: " + planted + "\n",
		"metrics-tokn: " + planted + "\n",
		"%" + planted + "\n---\n",
		planted + "\n",
		"- " + planted + "\n",
		"public-url: https://user:" + planted + "@example.com\n",
		"public-url: https://user:" + planted + "@exa mple.com:x\n",
		"store: s3://key:" + planted + "@bucket\n",
		"store: file://" + planted + "@x/y\n",
		"store: s3://" + planted + "@bucket\n",
		"store: s3://bucket/p?" + planted + "\n",
		"store: s3://bucket/p?region=" + planted + "%zz\n",
		"store: s3://bucket/p?region=%zz&x=" + planted + "\n",
		"store: s3://bu%zzcket/p?x=" + planted + "\n",
		"store: s3://bucket?access_key=AKIA&secret_key=" + planted + "\n",
		"store: s3://bucket?secret_key=" + planted + "&access_key=AKIA\n",
		"store: s3://bucket?X-Amz-Signature=" + planted + "\n",
		"store: s3://bucket?endpoint=https://key:" + planted + "@s3.example.com\n",
		"store: s3://bucket?endpoint=https://s3.example.com?x=" + planted + "\n",
		"store: s3://bucket?endpoint=ftp://s3.example.com?x=" + planted + "\n",
		"store: s3://bucket?endpoint=https://%zz/" + planted + "\n",
		"store: \"s3://bucket?region=x#" + planted + "\"\n",
		"store: gs://bucket?credentials=" + planted + "\n",
		"store: gs://bucket?" + plantedToken + "=x\n",
		"store: gs://bucket/" + plantedToken + "\n",
		"store: gs://bucket/a%2f" + strings.Replace(plantedToken, "_", "%5f", 1) + "\n",
		"store: gs://bucket?ca_file=/" + strings.Replace(plantedToken, "_", "%5f", 1) + "\n",
		"store: azblob://container?sv=1&sig=" + planted + "\n",
		"store: azblob://container?account_key=" + planted + "\n",
		"store: azblob://container?unknown=" + planted + "\n",
		"store: https://acme.blob.core.windows.net/container?sig=" + planted + "\n",
		"tokens: [" + plantedToken + "]\n",
		"tokens: " + plantedToken + "\n",
		"tokens: [{" + plantedToken + ": x}]\n",
		"tokens: [{name: " + plantedToken + "}]\n",
		"tokens: [{name: x, hash: " + plantedToken + "}]\n",
		"tokens: [{name: x, hash: \"sha256:" + plantedToken + "\"}]\n",
		"tokens: [{name: x, hash: " + planted + "}]\n",
		"tokens: [{name: x, access: " + plantedToken + ", workspace: " + plantedToken + ", expires: " + plantedToken + "}]\n",
		plantedToken + ": x\n",
		"log-level: " + plantedToken + "\n",
		"data: /" + plantedToken + "\n",
		"listen: [" + plantedToken + "]\n",
		"max-members: " + plantedToken + "\n",
		"max-artifact-size: " + plantedToken + "\n",
		"idle-timeout: " + plantedToken + "\n",
	} {
		_, _, err := load(t, []string{"--config=/f"}, nil, disk{"/f": file})
		if err == nil {
			t.Errorf("accepted: %s", file)
			continue
		}
		leaks(t, "the problem of "+strings.SplitN(file, ":", 2)[0], err.Error())
		leaks(t, "a problem", fmt.Sprintf("%+v %#v", err, err))
	}
	for _, value := range []string{planted + " x", planted + "\x00", planted + "é", strings.Repeat(planted, 1000)} {
		_, _, err := load(t, []string{"--metrics-token=" + value}, []string{"BEZOAR_METRICS_TOKEN=" + value}, nil)
		if err == nil {
			t.Errorf("accepted: %q", value)
			continue
		}
		leaks(t, "a problem", err.Error())
		_, _, err = load(t, []string{"--metrics-token-file=/f"}, nil, disk{"/f": value})
		if err == nil {
			t.Errorf("accepted in a file: %q", value)
			continue
		}
		leaks(t, "a problem of a secret's file", err.Error())
	}
	for _, line := range []string{plantedToken, "name=x;" + plantedToken, "name=x;hash=" + plantedToken, plantedToken + "=x", "name=" + plantedToken} {
		_, _, err := load(t, []string{"--tokens=" + line}, []string{"BEZOAR_TOKENS=" + line}, nil)
		if err == nil {
			t.Errorf("accepted: %q", line)
			continue
		}
		leaks(t, "a problem of a token", err.Error())
	}
}

func TestSecretFile(t *testing.T) {
	for content, want := range map[string]string{"a": "a", "a\n": "a", "a\r\n": "a"} {
		c, _, err := load(t, []string{"--metrics-token-file=/f"}, nil, disk{"/f": content})
		if err != nil || c.MetricsToken.Reveal() != want {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
	// One line break is dropped, a second one is a mistake.
	if _, _, err := load(t, []string{"--metrics-token-file=/f"}, nil, disk{"/f": "a\n\n"}); err == nil {
		t.Error("two line breaks were accepted")
	}
}
