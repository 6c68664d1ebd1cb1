package main

import "fmt"

// notOnRecord says that something was done and the audit log does not have it: the command has done what it was asked for.
func notOnRecord(env *environment, err error) {
	if err != nil {
		fmt.Fprintf(env.Stderr, "bezoar: this is done, and could not be put into the audit log: %v\n", err)
	}
}
