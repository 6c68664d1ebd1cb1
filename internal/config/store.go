package config

import (
	"net/url"
	"path/filepath"
	"reflect"
	"strings"
)

// Schemes of a [StoreURL].
const (
	SchemeFile   = "file"
	SchemeS3     = "s3"
	SchemeGS     = "gs"
	SchemeAzblob = "azblob"
)

// StoreURL says where artifacts are kept: a directory, or a bucket. It holds no credentials.
type StoreURL struct {
	// Scheme names the backend, as one of the constants.
	Scheme string
	// Path is the absolute path of the directory, in the form of the operating system; empty for a bucket.
	Path string
	// Bucket is the name of the bucket, for Azure of the container; empty for a directory.
	Bucket string
	// Prefix begins the names of all objects, without a slash at either end. It may be empty: all of the bucket.
	Prefix string
	// Options are the parameters of a bucket.
	Options StoreOptions
}

// StoreOptions are the parameters of a store URL. What is empty or false is left to the storage, or to the environment of its SDK.
//
// The tags of a field: param, its name in the URL; of, the schemes that know it.
type StoreOptions struct {
	// Region is where the bucket is.
	Region string `param:"region" of:"s3"`
	// Account is the storage account of the container.
	Account string `param:"account" of:"azblob"`
	// Endpoint is an http or https URL without user, query, fragment or trailing slash, in place of the cloud's own. It may have a path, but
	// for Google's.
	Endpoint string `param:"endpoint" of:"s3,gs,azblob"`
	// PathStyle puts the bucket into the path of a request, not into the host.
	PathStyle bool `param:"path_style" of:"s3"`
	// Profile names a profile of the shared configuration files of AWS.
	Profile string `param:"profile" of:"s3"`
	// SSE is one of the constants, or empty.
	SSE string `param:"sse" of:"s3"`
	// KMSKey names the key of the cloud's key management that encrypts objects.
	KMSKey string `param:"kms_key" of:"s3,gs"`
	// BucketKey asks for an S3 Bucket Key; only with [SSEKMS].
	BucketKey bool `param:"bucket_key" of:"s3"`
	// EncryptionScope names an encryption scope of the account.
	EncryptionScope string `param:"encryption_scope" of:"azblob"`
	// SSECKeyFile, CSEKFile and CPKFile are the absolute paths of files with a key that goes along with each request. They are not read here.
	SSECKeyFile string `param:"sse_c_key_file" of:"s3"`
	CSEKFile    string `param:"csek_file" of:"gs"`
	CPKFile     string `param:"cpk_file" of:"azblob"`
	// StorageClass and AccessTier say how objects are stored. Classes that have to be restored before they can be read are refused.
	StorageClass string `param:"storage_class" of:"s3,gs"`
	AccessTier   string `param:"access_tier" of:"azblob"`
	// CAFile is the absolute path of a file with certificates, PEM, that are trusted beside the system's.
	CAFile string `param:"ca_file" of:"s3,gs,azblob"`
	// Checksums is empty, or [ChecksumsOff] for storages that refuse the trailing checksums of the SDK.
	Checksums string `param:"checksums" of:"s3"`
}

// Values of StoreOptions.
const (
	SSES3      = "s3"
	SSEKMS     = "kms"
	SSEKMSDSSE = "kms-dsse"

	ChecksumsDefault = "default"
	ChecksumsOff     = "off"
)

func fileStore(path string) StoreURL { return StoreURL{Scheme: SchemeFile, Path: path} }

// IsBucket says whether the store is a bucket of an object storage, and not a directory.
func (s StoreURL) IsBucket() bool { return s.Bucket != "" }

// CustomerKeyFile returns the path of the file with the key that goes along with each request, or an empty string.
func (o StoreOptions) CustomerKeyFile() string { return o.SSECKeyFile + o.CSEKFile + o.CPKFile }

// String returns the URL, escaped where it must be. Parsed again it is the same.
func (s StoreURL) String() string {
	switch {
	case s.Scheme == "":
		return ""
	case !s.IsBucket():
		path := filepath.ToSlash(s.Path)
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		return (&url.URL{Scheme: s.Scheme, Path: path}).String()
	}
	var b strings.Builder
	b.WriteString(s.Scheme + "://" + s.Bucket)
	if s.Prefix != "" {
		b.WriteString((&url.URL{Path: "/" + s.Prefix}).EscapedPath())
	}
	sep := "?"
	values := reflect.ValueOf(s.Options)
	for _, p := range storeParams() {
		text := ""
		switch v := values.Field(p.field).Interface().(type) {
		case bool:
			if v {
				text = "true"
			}
		case string:
			text = v
		}
		if text != "" {
			b.WriteString(sep + p.name + "=" + queryEscape(text))
			sep = "&"
		}
	}
	return b.String()
}

// queryEscape escapes a value so that it can be read by those who take "+" for a blank and by those who do not, and leaves URLs and paths
// as people know them.
func queryEscape(text string) string {
	return strings.NewReplacer("+", "%20", "%2F", "/", "%3A", ":").Replace(url.QueryEscape(text))
}

// storeParam is a field of [StoreOptions].
type storeParam struct {
	name  string
	of    []string // schemes
	field int      // its index in the struct
	typ   reflect.Type
}

// storeParams reads the tags.
func storeParams() []storeParam {
	t := reflect.TypeFor[StoreOptions]()
	all := make([]storeParam, t.NumField())
	for i := range all {
		f := t.Field(i)
		all[i] = storeParam{name: f.Tag.Get("param"), of: strings.Split(f.Tag.Get("of"), ","), field: i, typ: f.Type}
	}
	return all
}
