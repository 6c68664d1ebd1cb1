//go:build !unix

package keyring

import "os"

// keepAccess does nothing: a new file inherits the rights of its directory.
func keepAccess(*os.File, string) error { return nil }

// syncDir does nothing: directories cannot be synced.
func syncDir(string) error { return nil }
