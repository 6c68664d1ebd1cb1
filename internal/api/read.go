package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bezoar-cache/bezoar/internal/admin"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

func bad(format string, args ...any) *problem {
	return &problem{code: string(admin.BadRequest), detail: fmt.Sprintf(format, args...)}
}

// boundBody gives the body its deadline. What is not read of it by then ends the connection.
func (c *call) boundBody() {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(bodyTimeout)) // not supported by a test's recorder, which does not stall
}

// read takes the query and the body, strictly: what a route does not know is a mistake that somebody should see.
func (c *call) read() error {
	query, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return bad("the query is malformed")
	}
	for name, values := range query {
		switch {
		case !slices.Contains(c.route.query, name):
			return bad("there is no such parameter here; there are: %s", strings.Join(c.route.query, ", "))
		case len(values) > 1:
			return bad("the parameter %s is there twice", name)
		case !utf8.ValidString(values[0]):
			return bad("the parameter %s is no UTF-8", name)
		case trust.HoldsToken(values[0]):
			return bad("there is a token in the parameter %s (not shown): URLs are logged in many places", name)
		}
	}
	c.query = query
	return c.readBody()
}

func (c *call) readBody() error {
	if !c.route.body {
		if c.r.ContentLength != 0 {
			return bad("this request has no body")
		}
		return nil
	}
	mediaType, params, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/json" || len(params) > 0 && !strings.EqualFold(params["charset"], "utf-8") {
		return &problem{code: codeMediaType, detail: "the body is to be JSON, with Content-Type: application/json"}
	}
	if c.r.Header.Get("Content-Encoding") != "" {
		return &problem{code: codeMediaType, detail: "the body is to be sent as it is, without a Content-Encoding"}
	}
	if c.r.ContentLength > maxBody {
		return &problem{code: codeTooLarge, detail: fmt.Sprintf("a body has at most %d bytes", maxBody)}
	}
	body, err := io.ReadAll(io.LimitReader(c.r.Body, maxBody+1))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &problem{code: codeTimeout, detail: fmt.Sprintf("the body did not arrive within %s", bodyTimeout)}
	case err != nil:
		return bad("the body did not arrive whole")
	case len(body) > maxBody:
		return &problem{code: codeTooLarge, detail: fmt.Sprintf("a body has at most %d bytes", maxBody)}
	}
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	c.body = append([]byte{}, body...) // not nil: it was read to its end
	return nil
}

// decode reads one JSON object into a struct, strictly: names as they are spelt, each once, none that is not known, and nothing behind.
// encoding/json alone takes "NAME" for "name", and the last of two.
func decode(body []byte, out any) error {
	if !utf8.Valid(body) {
		return bad("the body is no UTF-8")
	}
	names, err := checkNames(json.NewDecoder(bytes.NewReader(body)))
	if err != nil {
		return err
	}
	known := fieldNames(reflect.TypeOf(out).Elem())
	for _, name := range names {
		if !slices.Contains(known, name) {
			return bad("there is no such field in the body; there are: %s", strings.Join(known, ", "))
		}
	}
	if err := json.Unmarshal(body, out); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return bad("the field %s is of another type: %s", wrong.Field, wrong.Type)
		}
		return bad("the body is no JSON object as it should be")
	}
	return nil
}

func fieldNames(t reflect.Type) (names []string) {
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}

// checkNames walks one JSON object to its end, in which no object has a name twice, and returns the names of the outermost one.
func checkNames(d *json.Decoder) (outermost []string, err error) {
	type level struct {
		names map[string]bool // nil in an array
		value bool            // a value is due, and no name
	}
	var levels []level
	for {
		token, err := d.Token()
		if err != nil {
			return nil, bad("the body is no whole JSON object")
		}
		var top *level
		if len(levels) > 0 {
			top = &levels[len(levels)-1]
		}
		delim, isDelim := token.(json.Delim)
		switch {
		case top == nil && delim != '{':
			return nil, bad("the body is to be a JSON object")
		case isDelim && (delim == '{' || delim == '['):
			if top != nil {
				top.value = false
			}
			next := level{}
			if delim == '{' {
				next.names = map[string]bool{}
			}
			if levels = append(levels, next); len(levels) > maxDepth {
				return nil, bad("the body is nested deeper than %d levels", maxDepth)
			}
		case isDelim:
			levels = levels[:len(levels)-1]
		case top.names != nil && !top.value:
			name, _ := token.(string)
			if top.names[name] {
				return nil, bad("a name is there twice in an object of the body")
			}
			top.names[name], top.value = true, true
			if len(levels) == 1 {
				outermost = append(outermost, name)
			}
		default:
			top.value = false
		}
		if len(levels) > 0 {
			continue
		}
		if _, err := d.Token(); !errors.Is(err, io.EOF) {
			return nil, bad("there is something behind the JSON object in the body")
		}
		return outermost, nil
	}
}

// maxDepth bounds how deep objects and arrays may be in each other.
const maxDepth = 16

// page reads the parameters of a page.
func (c *call) page() (p admin.Page, err error) {
	p.After = c.query.Get("after")
	p.Limit, err = c.number("limit", admin.DefaultPage, 1, admin.MaxPage)
	return p, err
}

// number reads a parameter that is a number.
func (c *call) number(name string, otherwise, least, most int) (int, error) {
	if !c.query.Has(name) {
		return otherwise, nil
	}
	text := c.query.Get(name)
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most || strconv.Itoa(n) != text {
		return 0, bad("the parameter %s is a number from %d to %d", name, least, most)
	}
	return n, nil
}

// parsed reads a parameter with a form of its own; without it, the zero value.
func parsed[T any](c *call, name string, parse func(string) (T, error)) (v T, err error) {
	if !c.query.Has(name) {
		return v, nil
	}
	if v, err = parse(c.query.Get(name)); err != nil {
		return v, bad("the parameter %s: %v", name, err)
	}
	return v, nil
}
