package config

import (
	"github.com/bezoar-cache/bezoar/internal/strictyaml"
)

// MaxFileSize bounds the file, in bytes.
const MaxFileSize = strictyaml.MaxSize

// words are what the messages of [strictyaml] call a configuration file.
var words = strictyaml.Words{
	File: "a configuration", Entry: "setting", Entries: "settings",
	Deepest: "no setting needs more than a list of mappings",
}

// parseFile reads YAML into a mapping. An empty file is an empty mapping.
func parseFile(name string, data []byte) (node, *Problem) {
	top, p := strictyaml.Parse(data, words)
	if p != nil {
		return node{}, &Problem{Source: position(name, p.At), What: p.What, Hint: p.Hint}
	}
	return convert(name, top), nil
}

func position(name string, at strictyaml.Position) Source {
	return Source{Layer: File, Name: name, Line: at.Line, Column: at.Column}
}

// convert gives a value of the file the form that those of all layers have.
func convert(name string, n strictyaml.Node) node {
	kinds := [...]kind{
		strictyaml.Text: str, strictyaml.Integer: integer, strictyaml.Float: other, strictyaml.Boolean: other,
		strictyaml.Null: null, strictyaml.List: list, strictyaml.Mapping: mapping,
	}
	out := node{at: position(name, n.At), kind: kinds[n.Kind], text: n.Text}
	for _, item := range n.Items {
		out.items = append(out.items, convert(name, item))
	}
	for _, p := range n.Pairs {
		out.pairs = append(out.pairs, pair{key: p.Key, at: position(name, p.At), value: convert(name, p.Value)})
	}
	return out
}
