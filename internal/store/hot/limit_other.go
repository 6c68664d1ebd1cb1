//go:build !unix

package hot

// DefaultFiles is how many files a process may well keep open.
func DefaultFiles() int { return mostFiles }
