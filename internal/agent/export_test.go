package agent

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	s := &Session{Server: "https://cache.example.com/it's", Token: "bzs_a.b.c", Workspace: "web", Read: []string{"trusted"}}
	var b strings.Builder
	if err := s.Export(&b, FormatGitHub); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{ServerVariable + "<<", s.Server, "", TokenVariable + "<<", s.Token, ""} {
		if want == "" {
			if _, end, _ := strings.Cut(lines[i-2], "<<"); lines[i] != end || len(end) < 20 {
				t.Errorf("line %d does not end what line %d began:\n%s", i, i-2, b.String())
			}
		} else if !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d is %q, want %q", i, lines[i], want)
		}
	}
	b.Reset()
	if err := s.Export(&b, FormatShell); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", b.String()+`printf '%s %s' "$`+ServerVariable+`" "$`+TokenVariable+`"`).Output()
	if err != nil || string(out) != s.Server+" "+s.Token {
		t.Errorf("a shell makes of it: %q %v", out, err)
	}
	if err := s.Export(&b, FormatDotenv); err == nil {
		t.Error("a quote went into a dotenv file")
	}
	s.Server = "https://cache.example.com"
	b.Reset()
	if err := s.Export(&b, FormatDotenv); err != nil || b.String() != ServerVariable+"=https://cache.example.com\n"+TokenVariable+"=bzs_a.b.c\n" {
		t.Errorf("%v %s", err, b.String())
	}
	b.Reset()
	var back Session
	if err := s.Export(&b, FormatJSON); err != nil || json.Unmarshal([]byte(b.String()), &back) != nil || back.Token != s.Token {
		t.Errorf("%v %s", err, b.String())
	}
	for _, f := range []Format{FormatGitHub, FormatShell, FormatDotenv} {
		b.Reset()
		if err := (&Session{Server: "https://x\nPATH=/evil", Token: "t"}).Export(&b, f); err == nil || b.Len() > 0 {
			t.Errorf("%s: a line break went through: %s", f, b.String())
		}
	}
	if _, err := ParseFormat("yaml"); err == nil {
		t.Error("yaml is a format")
	}
}

func TestWriteOff(t *testing.T) {
	for f, want := range map[Format]string{FormatShell: "export " + ServerVariable + "=''\n", FormatGitHub: ServerVariable + "<<bezoar_", FormatDotenv: "", FormatJSON: ""} {
		var b strings.Builder
		if err := WriteOff(&b, f); err != nil || !strings.HasPrefix(b.String(), want) || strings.Contains(b.String(), TokenVariable) || want == "" && b.Len() > 0 {
			t.Errorf("%s: %v %q", f, err, b.String())
		}
	}
}
