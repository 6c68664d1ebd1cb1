package main

import "github.com/bezoar-cache/bezoar/internal/store/hot"

const (
	// ownDescriptors are for what is no connection of a client and no file or connection of a transfer: listeners, the ledger, logs, probes.
	ownDescriptors = 40
	// minConnections are taken however few descriptors there are.
	minConnections = 4
)

// connectionsFor is the most connections, up to wanted, with which a process that may open so many descriptors never runs out of them. A quarter more
// may be taken than the most (see the setting), and each that transfers an artifact needs a descriptor for a file or the bucket. Others are
// of files that are kept open without a transfer.
func connectionsFor(descriptors, kept, transfers, wanted int) int {
	left := descriptors - ownDescriptors - kept
	most := (left - transfers) * 4 / 5
	if most < transfers { // any of them may be transferring
		most = left * 4 / 9
	}
	return min(wanted, max(minConnections, most))
}

// maxConnections is the setting, or less if the process may not open that much: who cannot be served waits with the operating system then, and is not
// taken in vain.
func (a *app) maxConnections() int {
	wanted := a.cfg.MaxConnections
	descriptors, known := openFilesLimit()
	if !known {
		return wanted
	}
	kept := 0
	if a.cfg.MemoryCache > 0 {
		kept = hot.DefaultFiles()
	}
	most := connectionsFor(descriptors, kept, a.cfg.MaxUploads+a.cfg.MaxDownloads, wanted)
	if most < wanted {
		a.log.Info("fewer connections are taken than max-connections allows, since so few files may be open; raise the limit (ulimit -n, LimitNOFILE) if clients wait",
			"connections", most, "max_connections", wanted, "files", descriptors)
	}
	return most
}
