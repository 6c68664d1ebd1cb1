package config

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds of a configuration file. YAML is more than a configuration needs, and some of it is dangerous to
// parse; what the settings do not need is refused before the parser sees it.
const (
	// MaxFileSize bounds the file, in bytes.
	MaxFileSize = 1 << 20
	maxTokens   = 30_000
	maxLine     = 8192 // bytes
	maxDepth    = 8
)

// parseFile reads YAML into a mapping. An empty file is an empty mapping.
func parseFile(name string, data []byte) (node, *Problem) {
	whole := Source{Layer: File, Name: name}
	if len(data) > MaxFileSize {
		return node{}, &Problem{Source: whole, What: "is larger than 1 MiB", Hint: "a configuration is much smaller: is this the right file?"}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return node{}, &Problem{Source: whole, What: "is not text in UTF-8", Hint: "save it as UTF-8: is this the right file?"}
	}
	if p := refuseLines(name, data); p != nil {
		return node{}, p
	}
	// The lexer forgets a tag at the very end of its input.
	tokens := lexer.Tokenize(string(data) + "\n")
	if p := refuseTokens(name, tokens); p != nil {
		return node{}, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return node{}, syntaxProblem(whole, err)
	}
	top := node{at: whole, kind: mapping}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		body := convert(name, doc.Body)
		if body.kind == null {
			continue
		}
		if body.kind != mapping {
			return node{}, &Problem{Source: body.at, What: "the file is " + body.kind.String() + ", not settings", Hint: "write lines of setting: value"}
		}
		top.pairs = append(top.pairs, body.pairs...)
	}
	return top, nil
}

// blockHeader is a line that may begin a text in block style, with what is before the indicator. It takes more for one than
// is: where the lexer looks for indicators is its own affair.
var blockHeader = regexp.MustCompile(`^(.*?)[|>][-+0-9]*[ \t]*(#.*)?$`)

// comment is the beginning of a comment, if it is not in quotes.
var comment = regexp.MustCompile(`(^|\s)#`)

// refuseLines looks for texts in block style and for long lines before the lexer does: its time can grow with the cube of the
// lines of such a text, and with the square of a line, to minutes for a file within its size. No setting has more than a line.
func refuseLines(name string, data []byte) *Problem {
	number := 0
	for line := range bytes.Lines(bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))) {
		number++
		if len(line) > maxLine {
			return &Problem{Source: Source{Layer: File, Name: name, Line: number, Column: 1}, What: fmt.Sprintf("the line is longer than %d bytes", maxLine), Hint: "write each item of a list in a line of its own"}
		}
		m := blockHeader.FindSubmatchIndex(bytes.TrimSuffix(line, []byte("\n")))
		if m == nil {
			continue
		}
		if before := line[:m[3]]; comment.Match(before) && !bytes.ContainsAny(before, `"'`) {
			continue
		}
		return &Problem{
			Source: Source{Layer: File, Name: name, Line: number, Column: m[3] + 1},
			What:   "texts in block style, with | or >, are not allowed", Hint: "write the value on the line of its key, in quotes if need be",
		}
	}
	return nil
}

// refuseTokens looks for the parts of YAML that a configuration does not need.
func refuseTokens(name string, tokens token.Tokens) *Problem {
	if len(tokens) > maxTokens {
		return &Problem{Source: Source{Layer: File, Name: name}, What: fmt.Sprintf("has more than %d parts", maxTokens), Hint: "a configuration is much smaller: is this the right file?"}
	}
	depth, dashes, line := 0, 0, 0
	for i, t := range tokens {
		refuse := func(what, hint string) *Problem {
			return &Problem{Source: position(name, t), What: what, Hint: hint}
		}
		if t.Position.Line != line {
			line, dashes = t.Position.Line, 0
		}
		switch t.Type {
		case token.AnchorType, token.AliasType, token.MergeKeyType:
			return refuse("anchors, aliases and merge keys are not allowed", "write the value out, and put text that begins with & or * in quotes")
		case token.TagType:
			return refuse("tags are not allowed", "write the value without !, or put text that begins with ! in quotes")
		case token.DirectiveType:
			return refuse("directives are not allowed", "take the line with % out")
		case token.MappingKeyType:
			return refuse("keys with ? are not allowed", "write setting: value")
		case token.DocumentHeaderType:
			// One at the beginning is how many files start.
			for _, before := range tokens[:i] {
				if before.Type != token.CommentType {
					return refuse("a second document is not allowed", "keep all settings in one document, without --- between them")
				}
			}
		case token.DocumentEndType:
			for _, after := range tokens[i+1:] {
				if after.Type != token.CommentType {
					return refuse("a second document is not allowed", "keep all settings in one document, without ... between them")
				}
			}
		case token.SequenceStartType, token.MappingStartType:
			depth++
		case token.SequenceEndType, token.MappingEndType:
			depth--
		case token.SequenceEntryType:
			dashes++
		}
		if depth > maxDepth || dashes > maxDepth {
			return refuse("is nested too deep", "no setting needs more than a list of mappings")
		}
	}
	return nil
}

// syntaxProblem takes position and message from the parser's error, but not the lines around it,
// which may hold a secret.
func syntaxProblem(whole Source, err error) *Problem {
	p := &Problem{Source: whole, What: "is not valid YAML", Hint: "check indentation, quotes and brackets here and in the line above"}
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		// Some messages end with what was found, in quotes.
		message, _, _ := strings.Cut(se.Message, `"`)
		p.What += ": " + strings.TrimRight(message, ": ")
		if se.Token != nil {
			p.Source = position(whole.Name, se.Token)
		}
	}
	return p
}

func position(name string, t *token.Token) Source {
	return Source{Layer: File, Name: name, Line: t.Position.Line, Column: t.Position.Column}
}

// convert turns the parser's tree into ours.
func convert(name string, n ast.Node) node {
	out := node{at: position(name, n.GetToken())}
	switch n := n.(type) {
	case *ast.StringNode:
		out.kind, out.text = str, n.Value
	case *ast.IntegerNode:
		// The text as written: 010 and 0x10 are for the setting to judge.
		out.kind, out.text = integer, n.GetToken().Value
	case *ast.NullNode:
		out.kind = null
	case *ast.SequenceNode:
		out.kind = list
		for _, item := range n.Values {
			out.items = append(out.items, convert(name, item))
		}
	case *ast.MappingNode:
		out.kind = mapping
		for _, mv := range n.Values {
			out.pairs = append(out.pairs, convertPair(name, mv))
		}
		if len(out.pairs) > 0 {
			out.at = out.pairs[0].at
		}
	case *ast.MappingValueNode:
		out.kind, out.pairs = mapping, []pair{convertPair(name, n)}
		out.at = out.pairs[0].at
	default:
		out.kind = other
	}
	return out
}

func convertPair(name string, mv *ast.MappingValueNode) pair {
	key := mv.Key.GetToken()
	return pair{key: key.Value, at: position(name, key), value: convert(name, mv.Value)}
}
