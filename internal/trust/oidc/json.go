package oidc

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"unicode/utf8"
)

// limits of a JSON text from outside.
type limits struct {
	depth   int // of nested objects and lists, the outermost included
	members int // of all objects and lists together
}

// Why a JSON text is refused. They follow the name of what is read, and quote nothing of it.
var (
	errNoObject   = errors.New("is no JSON object")
	errEncoding   = errors.New("is not in UTF-8, or has half a character")
	errDuplicate  = errors.New("says the same name twice")
	errDeep       = errors.New("is nested too deep")
	errManyValues = errors.New("has too many values")
)

// decodeObject decodes a JSON object as [json.Unmarshal] with numbers as [json.Number] would, but refuses what other readers could read differently: names said
// twice, bytes and escapes that are no character.
func decodeObject(data []byte, l limits) (map[string]any, error) {
	if !utf8.Valid(data) {
		return nil, errEncoding
	}
	if !json.Valid(data) {
		return nil, errNoObject
	}
	if !wholeSurrogates(data) {
		return nil, errEncoding
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	w := walker{dec: dec, left: l.members}
	v, err := w.value(l.depth)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, errNoObject
	}
	return object, nil
}

// walker reads a text that is known to be valid JSON.
type walker struct {
	dec  *json.Decoder
	left int
}

func (w *walker) value(depth int) (any, error) {
	token, err := w.dec.Token()
	if err != nil {
		return nil, errNoObject
	}
	switch token {
	case json.Delim('{'):
		if depth == 0 {
			return nil, errDeep
		}
		return w.object(depth - 1)
	case json.Delim('['):
		if depth == 0 {
			return nil, errDeep
		}
		return w.list(depth - 1)
	default:
		return token, nil
	}
}

func (w *walker) object(depth int) (any, error) {
	object := map[string]any{}
	for w.dec.More() {
		if w.left--; w.left < 0 {
			return nil, errManyValues
		}
		token, err := w.dec.Token()
		if err != nil {
			return nil, errNoObject
		}
		name, ok := token.(string)
		if !ok {
			return nil, errNoObject
		}
		if _, ok := object[name]; ok {
			return nil, errDuplicate
		}
		if object[name], err = w.value(depth); err != nil {
			return nil, err
		}
	}
	return object, w.end()
}

func (w *walker) list(depth int) (any, error) {
	list := []any{}
	for w.dec.More() {
		if w.left--; w.left < 0 {
			return nil, errManyValues
		}
		v, err := w.value(depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, w.end()
}

func (w *walker) end() error {
	if _, err := w.dec.Token(); err != nil {
		return errNoObject
	}
	return nil
}

// wholeSurrogates reports whether every escape \uD8xx of a valid JSON text is followed by its other half. encoding/json makes U+FFFD of half a pair, so that
// different names would become the same.
func wholeSurrogates(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++ // what is escaped is there: the text is valid
		if data[i] != 'u' {
			continue
		}
		unit := hexUnit(data[i+1:])
		i += 4
		switch {
		case unit < 0xD800 || unit > 0xDFFF:
		case unit >= 0xDC00, i+6 >= len(data), data[i+1] != '\\', data[i+2] != 'u':
			return false
		default:
			if low := hexUnit(data[i+3:]); low < 0xDC00 || low > 0xDFFF {
				return false
			}
			i += 6
		}
	}
	return true
}

func hexUnit(data []byte) uint64 {
	if len(data) < 4 {
		return 0
	}
	unit, err := strconv.ParseUint(string(data[:4]), 16, 16)
	if err != nil {
		return 0
	}
	return unit
}
