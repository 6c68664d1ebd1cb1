package config

import (
	"net/netip"
	"net/url"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// Forms of values. They are closed: what is none of these is a slip, and is told before the first request is sent.
var (
	regionForm  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{0,63}$`)
	profileForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.@/+-]{0,127}$`)
	accountForm = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	scopeForm   = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]{2,62}$`)
	classForm   = regexp.MustCompile(`^[A-Z][A-Z0-9_]{1,31}$`)
	tierForm    = regexp.MustCompile(`^[A-Z][A-Za-z]{1,31}$`)
	awsKeyForm  = regexp.MustCompile(`^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/)?[A-Za-z0-9/_-]{1,256}$`)
	gcpKeyForm  = regexp.MustCompile(`^projects/[a-z0-9.:-]+/locations/[a-z0-9-]+/keyRings/[A-Za-z0-9_-]+/cryptoKeys/[A-Za-z0-9_-]+$`)
)

// archived says whether objects of a class must be restored for hours before they can be read. Google's ARCHIVE need not be.
func archived(scheme, class string) bool {
	return scheme != SchemeGS && slices.Contains([]string{"GLACIER", "DEEP_ARCHIVE", "Archive"}, class)
}

// setParam checks the value of one parameter and writes it into field.
func setParam(scheme string, p storeParam, value string, field reflect.Value) *flaw {
	if p.typ.Kind() == reflect.Bool {
		if value != "true" && value != "false" {
			return wrongParam(p.name, value, "write true or false")
		}
		field.SetBool(value == "true")
		return nil
	}
	var f *flaw
	form := func(re *regexp.Regexp, hint string) {
		if !re.MatchString(value) {
			f = wrongParam(p.name, value, hint)
		}
	}
	switch p.name {
	case "region":
		form(regionForm, "write for example eu-central-1")
	case "account":
		form(accountForm, "write the name of the storage account: 3 to 24 lower-case letters and digits")
	case "endpoint":
		value, f = parseEndpoint(scheme, value)
	case "profile":
		form(profileForm, "write the name of a profile of ~/.aws/config")
	case "sse":
		if !slices.Contains([]string{SSES3, SSEKMS, SSEKMSDSSE}, value) {
			f = wrongParam(p.name, value, "write s3, kms or kms-dsse")
		}
	case "kms_key":
		if scheme == SchemeGS {
			form(gcpKeyForm, "write projects/P/locations/L/keyRings/R/cryptoKeys/K")
		} else {
			form(awsKeyForm, "write the id, the ARN, or alias/ and the alias of a key")
		}
	case "encryption_scope":
		form(scopeForm, "write the name of an encryption scope of the account")
	case "storage_class":
		if form(classForm, "write a class as the storage calls it, for example STANDARD"); f == nil && archived(scheme, value) {
			f = &flaw{"has storage_class=" + value + ", whose objects cannot be read at once", "leave it out, or write a class that is read at once"}
		}
	case "access_tier":
		if form(tierForm, "write Hot, Cool or Cold"); f == nil && archived(scheme, value) {
			f = &flaw{"has access_tier=" + value + ", whose objects cannot be read at once", "leave it out, or write Hot, Cool or Cold"}
		}
	case "checksums":
		if value != ChecksumsDefault && value != ChecksumsOff {
			f = wrongParam(p.name, value, "write default or off")
		}
		if value == ChecksumsDefault {
			value = ""
		}
	default: // a file
		value, f = parseKeyPath(p.name, value)
	}
	if f == nil {
		field.SetString(value)
	}
	return f
}

func wrongParam(name, value, hint string) *flaw {
	return &flaw{"has " + quoted(value) + " for " + name + ", which it cannot be", hint}
}

// parseKeyPath takes an absolute path. Here a relative one would be relative to nothing: the URL may have been written anywhere.
func parseKeyPath(name, value string) (string, *flaw) {
	path := filepath.Clean(filepath.FromSlash(value))
	if !filepath.IsAbs(path) || path == filepath.Dir(path) {
		return "", wrongParam(name, value, "write the absolute path of a file, for example /run/secrets/"+strings.TrimSuffix(name, "_file"))
	}
	return path, nil
}

func parseEndpoint(scheme, value string) (string, *flaw) {
	hint := "write for example endpoint=https://" + map[string]string{
		SchemeS3: "s3.example.com:9000", SchemeGS: "storage.europe-west3.rep.googleapis.com", SchemeAzblob: "acme.blob.core.windows.net",
	}[scheme]
	u, err := url.Parse(value)
	switch {
	case err != nil:
		return "", &flaw{"has an endpoint that is not a URL (not shown)", hint}
	case u.User != nil:
		return "", &flaw{"has an endpoint with a user name or password (not shown)", hint + ", and no credentials"}
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "", !hostname(u.Hostname()) && !isAddress(u.Hostname()):
		address, _, _ := strings.Cut(value, "?")
		return "", &flaw{"has " + quoted(address) + " for endpoint, which is not an http or https URL", hint}
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(value, "#"):
		return "", &flaw{"has an endpoint with a query or a fragment (not shown)", hint}
	case scheme == SchemeGS && strings.Trim(u.Path, "/") != "":
		return "", &flaw{"has " + quoted(value) + " for endpoint, which has a path", hint}
	}
	return strings.TrimRight(u.String(), "/"), nil
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// checkOptions finds parameters that do not go together.
func checkOptions(s *StoreURL) *flaw {
	o := s.Options
	switch {
	case s.Scheme == SchemeS3 && o.KMSKey != "" && o.SSE != SSEKMS && o.SSE != SSEKMSDSSE:
		return &flaw{"has a kms_key that no sse asks for", "add sse=kms or sse=kms-dsse"}
	case o.BucketKey && o.SSE != SSEKMS:
		return &flaw{"has bucket_key=true without sse=kms", "only sse=kms knows bucket keys: add it, or take bucket_key out"}
	case o.SSECKeyFile != "" && o.SSE != "":
		return &flaw{"has sse_c_key_file and sse", "an object is encrypted in one way: keep one of the two"}
	case o.CSEKFile != "" && o.KMSKey != "":
		return &flaw{"has csek_file and kms_key", "an object is encrypted in one way: keep one of the two"}
	case o.CPKFile != "" && o.EncryptionScope != "":
		return &flaw{"has cpk_file and encryption_scope", "an object is encrypted in one way: keep one of the two"}
	case o.CustomerKeyFile() != "" && exposed(o.Endpoint):
		return &flaw{"would send the key of its key file over plain http", "use an https endpoint"}
	}
	return nil
}

// exposed says whether an endpoint is plain http and not on this machine.
func exposed(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Scheme != "http" {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() != "localhost" && (err != nil || !a.IsLoopback())
}
