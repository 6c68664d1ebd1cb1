// Package gcs is a [bucket.Bucket] in Google Cloud Storage.
//
// # Why no client library
//
// It speaks HTTP by itself, with golang.org/x/oauth2/google for the credentials. The official client brings gRPC, Protocol
// Buffers and OpenTelemetry along, whether they are used or not. Stripped binaries (Go 1.26, linux/amd64), against 6.1 MB for one that
// has net/http and JSON alone: with cloud.google.com/go/storage 1.70.0 34.0 MB, with google.golang.org/api/storage/v1 15.3 MB, with this package
// 7.3 MB. Of credentials alone, those of cloud.google.com/go/auth make it 7.8 MB, those of golang.org/x/oauth2/google 7.0 MB. What is
// needed of the service is a handful of requests. 8 bodies of 100 MB at a time take 9 MB of memory.
//
// Writing, describing, deleting and listing are requests of the JSON API. Reading is the XML API's: its answer carries an object's
// metadata in headers, so that opening an entry takes one request.
//
// # Writing
//
// A body up to Options.ResumableAt goes in one request, of which nothing remains if it breaks off. A larger one goes through a resumable
// session, in one request too, but after a break it goes on from what the service has, and in the session the question what became of
// it has an answer. The body is read again from where it lies: nothing is buffered.
//
// Both carry ifGenerationMatch=0 where nothing may be replaced; the session is held to it when it begins and when the object is made. A
// session that ends in an error is given up, so that it cannot make an object later. Checksums are not sent: each reader
// of an entry holds its SHA-256 against the record, and TLS keeps the way.
//
// # Versions
//
// The version is the generation. An object is deleted by generation: another generation is never touched, and in a bucket with object
// versioning the deleted one is gone for good, which is what a purge means.
//
// # What an emulator does not keep, and the cloud documents
//
//   - fake-gcs-server 1.56.1 ignores ifGenerationMatch of a deletion. Deleting by generation is exact there too.
//   - It takes the question for the state of a resumable session for its end, and makes an object of what it has so far. The service answers
//     308 with the range that it holds. So going on after a break is tested against a server in the unit tests.
//   - It looks at the condition of a session only when the object is made. The service may refuse when the session begins, too: both are understood.
//   - It ignores customers' encryption keys, keys in Cloud KMS and storage classes, also wrong ones. The service encrypts, and does not give
//     an object out without the customer's key.
//   - It accepts any signed URL, and any credentials and none.
//   - It says of a missing bucket what it says of a missing object, where it is read. The service names the bucket: NoSuchBucket (XML), or "The
//     specified bucket does not exist." (JSON).
package gcs
