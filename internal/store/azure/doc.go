// Package azure is a [bucket.Bucket] in Azure Blob Storage, over the official client.
//
// # Writing
//
// A body up to Options.BlocksAt goes in one request (Put Blob), of which nothing remains if it breaks off. A larger one goes in blocks, a few at a
// time, of which one request (Put Block List) then makes the blob. The body is read from where it lies: nothing is buffered.
//
// Where nothing may be replaced, the request that makes the blob carries If-None-Match: *. It is repeated only after an answer that asks for
// it, and what it says then may be about an earlier attempt of ours: it is no [bucket.ErrExist].
//
// Blocks that no list takes up need no cleaning up. They belong to a blob that does not exist: no request reads or lists them. The
// service drops them when a blob of that name is made, by whomever, else after a week
// (https://learn.microsoft.com/rest/api/storageservices/put-block). Their names hold a random part, because blocks of all who write the
// same blob lie in one place: with names that count from zero, two uploads would mix. The list of whoever is later may then name blocks that
// the earlier one's list has dropped, which is a failure that the caller settles by looking, as any other.
//
// # Versions
//
// The version is the ETag, which is new with each write, also of the same bytes. It stands here without the quotes, as listings have it.
//
// # What an emulator does not keep, and the cloud documents
//
//   - azurite 3.35.0 answers a range that begins at the end of a blob with 206 and an empty range. The service answers 416 InvalidRange. Both are
//     understood.
//   - It refuses a customer's encryption key (500 FeatureNotSupported) and ignores an encryption scope, even one that does not exist. The
//     service encrypts with both, and wants https for the former.
//   - It has no hierarchical namespace, in which a listing has directories, too, marked by hdi_isfolder.
//   - It has no roles and no firewall: 403 with AuthorizationPermissionMismatch or AuthorizationFailure does not come up.
//   - It takes tokens, and so signs for their owner, only over https and with an option.
package azure
