// Package strictyaml reads the small part of YAML that files of settings need, and knows of every value where it was written.
//
// YAML is more than such files need, and some of it is dangerous to parse. Anchors, tags, documents, directives, texts in block
// style and what nests deep are refused before the parser sees them.
package strictyaml

import "encoding/json"

// Position is a place in a file. Line and Column count from 1; both are 0 for a file as a whole.
type Position struct{ Line, Column int }

// Before says whether p comes before q in the file.
func (p Position) Before(q Position) bool {
	return p.Line < q.Line || p.Line == q.Line && p.Column < q.Column
}

// Kind is what a value is.
type Kind int

// The kinds of values. A Float is any number that is not whole.
const (
	Text Kind = iota
	Integer
	Float
	Boolean
	Null
	List
	Mapping
)

// String names the kind as messages do: "a list".
func (k Kind) String() string {
	const neither = "neither a text nor a whole number"
	return [...]string{"a text", "a number", neither, neither, "empty", "a list", "a mapping"}[k]
}

// Node is a value as it was written.
type Node struct {
	At   Position
	Kind Kind
	// Text is that of scalars, as written: 010 is for whoever wants a number to judge.
	Text  string
	Items []Node // of a list
	Pairs []Pair // of a mapping, in order; a key may be there twice
}

// Pair is a key of a mapping and its value.
type Pair struct {
	Key   string
	At    Position
	Value Node
}

// Value returns the node as encoding/json would decode it, numbers as [json.Number]. Of keys that are there twice the last one counts.
func (n Node) Value() any {
	switch n.Kind {
	case Integer, Float:
		return json.Number(n.Text)
	case Boolean:
		return n.True()
	case Null:
		return nil
	case List:
		items := make([]any, len(n.Items))
		for i, item := range n.Items {
			items[i] = item.Value()
		}
		return items
	case Mapping:
		values := make(map[string]any, len(n.Pairs))
		for _, p := range n.Pairs {
			values[p.Key] = p.Value.Value()
		}
		return values
	}
	return n.Text
}

// True says whether the node is the boolean true, in any of the ways that YAML writes it.
func (n Node) True() bool {
	return n.Kind == Boolean && (n.Text[0] == 't' || n.Text[0] == 'T')
}
