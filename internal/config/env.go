package config

import (
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// variables returns the environment as a map. Of a name that is there twice the first counts, as in os.Getenv.
func variables(environ []string) map[string]string {
	vars := make(map[string]string, len(environ))
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, twice := vars[name]; ok && !twice {
			vars[name] = value
		}
	}
	return vars
}

// envNode makes a node of a variable. Tokens are separated by white space, items of other lists by commas.
func envNode(s *setting, text string) node {
	at := Source{Layer: Environment, Name: envName(s.name)}
	if !s.list {
		return node{at: at, kind: plain, text: text}
	}
	n := node{at: at, kind: list}
	parts := strings.Split(text, ",")
	if s.typ == reflect.TypeFor[Token]() {
		if parts = strings.Fields(text); len(parts) == 0 {
			parts = []string{""}
		}
	}
	for _, part := range parts {
		n.items = append(n.items, node{at: at, kind: plain, text: strings.TrimSpace(part)})
	}
	return n
}

// Variables that are read by commands and are no settings: the server whose API they use, and the file of the token for it.
const (
	ServerVariable    = envPrefix + "SERVER"
	TokenFileVariable = envPrefix + "TOKEN_FILE"
)

// unknownVariables reports what begins like a setting and is none: a slip that would otherwise pass in silence.
func unknownVariables(vars map[string]string, all []*setting) Problems {
	known := []string{envName(configName), ServerVariable, TokenFileVariable}
	for _, s := range all {
		known = append(known, envName(s.name))
	}
	var problems Problems
	for name := range vars {
		if strings.HasPrefix(name, envPrefix) && !slices.Contains(known, name) && !ofService(vars, name) {
			problems = append(problems, &Problem{
				Source: Source{Layer: Environment, Name: name}, What: "there is no such setting",
				Hint: strictyaml.Suggest(name, known, "unset it; bezoar serve --help lists all settings"),
			})
		}
	}
	slices.SortFunc(problems, func(a, b *Problem) int { return strings.Compare(a.Source.Name, b.Source.Name) })
	return problems
}

// serviceLink is the shape of the variables by which Kubernetes tells a pod of the services around it
// (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables). A service called bezoar
// gives every pod of its namespace BEZOAR_SERVICE_HOST, BEZOAR_PORT_8099_TCP and more.
var serviceLink = regexp.MustCompile(`^(.+?)_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// ofService says whether the variable called name was set by Kubernetes: it has the shape, and the
// service's host is there too.
func ofService(vars map[string]string, name string) bool {
	m := serviceLink.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	_, host := vars[m[1]+"_SERVICE_HOST"]
	_, port := vars[m[1]+"_SERVICE_PORT"]
	return host && port
}
