package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// problem is an answer to what does not go well, by RFC 9457.
type problem struct {
	code   string
	detail string
	cause  error // for the log, where the detail does not say it
}

func (p *problem) Error() string { return p.detail }

// problemJSON is its body. The type is where the documentation tells of it; the code is the same, for programs.
type problemJSON struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
	Code   string `json:"code"`
}

const problemTypes = "https://github.com/bezoar-cache/bezoar/blob/main/docs/api.md#"

// Codes beside those of package admin: of credentials, and of requests as such.
const (
	codeOpen             = "open_server"
	codeBusy             = "busy"
	codeInternal         = "internal"
	codeMethod           = "method_not_allowed"
	codeMediaType        = "unsupported_media_type"
	codeTooLarge         = "too_large"
	codeTimeout          = "timeout"
	codeNoCredential     = "no_credential"
	codeExpired          = "expired"
	codeRevoked          = "revoked"
	codeMalformed        = "malformed_credential"
	codeUnknown          = "unknown_credential"
	codeForged           = "forged_credential"
	codeWrongKind        = "wrong_kind"
	codeNotAllowed       = "not_allowed"
	codeUnverifiable     = "unverifiable"
	unavailableDetail    = "the server could not do it now; its operator finds the cause in its log"
	codeOtherWorkspaceCI = string(admin.OtherWorkspace)
)

// problems are all codes, each with the status of its answer and what it says in general.
var problems = map[string]struct {
	status int
	title  string
}{
	string(admin.BadRequest):     {http.StatusBadRequest, "The request makes no sense"},
	codeNoCredential:             {http.StatusUnauthorized, "There is no credential"},
	codeExpired:                  {http.StatusUnauthorized, "The credential has expired"},
	codeRevoked:                  {http.StatusUnauthorized, "The credential was revoked"},
	codeMalformed:                {http.StatusUnauthorized, "The credential is malformed"},
	codeUnknown:                  {http.StatusUnauthorized, "The credential is unknown"},
	codeForged:                   {http.StatusUnauthorized, "The credential is forged"},
	codeWrongKind:                {http.StatusUnauthorized, "The credential is of another kind"},
	string(admin.Forbidden):      {http.StatusForbidden, "The credential does not allow it"},
	string(admin.OtherWorkspace): {http.StatusForbidden, "The credential is for another workspace"},
	codeNotAllowed:               {http.StatusForbidden, "The policy does not allow it"},
	codeOpen:                     {http.StatusForbidden, "The server is open"},
	string(admin.NotFound):       {http.StatusNotFound, "There is no such thing"},
	codeMethod:                   {http.StatusMethodNotAllowed, "The method is none of this path"},
	codeTimeout:                  {http.StatusRequestTimeout, "The request did not arrive in time"},
	string(admin.Conflict):       {http.StatusConflict, "It cannot be as things are"},
	codeTooLarge:                 {http.StatusRequestEntityTooLarge, "The request is too large"},
	codeMediaType:                {http.StatusUnsupportedMediaType, "The request is of another media type"},
	codeInternal:                 {http.StatusInternalServerError, "The server failed"},
	codeBusy:                     {http.StatusServiceUnavailable, "The server is busy"},
	codeUnverifiable:             {http.StatusServiceUnavailable, "The credential cannot be verified now"},
	string(admin.Unavailable):    {http.StatusServiceUnavailable, "The server is in trouble"},
}

func (p *problem) status() int { return problems[p.code].status }

func (p *problem) body() problemJSON {
	known := problems[p.code]
	return problemJSON{Type: problemTypes + p.code, Title: known.title, Status: known.status, Detail: p.detail, Code: p.code}
}

// denials are the codes of what package trust says.
var denials = []struct {
	is   error
	code string
}{
	{trust.ErrNoCredential, codeNoCredential},
	{trust.ErrExpired, codeExpired},
	{trust.ErrRevoked, codeRevoked},
	{trust.ErrMalformed, codeMalformed},
	{trust.ErrUnknown, codeUnknown},
	{trust.ErrForged, codeForged},
	{trust.ErrWrongKind, codeWrongKind},
	{trust.ErrOtherWorkspace, codeOtherWorkspaceCI},
	{trust.ErrUnverifiable, codeUnverifiable},
	{trust.ErrNotAllowed, codeNotAllowed},
	{trust.ErrAudience, codeNotAllowed},
	{trust.ErrNeedsExchange, codeNotAllowed},
}

// problemOf maps an error to an answer. What an operator caused he is told; what is the server's own trouble, the log is.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	if d, ok := errors.AsType[*trust.DeniedError](err); ok {
		for _, known := range denials {
			if errors.Is(d, known.is) {
				return &problem{code: known.code, detail: d.Reason}
			}
		}
		return &problem{code: codeNotAllowed, detail: d.Reason}
	}
	if code := admin.CodeOf(err); code != admin.Unavailable {
		return &problem{code: string(code), detail: err.Error()}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &problem{code: string(admin.Unavailable), detail: "it took too long: ask for less at a time, or try again", cause: err}
	}
	return &problem{code: string(admin.Unavailable), detail: unavailableDetail, cause: err}
}
