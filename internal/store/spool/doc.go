// Package spool takes uploads on the local disk and brings them to a remote store, so that an upload is kept while the remote store is
// slow or down, and a build does not wait for it longer than it was told to.
//
// # The way of an upload
//
// A draft is written to a store over a directory of this server's own. Its commit there gives it a place among this server's writers: of
// those of one key, one at a time goes on, the others wait for what becomes of it. Then it is sent. What the remote store says within
// [Options.Wait] is the answer. If it says nothing, or fails, the entry is brought to the disk (fsync) and acknowledged; it is
// pending, served from here, until it is sent. The queue is what lies in the directory, so that a restart finds what was acknowledged.
//
// # What is promised, and what is not
//
// With Wait [Forever] nothing is acknowledged that the remote store does not have: all that a [cache.Store] promises holds among all
// servers of the remote store.
//
// Otherwise, it holds among the users of one server, and among servers as far as the remote store answers in time. Two servers that cannot
// reach it may each acknowledge an upload of the same key, and serve their own until one of them has sent it. That one was first, for
// all and for good; the other drops its own, counts it as a lost race, and serves the remote's. So objects say of
// themselves that they are pending ([cache.Object]), and nobody keeps a copy of those.
//
// Of those who write one key through one server, one is told that he was first, whoever waits and whoever does not: a draft that was begun before another
// one was sent is refused.
//
// A server's own first attempt, when its answer was lost but not its bytes, looks like another server's: then the bytes are the same.
//
// # Leaving
//
// An entry leaves the directory only after the remote store has one under its key, so that a reader who misses it here finds it there. A crash
// in between sends it once more, in vain.
//
// A crash between a local commit and its acknowledgement leaves an entry that nobody was promised; the next start takes it for an acknowledged one. That
// is harmless: its upload was whole, checked, and allowed when it was committed, as with any upload whose answer is lost on the way. The same is true of one
// that its client gave up while it was sent, and that reached the remote store all the same.
//
// Delete ends a send and waits for that, and then deletes at the remote store. What it cannot see is a write that the storage takes up after
// it told that it had none.
//
// One directory belongs to one server process at a time.
package spool
