// Package s3 is a [bucket.Bucket] in Amazon S3 and in what speaks it: Cloudflare R2, MinIO, Ceph, versitygw and others.
//
// # Writing once
//
// An object that must not replace another is written with If-None-Match: *, in one request or, if it is large, in parts, where the condition is held
// when the parts are put together. What the service answers:
//
//	412 PreconditionFailed           there is one
//	409 ConditionalRequestConflict   another one is being written or deleted: look, and begin anew
//	no answer, or 500                it may have happened: look, and begin anew if there is none
//
// Whoever loses a race often sees a broken line instead of 412, so what is not known is looked up before the body is sent again. If an object
// is there after an answer was lost, that may be our own: this is no [bucket.ErrExist], and whoever knows the content settles it. A service
// that ignores the condition is found out by [bucket.Check].
//
// # Versions
//
// The version is the ETag, which follows from the content: the same body written again may have the same one. Deletion of a version
// compares first and then asks for the condition (If-Match), which Amazon S3 keeps; a service that ignores it leaves a gap of one round trip.
//
// # Checksums
//
// Over TLS bodies are sent with a trailing CRC-32, computed while they are sent. Some services refuse it: Options.Checksums. MinIO
// takes at most 16 MiB at once this way, so more is sent in parts to services with an endpoint of their own. Over plain HTTP
// there is none, and the body is not part of the signature: reading it twice would cost more than it is worth on a line that anybody can
// read. Answers are not checked against checksums here: each reader of an entry holds its SHA-256 against the record.
//
// # Permissions
//
// s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload on the objects, and s3:ListBucket on the bucket; with a key in KMS also kms:GenerateDataKey and
// kms:Decrypt on it. Without s3:ListBucket, S3 says 403 and not 404 of an object that does not exist. Uploads in parts that were cut short by a
// crash are removed by a lifecycle rule of the bucket (AbortIncompleteMultipartUpload), not from here.
//
// HEAD has no room for a reason: a bucket that does not exist looks like a missing object to Head, and is told apart by Get, Put and List.
package s3
