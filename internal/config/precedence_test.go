package config

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// samples gives three values of each type, in the form of flags. A new type of setting needs a line here.
func samples(t *testing.T, s *setting) [3]string {
	if s.enum != nil {
		return [3]string{s.enum[0], s.enum[1], s.enum[0]}
	}
	switch s.metavar() {
	case "path":
		return [3]string{"/a", "/b", "/c"}
	case "count":
		return [3]string{"101", "102", "103"}
	case "size":
		return [3]string{"3GiB", "4GiB", "5GiB"}
	case "duration":
		return [3]string{"1s", "2s", "3s"}
	case "address":
		return [3]string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"}
	case "url":
		if s.name == "store" {
			return [3]string{"file:///a", "file:///b", "file:///c"}
		}
		if s.name == "ledger" {
			return [3]string{"sqlite", "postgres://u@db:5432/b", "sqlite"}
		}
		return [3]string{"http://a", "http://b", "http://c"}
	case "secret":
		return [3]string{"secret-a", "secret-b", "secret-c"}
	case "token":
		line := func(c string) string { return "name=" + c + ";access=read;hash=sha256:" + strings.Repeat(c, 64) }
		return [3]string{line("a"), line("b"), line("c")}
	}
	t.Fatalf("no samples for the type of %s", s.name)
	return [3]string{}
}

// inYAML writes a sample as a line of a file.
func inYAML(s *setting, text string) string {
	switch {
	case s.metavar() == "token":
		return s.name + ": [{" + strings.NewReplacer("=", ": ", ";", ", ").Replace(text) + "}]\n"
	case s.list:
		return s.name + ": [\"" + text + "\"]\n"
	}
	return s.name + ": " + text + "\n"
}

// show tells a value for comparison, secrets included.
func show(v reflect.Value) string {
	switch v := v.Interface().(type) {
	case Secret:
		return v.Reveal()
	case []Token:
		var all []string
		for _, t := range v {
			all = append(all, "name="+string(t.Name)+";access="+t.Access+";hash="+t.Hash.String())
		}
		return strings.Join(all, " ")
	}
	if v.Kind() == reflect.Slice {
		var all []string
		for i := range v.Len() {
			all = append(all, format(v.Index(i)))
		}
		return strings.Join(all, " ")
	}
	return format(v)
}

// TestPrecedence tries each setting in every combination of file, environment and flag.
func TestPrecedence(t *testing.T) {
	// What a setting cannot be without.
	const bucket = "--store=s3://bucket/prefix"
	companion := map[string]string{
		"tls-cert": "--tls-key=/k", "tls-key": "--tls-cert=/k", "max-inflated-size": "--max-artifact-size=1",
		"seal": bucket, "redirect": bucket,
	}
	for _, s := range settings() {
		switch s.needs {
		case "bucket":
			companion[s.name] = bucket
		case "tier-dir":
			companion[s.name] = bucket + " --tier-dir=/tier"
		case "redirect":
			companion[s.name] = bucket + " --redirect=on"
		case "ledger":
			companion[s.name] = "--ledger=postgres://u@db/nx"
		}
	}
	for _, s := range settings() {
		texts := samples(t, s)
		for layers := range 8 {
			t.Run(fmt.Sprintf("%s/%03b", s.name, layers), func(t *testing.T) {
				d := disk{"/a": "in-a", "/b": "in-b", "/c": "in-c"}
				var args, environ []string
				want, wantSource := "", "default"
				if layers&1 != 0 {
					d["/f.yaml"] = "# One line above.\n" + inYAML(s, texts[0])
					environ = append(environ, "BEZOAR_CONFIG=/f.yaml")
					want, wantSource = texts[0], "/f.yaml:2"
				}
				if layers&2 != 0 {
					environ = append(environ, envName(s.name)+"="+texts[1])
					want, wantSource = texts[1], envName(s.name)
				}
				if layers&4 != 0 {
					args = append(args, "--"+s.name+"="+texts[2])
					want, wantSource = texts[2], "--"+s.name
				}
				if layers != 0 {
					args = append(args, strings.Fields(companion[s.name])...)
				}
				c, sources, err := load(t, args, environ, d)
				if err != nil {
					t.Fatal(err)
				}
				if layers == 0 {
					want = s.def
					if s.name == "data" {
						want, wantSource = "/home/u/.local/state/bezoar", "default, from HOME"
					}
					if s.name == "store" {
						want = "file:///home/u/.local/state/bezoar/store"
					}
					if s.name == "spool-dir" {
						want = "/home/u/.local/state/bezoar/spool"
					}
					if s.name == "seal-key-file" {
						want = "/home/u/.local/state/bezoar/seal.key"
					}
				} else if s.of != nil {
					want = d[want] // the file's content
				}
				if got := show(s.value(c)); got != want {
					t.Errorf("%s is %q, want %q", s.name, got, want)
				}
				if got := sources.Of(s.name).String(); got != wantSource {
					t.Errorf("%s comes from %q, want %q", s.name, got, wantSource)
				}
			})
		}
	}
}

// TestBadLayer says that what is wrong is told even where a stronger layer would win.
func TestBadLayer(t *testing.T) {
	_, _, err := load(t, []string{"--max-members=3"}, []string{"BEZOAR_CONFIG=/f", "BEZOAR_MAX_MEMBERS=x"}, disk{"/f": "max-members: y\n"})
	want := "the configuration has 2 problems:\n" +
		"  /f:1:14: max-members: \"y\" is not a whole number; write for example 250000\n" +
		"  environment variable BEZOAR_MAX_MEMBERS: \"x\" is not a whole number; write for example 250000"
	if err == nil || err.Error() != want {
		t.Errorf("got:\n%v\nwant:\n%s", err, want)
	}
}
