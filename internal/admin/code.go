package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

// Code tells errors apart, here and in the answers of the API. Codes are added, never changed.
type Code string

// What an operation answers beside success. The API has further codes, for credentials and for what is wrong with a request as such.
const (
	// BadRequest is for what was asked for in a way that makes no sense.
	BadRequest Code = "bad_request"
	// Forbidden is for what the role of the token does not allow.
	Forbidden Code = "forbidden"
	// OtherWorkspace is for what is in a workspace that the token is not for.
	OtherWorkspace Code = "other_workspace"
	// NotFound is for what does not exist, as far as the token may see.
	NotFound Code = "not_found"
	// Conflict is for what cannot be as things are.
	Conflict Code = "conflict"
	// Unavailable is for trouble of the server's own.
	Unavailable Code = "unavailable"
)

// Error is an error with a code, of an operator who asked for what cannot be.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text }

// Coder is an error that brings a code along, as those of another server do.
type Coder interface {
	error
	AdminCode() Code
}

// AdminCode implements [Coder].
func (e *Error) AdminCode() Code { return e.Code }

func fail(code Code, format string, args ...any) error {
	return &Error{code, fmt.Sprintf(format, args...)}
}

// FieldError says what is wrong with a part of what was asked for.
type FieldError struct {
	// Field is its name in JSON, and with two dashes before it that of its flag.
	Field string
	// Says is what is said of it, after the name: either ": " and a description, or the rest of a sentence.
	Says string
	Err  error
}

func (e *FieldError) Error() string { return e.Field + e.Says }

// Unwrap gives what is behind it.
func (e *FieldError) Unwrap() error { return e.Err }

// AdminCode implements [Coder].
func (e *FieldError) AdminCode() Code { return BadRequest }

func field(name string, err error) error {
	return &FieldError{Field: name, Says: ": " + err.Error(), Err: err}
}

// CodeOf is the code of an error of a [Service].
func CodeOf(err error) Code {
	if coder, ok := errors.AsType[Coder](err); ok {
		return coder.AdminCode()
	}
	for _, known := range []struct {
		is   error
		code Code
	}{
		{ledger.ErrNoToken, NotFound},
		{ledger.ErrNoRevocation, NotFound},
		{cache.ErrNotExist, NotFound},
		{ledger.ErrNoPurge, NotFound},
		{ledger.ErrNoDivergence, NotFound},
		{ledger.ErrPurgeState, Conflict},
		{retention.ErrBusy, Conflict},
		{ledger.ErrTokenExists, Conflict},
		{ledger.ErrAmbiguous, Conflict},
		{ledger.ErrCursor, BadRequest},
		{cache.ErrName, BadRequest},
		{context.DeadlineExceeded, Unavailable},
	} {
		if errors.Is(err, known.is) {
			return known.code
		}
	}
	return Unavailable
}
