package config

import (
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// maxPrefix bounds a prefix, in bytes. S3 and Google take 1024 bytes for the whole name of an object, of which entries need less than half.
const maxPrefix = 512

const fileHint = "write for example file:///var/lib/bezoar/store"

func parseStoreURL(text string) (any, error) {
	// What is behind a question mark may be a credential that does not belong there.
	address, _, _ := strings.Cut(text, "?")
	if !strings.Contains(text, ":") {
		hint := fileHint
		if strings.HasPrefix(text, "/") && quoted(text)[0] == '"' {
			hint = "write " + fileStore(filepath.Clean(text)).String()
		}
		return nil, &flaw{quoted(text) + " is a path, not a URL", hint}
	}
	u, err := url.Parse(text)
	if err != nil {
		return nil, &flaw{quoted(address) + " is not a URL", fileHint + ", or s3://bucket/prefix"}
	}
	switch u.Scheme {
	case SchemeFile:
		return parseFileStore(text, u)
	case SchemeS3, SchemeGS, SchemeAzblob:
		return parseBucketStore(text, address, u)
	}
	return nil, &flaw{quoted(address) + " is of an unknown kind", "write file:///path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix"}
}

func parseFileStore(text string, u *url.URL) (any, error) {
	switch {
	case !strings.HasPrefix(text[len(SchemeFile):], ":///"):
		return nil, &flaw{quoted(text) + " has no absolute path", "write three slashes after file:, for example file:///var/lib/bezoar/store"}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, &flaw{quoted(text) + " has a query or a fragment, which mean nothing here", "write %3F for a question mark and %23 for a number sign in a path"}
	}
	if err := plausible(u.Path, false); err != nil {
		return nil, err
	}
	path := u.Path
	if runtime.GOOS == "windows" {
		path = strings.TrimPrefix(path, "/")
	}
	if path = filepath.Clean(filepath.FromSlash(path)); !filepath.IsAbs(path) || path == filepath.Dir(path) {
		return nil, &flaw{quoted(text) + " is not the absolute path of a directory below the root", fileHint}
	}
	return fileStore(path), nil
}

func parseBucketStore(text, address string, u *url.URL) (any, error) {
	example := u.Scheme + "://bucket/prefix"
	if u.Scheme == SchemeAzblob {
		example = u.Scheme + "://container/prefix"
	}
	switch {
	case u.User != nil:
		return nil, &flaw{"holds a user name or password (not shown)", credentialsHint(u.Scheme)}
	case !strings.HasPrefix(text[len(u.Scheme):], "://") || u.Host == "":
		return nil, &flaw{quoted(address) + " names no bucket", "write " + example}
	case u.Fragment != "" || strings.HasSuffix(text, "#"):
		return nil, &flaw{quoted(address) + " has a fragment, which means nothing here", "write %23 for a number sign in a prefix"}
	}
	s := StoreURL{Scheme: u.Scheme, Bucket: u.Host}
	if f := checkBucket(u.Scheme, u.Host); f != nil {
		return nil, f
	}
	prefix, f := parsePrefix(u.Scheme, address, u.Path)
	if f != nil {
		return nil, f
	}
	s.Prefix = prefix
	if u.ForceQuery {
		return nil, &flaw{quoted(address) + " ends in a question mark", "write parameters after it, or take it out"}
	}
	if u.RawQuery != "" {
		if f := parseParams(u.Scheme, u.RawQuery, &s.Options); f != nil {
			return nil, f
		}
	}
	if f := checkOptions(&s); f != nil {
		return nil, f
	}
	return s, nil
}

// parsePrefix takes the path of a URL, decoded. One slash at its end means nothing.
func parsePrefix(scheme, address, path string) (string, *flaw) {
	hint := "write for example " + scheme + "://nx-cache/team/nx"
	prefix := strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/")
	if prefix == "" && path != "/" && path != "" {
		return "", &flaw{quoted(address) + " has two slashes in a row in its prefix", hint}
	}
	if prefix == "" {
		return "", nil
	}
	if err := plausible(prefix, false); err != nil {
		return "", &flaw{"has a prefix that holds a secret, or a character that cannot be printed (not shown)", hint}
	}
	if len(prefix) > maxPrefix {
		return "", &flaw{fmt.Sprintf("has a prefix of more than %d bytes", maxPrefix), hint}
	}
	if strings.Contains(prefix, `\`) {
		return "", &flaw{quoted(address) + " has a backslash in its prefix", hint}
	}
	for segment := range strings.SplitSeq(prefix, "/") {
		switch segment {
		case "":
			return "", &flaw{quoted(address) + " has two slashes in a row in its prefix", hint}
		case ".", "..":
			return "", &flaw{quoted(address) + " has " + segment + " in its prefix, which is not resolved here", hint}
		}
	}
	return prefix, nil
}

var paramName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,40}$`)

// parseParams reads the query of a bucket's URL into o: parameters that the scheme knows, each once, none empty.
func parseParams(scheme, query string, o *StoreOptions) *flaw {
	var names []string
	known := map[string]storeParam{}
	for _, p := range storeParams() {
		if slices.Contains(p.of, scheme) {
			names = append(names, p.name)
			known[p.name] = p
		}
	}
	seen := map[string]bool{}
	for part := range strings.SplitSeq(query, "&") {
		name, raw, hasValue := strings.Cut(part, "=")
		p, ok := known[name]
		switch {
		case !ok && !hasValue:
			return &flaw{"has a parameter without a value (not shown)", "write name=value; the parameters of " + scheme + ":// are " + strings.Join(names, ", ")}
		case !ok && credentialLike(name):
			return &flaw{"has the parameter " + shownParam(name) + ", which looks like a credential (not shown)", credentialsHint(scheme)}
		case !ok:
			return &flaw{"has an unknown parameter, " + shownParam(name), suggestParam(scheme, name, names)}
		case seen[name]:
			return &flaw{"has the parameter " + name + " twice", "take one of them out"}
		}
		seen[name] = true
		value, err := url.PathUnescape(raw)
		if err != nil {
			return &flaw{"has a wrong escape in the parameter " + name, "write %25 for a per cent sign"}
		}
		if value == "" {
			return &flaw{"has the parameter " + name + " without a value", "write one, or take the parameter out"}
		}
		if plausible(value, false) != nil {
			return &flaw{"has a value of " + name + " that holds a secret, or a character that cannot be printed (not shown)", "write another one"}
		}
		if f := setParam(scheme, p, value, reflect.ValueOf(o).Elem().Field(p.field)); f != nil {
			return f
		}
	}
	return nil
}

// suggestParam says what may have been meant, also if another scheme knows it.
func suggestParam(scheme, name string, names []string) string {
	for _, p := range storeParams() {
		if p.name == name {
			return "it belongs to " + strings.Join(p.of, ":// and ") + "://; the parameters of " + scheme + ":// are " + strings.Join(names, ", ")
		}
	}
	return strictyaml.Suggest(name, names, "the parameters of "+scheme+":// are "+strings.Join(names, ", "))
}

// shownParam shows the name of a parameter only if it can be one.
func shownParam(name string) string {
	if !paramName.MatchString(name) || quoted(name)[0] != '"' || plausible(name, false) != nil {
		return "a name that is not shown"
	}
	return name
}

// credentialLike says whether a parameter of that name would hold a secret, or part of a signed URL.
func credentialLike(name string) bool {
	folded := strings.NewReplacer("-", "", "_", "", ".", "").Replace(strings.ToLower(name))
	for _, part := range []string{
		"secret", "token", "passw", "credential", "signature", "accesskey", "accountkey", "storagekey", "customerkey", "encryptionkey",
		"privatekey", "apikey", "sharedkey", "connectionstring", "authorization",
	} {
		if strings.Contains(folded, part) {
			return true
		}
	}
	for _, begin := range []string{"xamz", "xgoog"} {
		if strings.HasPrefix(folded, begin) {
			return true
		}
	}
	return slices.Contains([]string{
		"key", "keyid", "sas", "sig", "sv", "se", "sp", "sr", "st", "spr", "ss", "srt", "user", "username", "pwd", "auth", "cpk", "csek", "ssec",
	}, folded)
}

// credentialsHint says where the credentials of a cloud belong.
func credentialsHint(scheme string) string {
	switch scheme {
	case SchemeS3:
		return "leave it out: credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, from a profile, or from the role of the machine or pod"
	case SchemeGS:
		return "leave it out: credentials come from the file that GOOGLE_APPLICATION_CREDENTIALS names, or from the service account of the machine or pod"
	}
	return "leave it out: credentials come from AZURE_STORAGE_CONNECTION_STRING, AZURE_STORAGE_KEY or AZURE_CLIENT_ID and its like, or from the managed identity of the machine or pod"
}
