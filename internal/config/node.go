package config

// kind is what is known of a value before its setting's type is looked at.
type kind int

const (
	plain   kind = iota // from a flag or a variable: text of any type
	str                 // the others are of YAML
	integer             //
	other               // boolean, float: no setting is of such a type
	null
	list
	mapping
)

func (k kind) String() string {
	return [...]string{"a text", "a text", "a number", "neither a text nor a whole number", "empty", "a list", "a mapping"}[k]
}

// node is a value as it was written.
type node struct {
	at    Source
	kind  kind
	text  string // of scalars
	items []node // of lists
	pairs []pair // of mappings
}

type pair struct {
	key   string
	at    Source
	value node
}
