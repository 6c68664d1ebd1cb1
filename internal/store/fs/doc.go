// Package fs keeps entries as files below a directory, local or shared (NFS) by several servers.
//
// # Layout
//
//	FORMAT                                     what this directory is, and the version of its layout
//	MARK-NAME                                  notes about the store, such as by which key it is sealed
//	OWNER                                      locked by a server that has the directory to itself ([Options.Alone])
//	entries/WORKSPACE/SCOPE/FF/HASH            one file for each entry
//	tmp/HOST-PID-RANDOM/                       uploads under way, one directory for each server process
//	damaged/                                   what was set aside, the newest few
//	quarantine/NAME                            what purges took ([cache.Quarantiner])
//
// WORKSPACE, SCOPE and HASH are percent-encoded so that different names stay different where file systems fold case
// or normalise Unicode, and none is special ([layout.FileName]); names that would be too long are replaced by their
// SHA-256. FF are the first two hex digits of the SHA-256 of the hash.
//
// An entry's file is the body, from offset 0 so that the kernel can send it, then the key and the
// record as JSON, then a footer of fixed size with lengths and a checksum ([encodeTail]). So a file that was cut has no
// footer, one that lies in a foreign place names another key, and an entry can be recognised, copied
// and listed without anything beside it.
//
// # Writing
//
// An upload goes to a file of its own in tmp/. Commit closes it, which on NFS brings it to the server, and then gives it
// its final name with link(2), which never replaces a file and is atomic on local file systems and NFS alike.
//
// O_TMPFILE and renameat2 would save a few system calls of each upload, but not everywhere: they would be a second way
// to do the same, with its own faults.
//
// # What is synced, and why that is enough
//
// FORMAT and notes are, once they are written. Of entries nothing is: there is no fsync, neither in an upload nor
// behind it. Instead, the SHA-256 of a body is compared with its
// record before this process serves it for the first time, unless this process wrote it itself; that the file
// is still the same afterwards is seen from its inode, size and times. A process that starts knows no
// file, so that after power loss each entry is either whole, and proves it, or is a miss. Law 2 needs
// no more: a cache may forget the last seconds of uploads, but may not serve them torn.
//
// A sync in the background would narrow these seconds, but prove nothing that the check does not prove, and it
// would miss what the check sees: bit rot at rest, edits by hand, files torn by another host on a shared
// directory. What neither sees is a medium that changes a file while the server runs and without touching its times,
// after it was checked. Use a file system with checksums where that matters.
//
// # Symbolic links
//
// Entries are opened with O_NOFOLLOW and must be regular files. Directories on the way are not guarded by [os.Root], which
// triples the cost of opening a file: who can plant a link in the directory can replace entries
// anyway; through a planted link only a whole entry of the very key is read, and a link(2) replaces nothing.
package fs
