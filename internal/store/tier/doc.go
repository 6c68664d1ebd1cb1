// Package tier puts a local disk in front of a store that is far away.
//
// # Reading
//
// An entry that the local store has is served from there, as that store serves it. For any other, the first reader begins a
// download and whoever comes meanwhile joins it: a hundred agents that ask for one artifact at once cost one request to the
// storage behind. The download belongs to nobody: it has a context of its own, and ends when it is complete or nobody wants it any more. Its
// bytes go to a file, from which each reader reads at its own pace.
//
// Small bodies ([Options.VerifyAhead]) are given out when their SHA-256 fits their record, so that damage is a plain miss. Of larger ones the
// bytes flow as they arrive, but for the last up to 64 KiB, which wait for the digest: nobody ever gets the whole of a damaged artifact.
//
// Where nothing is kept, a file in between serves only to be shared. There a large body that the store behind verifies goes straight to its reader if that one is
// alone; whoever comes while he reads shares another download: two of an entry run at a time, however many want it. He reads at
// the pace at which it comes, and it comes at his: one that is deleted while he reads cannot be read on from where the line broke.
//
// Answers other than an entry are not remembered. A miss goes to those who asked before the storage was; the others share one more
// question, so that what was uploaded before somebody asked is never a miss to him.
//
// # When the last reader leaves
//
// A download that is to be kept goes on if at least half of it has arrived: what was paid for is more than what is still to pay, and a
// job that was cancelled is most often run again. Any other ends at once. So a client that breaks off again and again
// costs at most twice of what it takes in.
//
// # Room
//
// The tier never keeps more than [Options.Size] bytes of files: an entry's bytes, with its record and rounded up to blocks, are reserved before the
// first one is written. The least recently used entries go, in the background, when 95% are used. No request waits for
// that: a body for which there is no room at the beginning goes to a temporary file, is kept if there is room at its end, and is forgotten if
// there is not. What comes on top of Size are directories, files that were removed while somebody reads them, what the local
// store has set aside as damaged, and temporary files ([Options.TempSize]).
//
// A file that is kept is written once: the local store's draft is read while it grows, and committed in the end. A store
// whose drafts cannot be followed (see [follower]) keeps nothing.
//
// # Restart
//
// The directory is listed in the background. Until that is done its entries are served all the same, but nothing more is kept, because nobody
// knows yet how much is there. Use is known since the start of the process only; before, the age of an entry stands for it.
//
// # Deleting
//
// An entry never changes, so what is here need not be asked for there. But one that is deleted must not be served any more: Delete
// takes the local copy first, and a download that is under way is neither kept nor joined. What another server deletes, this one has to be
// told: [Store.Forget], [Store.ForgetScope].
//
// # Trouble of the local disk
//
// No reading fails by it, save that a file breaks while the kernel sends it. Where a file cannot be written, each reader gets its bytes from the storage
// behind, from where it was. [Store.Degraded] tells. When the disk is full, copies are given up, also for others on it ([Store.GiveWay]).
package tier
