package config

import (
	"net/netip"
	"regexp"
	"strings"
)

var (
	s3Name    = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
	gcsName   = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	azureName = regexp.MustCompile(`^[a-z0-9](-?[a-z0-9]){2,62}$`)
)

// checkBucket holds the name of a bucket against the rules of its cloud, so that a slip is told in words and not by a request that fails.
func checkBucket(scheme, name string) *flaw {
	switch scheme {
	case SchemeS3:
		return checkS3Bucket(name)
	case SchemeGS:
		return checkGCSBucket(name)
	}
	if !azureName.MatchString(name) || len(name) > 63 {
		return &flaw{quoted(name) + " cannot be the name of a container", "write 3 to 63 lower-case letters, digits and single hyphens, with a letter or digit at both ends"}
	}
	return nil
}

// checkS3Bucket: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html. The alias of an access point, which ends
// in -s3alias, stands for a bucket in the requests that are made, and is let in.
func checkS3Bucket(name string) *flaw {
	const hint = "write 3 to 63 lower-case letters, digits, dots and hyphens, with a letter or digit at both ends"
	if !s3Name.MatchString(name) || strings.Contains(name, "..") || isAddress(name) {
		return &flaw{quoted(name) + " cannot be the name of a bucket", hint}
	}
	for _, begin := range []string{"xn--", "sthree-", "amzn-s3-demo-"} {
		if strings.HasPrefix(name, begin) {
			return &flaw{quoted(name) + " begins with " + begin + ", which S3 keeps for itself", "name a bucket of yours"}
		}
	}
	if strings.HasSuffix(name, "--x-s3") {
		return &flaw{quoted(name) + " is a directory bucket", "name a general purpose bucket"}
	}
	for _, end := range []string{"--ol-s3", ".mrap", "--table-s3"} {
		if strings.HasSuffix(name, end) {
			return &flaw{quoted(name) + " ends in " + end + ", which S3 keeps for itself", "name a general purpose bucket"}
		}
	}
	return nil
}

// checkGCSBucket: https://cloud.google.com/storage/docs/buckets#naming.
func checkGCSBucket(name string) *flaw {
	const hint = "write 3 to 63 lower-case letters, digits, hyphens, underscores and dots, with a letter or digit at both ends"
	dotted := strings.Split(name, ".")
	if !gcsName.MatchString(name) || len(dotted) == 1 && len(name) > 63 {
		return &flaw{quoted(name) + " cannot be the name of a bucket", hint}
	}
	for _, part := range dotted {
		if part == "" || len(part) > 63 {
			return &flaw{quoted(name) + " cannot be the name of a bucket", hint + "; at most 63 between dots, and no two dots in a row"}
		}
	}
	if a, err := netip.ParseAddr(name); err == nil && a.Is4() {
		return &flaw{quoted(name) + " is an IP address, which no bucket is called", hint}
	}
	if strings.HasPrefix(name, "goog") || strings.Contains(name, "google") {
		return &flaw{quoted(name) + " begins with goog or holds google, which Google keeps for itself", "name a bucket of yours"}
	}
	return nil
}
