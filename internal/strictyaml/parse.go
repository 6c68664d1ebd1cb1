package strictyaml

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

// Bounds of a file.
const (
	// MaxSize bounds the file, in bytes.
	MaxSize   = 1 << 20
	maxTokens = 30_000
	maxLine   = 8192 // bytes
	maxDepth  = 8    // of brackets, and of dashes in one line
)

// Words are what messages call a file and its parts.
type Words struct {
	// File is what the file is: "a configuration".
	File string
	// Entry is what it is made of, Entries more than one of them: "setting", "settings".
	Entry, Entries string
	// Deepest says what is the deepest nesting that is needed: "no setting needs more than a list of mappings".
	Deepest string
}

// Problem is why a file is not read. What never shows a value, which may be a secret.
type Problem struct {
	At         Position
	What, Hint string
}

// Error returns the problem without its place.
func (p *Problem) Error() string { return p.What + "; " + p.Hint }

// Parse reads a file whose top level is a mapping. An empty file is an empty mapping. Keys that are unknown or there twice are for the caller to refuse.
func Parse(data []byte, words Words) (Node, *Problem) {
	if len(data) > MaxSize {
		return Node{}, &Problem{What: "is larger than 1 MiB", Hint: words.File + " is much smaller: is this the right file?"}
	}
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return Node{}, &Problem{What: "is not text in UTF-8", Hint: "save it as UTF-8: is this the right file?"}
	}
	if p := refuseLines(data); p != nil {
		return Node{}, p
	}
	// The lexer forgets a tag at the very end of its input.
	tokens := lexer.Tokenize(string(data) + "\n")
	if p := refuseTokens(tokens, words); p != nil {
		return Node{}, p
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return Node{}, syntaxProblem(err)
	}
	top := Node{Kind: Mapping}
	for _, doc := range file.Docs {
		if doc.Body == nil {
			continue
		}
		body := convert(doc.Body)
		if body.Kind == Null {
			continue
		}
		if body.Kind != Mapping {
			return Node{}, &Problem{At: body.At, What: "the file is " + body.Kind.String() + ", not " + words.Entries, Hint: "write lines of " + words.Entry + ": value"}
		}
		top.Pairs = append(top.Pairs, body.Pairs...)
	}
	return top, nil
}

// blockHeader is a line that may begin a text in block style, with what is before the indicator. It takes more for one than
// is: where the lexer looks for indicators is its own affair.
var blockHeader = regexp.MustCompile(`^(.*?)[|>][-+0-9]*[ \t]*(#.*)?$`)

// comment is the beginning of a comment, if it is not in quotes.
var comment = regexp.MustCompile(`(^|\s)#`)

// refuseLines looks for texts in block style and for long lines before the lexer does: its time can grow with the cube of the
// lines of such a text, and with the square of a line, to minutes for a file within its size. No entry has more than a line.
func refuseLines(data []byte) *Problem {
	number := 0
	for line := range bytes.Lines(bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))) {
		number++
		if len(line) > maxLine {
			return &Problem{At: Position{number, 1}, What: fmt.Sprintf("the line is longer than %d bytes", maxLine), Hint: "write each item of a list in a line of its own"}
		}
		m := blockHeader.FindSubmatchIndex(bytes.TrimSuffix(line, []byte("\n")))
		if m == nil {
			continue
		}
		if before := line[:m[3]]; comment.Match(before) && !bytes.ContainsAny(before, `"'`) {
			continue
		}
		return &Problem{
			At:   Position{number, m[3] + 1},
			What: "texts in block style, with | or >, are not allowed", Hint: "write the value on the line of its key, in quotes if need be",
		}
	}
	return nil
}

// refuseTokens looks for the parts of YAML that are not needed.
func refuseTokens(tokens token.Tokens, words Words) *Problem {
	if len(tokens) > maxTokens {
		return &Problem{What: fmt.Sprintf("has more than %d parts", maxTokens), Hint: words.File + " is much smaller: is this the right file?"}
	}
	depth, dashes, line := 0, 0, 0
	for i, t := range tokens {
		refuse := func(what, hint string) *Problem {
			return &Problem{At: position(t), What: what, Hint: hint}
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
			return refuse("keys with ? are not allowed", "write "+words.Entry+": value")
		case token.DocumentHeaderType:
			// One at the beginning is how many files start.
			for _, before := range tokens[:i] {
				if before.Type != token.CommentType {
					return refuse("a second document is not allowed", "keep all "+words.Entries+" in one document, without --- between them")
				}
			}
		case token.DocumentEndType:
			for _, after := range tokens[i+1:] {
				if after.Type != token.CommentType {
					return refuse("a second document is not allowed", "keep all "+words.Entries+" in one document, without ... between them")
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
			return refuse("is nested too deep", words.Deepest)
		}
	}
	return nil
}

// syntaxProblem takes position and message from the parser's error, but not the lines around it,
// which may hold a secret.
func syntaxProblem(err error) *Problem {
	p := &Problem{What: "is not valid YAML", Hint: "check indentation, quotes and brackets here and in the line above"}
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		// Some messages end with what was found, in quotes.
		message, _, _ := strings.Cut(se.Message, `"`)
		p.What += ": " + strings.TrimRight(message, ": ")
		if se.Token != nil {
			p.At = position(se.Token)
		}
	}
	return p
}

func position(t *token.Token) Position {
	return Position{Line: t.Position.Line, Column: t.Position.Column}
}

// convert turns the parser's tree into ours.
func convert(n ast.Node) Node {
	out := Node{At: position(n.GetToken())}
	switch n := n.(type) {
	case *ast.StringNode:
		out.Kind, out.Text = Text, n.Value
	case *ast.IntegerNode:
		out.Kind, out.Text = Integer, n.GetToken().Value
	case *ast.BoolNode:
		out.Kind, out.Text = Boolean, n.GetToken().Value
	case *ast.NullNode:
		out.Kind = Null
	case *ast.SequenceNode:
		out.Kind = List
		for _, item := range n.Values {
			out.Items = append(out.Items, convert(item))
		}
	case *ast.MappingNode:
		out.Kind = Mapping
		for _, mv := range n.Values {
			out.Pairs = append(out.Pairs, convertPair(mv))
		}
		if len(out.Pairs) > 0 {
			out.At = out.Pairs[0].At
		}
	case *ast.MappingValueNode:
		out.Kind, out.Pairs = Mapping, []Pair{convertPair(n)}
		out.At = out.Pairs[0].At
	default:
		// Floats, infinities, and what is no number.
		out.Kind, out.Text = Float, n.GetToken().Value
	}
	return out
}

func convertPair(mv *ast.MappingValueNode) Pair {
	key := mv.Key.GetToken()
	return Pair{Key: key.Value, At: position(key), Value: convert(mv.Value)}
}
