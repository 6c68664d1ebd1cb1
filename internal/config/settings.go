package config

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/trust"
)

// setting is one field of [Config], of [Token], or the file that a secret may come from.
type setting struct {
	name     string
	help     string
	def      string // in the form of an environment variable; empty if there is none
	shown    string // the default in words, where it depends on the machine
	example  string
	enum     []string
	min, max string
	needs    string // what it means nothing without; see [Config.lacks]
	required bool
	list     bool
	typ      reflect.Type // of one item, if it is a list
	field    int          // its index in the struct
	of       *setting     // the secret whose file this is
}

// settings returns the settings of [Config] in order; each secret X is followed by X-file.
func settings() []*setting {
	var all []*setting
	for _, s := range fields(reflect.TypeFor[Config]()) {
		all = append(all, s)
		if s.typ == reflect.TypeFor[Secret]() {
			all = append(all, &setting{
				name: s.name + "-file", typ: reflect.TypeFor[Path](), of: s, field: s.field,
				help:    "File that holds " + s.name + "; one line break at its end is dropped" + s.only(),
				needs:   s.needs,
				example: "/run/secrets/" + s.name,
			})
		}
	}
	return all
}

// fields reads the tags of a struct.
func fields(t reflect.Type) []*setting {
	var all []*setting
	for i := range t.NumField() {
		f := t.Field(i)
		s := &setting{
			name: f.Tag.Get("name"), help: f.Tag.Get("help"), def: f.Tag.Get("default"), shown: f.Tag.Get("shown"),
			example: f.Tag.Get("example"), min: f.Tag.Get("min"), max: f.Tag.Get("max"), needs: f.Tag.Get("needs"),
			required: f.Tag.Get("required") == "true", typ: f.Type, field: i,
		}
		if enum := f.Tag.Get("enum"); enum != "" {
			s.enum = strings.Split(enum, ",")
		}
		if f.Type.Kind() == reflect.Slice {
			s.list, s.typ = true, f.Type.Elem()
		}
		if s.example == "" {
			s.example = s.def
		}
		s.help += s.only()
		all = append(all, s)
	}
	return all
}

// only says, in help, what the setting means nothing without.
func (s *setting) only() string {
	if s.needs == "" {
		return ""
	}
	return "; only with " + strings.TrimSuffix(needed(s.needs), " as the store")
}

// parse reads one text as the setting's type and holds it against enum, min and max. Its errors are [*flaw]s and
// say nothing of a secret.
func (s *setting) parse(text string) (any, error) {
	v, err := s.parseType(text)
	if err != nil {
		return nil, err
	}
	if s.min != "" {
		lo, err := s.parseType(s.min)
		if err != nil {
			return nil, err
		}
		hi, err := s.parseType(s.max)
		if err != nil {
			return nil, err
		}
		switch n := reflect.ValueOf(v).Int(); {
		case n < reflect.ValueOf(lo).Int():
			return nil, &flaw{quoted(text) + " is too small", "write " + s.min + " or more"}
		case n > reflect.ValueOf(hi).Int():
			return nil, &flaw{quoted(text) + " is too large", "write " + s.max + " or less"}
		}
	}
	return v, nil
}

func (s *setting) parseType(text string) (any, error) {
	if err := plausible(text, s.typ == reflect.TypeFor[Secret]() || s.typ == reflect.TypeFor[trust.TokenHash]()); err != nil {
		return nil, err
	}
	if s.enum != nil {
		return s.parseEnum(text)
	}
	switch s.typ {
	case reflect.TypeFor[Path]():
		return parsePath(text)
	case reflect.TypeFor[int]():
		return parseCount(text, s.example)
	case reflect.TypeFor[Size]():
		return parseSize(text)
	case reflect.TypeFor[time.Duration]():
		return parseDuration(text)
	case reflect.TypeFor[Listener]():
		return parseListener(text)
	case reflect.TypeFor[Address]():
		return parseAddress(text)
	case reflect.TypeFor[Wait]():
		return parseWait(text)
	case reflect.TypeFor[UpTo]():
		return parseUpTo(text)
	case reflect.TypeFor[StoreURL]():
		return parseStoreURL(text)
	case reflect.TypeFor[LedgerURL]():
		return parseLedgerURL(text)
	case reflect.TypeFor[PublicURL]():
		return parsePublicURL(text)
	case reflect.TypeFor[Secret]():
		return parseSecret(text)
	case reflect.TypeFor[TokenName]():
		return parseTokenName(text)
	case reflect.TypeFor[Developer]():
		return parseDeveloper(text)
	case reflect.TypeFor[cache.Workspace]():
		return parseWorkspace(text)
	case reflect.TypeFor[trust.TokenHash]():
		return parseTokenHash(text)
	case reflect.TypeFor[time.Time]():
		return parseExpiry(text)
	}
	return nil, fmt.Errorf("setting %s has a type that nothing reads: %v", s.name, s.typ)
}

// metavar names the setting's type in the help of flags.
func (s *setting) metavar() string {
	switch s.typ {
	case reflect.TypeFor[Path]():
		return "path"
	case reflect.TypeFor[int]():
		return "count"
	case reflect.TypeFor[Size](), reflect.TypeFor[UpTo]():
		return "size"
	case reflect.TypeFor[time.Duration](), reflect.TypeFor[Wait]():
		return "duration"
	case reflect.TypeFor[Listener](), reflect.TypeFor[Address]():
		return "address"
	case reflect.TypeFor[StoreURL](), reflect.TypeFor[LedgerURL](), reflect.TypeFor[PublicURL]():
		return "url"
	case reflect.TypeFor[Secret]():
		return "secret"
	case reflect.TypeFor[Token]():
		return "token"
	}
	return strings.Join(s.enum, "|")
}

// deflt returns the default as it is told to people.
func (s *setting) deflt() string {
	if s.shown != "" {
		return s.shown
	}
	return s.def
}
