// Conditions fails unless the tests of packages find each condition of them both true and false: what decides an if, a for or a case without a value, and each
// side of && and ||. That a statement is run, as go test -cover has it, says less.
//
//	go run .ci/conditions.go internal/trust/policy
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	failed := false
	for _, dir := range os.Args[1:] {
		missing, of, err := look(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("%s: its tests find %d of its %d conditions both true and false\n", dir, of-len(missing), of)
		for _, m := range missing {
			fmt.Fprintln(os.Stderr, "  "+m)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

// look runs the tests of a package and returns which of its conditions were found one way alone.
func look(dir string) (missing []string, of int, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, 0, err
	}
	out, err := os.MkdirTemp("", "conditions")
	if err != nil {
		return nil, 0, err
	}
	defer os.RemoveAll(out)
	notes := filepath.Join(out, "notes")
	conditions, err := instrument(dir, out, notes)
	if err != nil {
		return nil, 0, err
	}
	test := exec.Command(cmp.Or(os.Getenv("GO"), "go"), "test", "-vet=off", "-count=1", "-overlay="+filepath.Join(out, "overlay.json"), ".")
	test.Dir = dir
	if text, err := test.CombinedOutput(); err != nil {
		return nil, 0, fmt.Errorf("%s: %w\n%s", dir, err, text)
	}
	data, err := os.ReadFile(notes)
	if err != nil {
		return nil, 0, err
	}
	found := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		found[lines.Text()] = true
	}
	for i, c := range conditions {
		for _, value := range []bool{true, false} {
			if !found[fmt.Sprint(i, " ", value)] {
				missing = append(missing, fmt.Sprintf("%s: never %v", c, value))
			}
		}
	}
	return missing, len(conditions), nil
}

// noter is put beside the package. It writes down each condition's value when it is first found.
const noter = `package %s

import (
	"fmt"
	"os"
	"sync"
)

var conditionNotes sync.Map

func noteCondition(i int, value bool) bool {
	note := fmt.Sprintln(i, value)
	if _, known := conditionNotes.LoadOrStore(note, true); !known {
		f, err := os.OpenFile(%q, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			panic(err)
		}
		defer f.Close()
		f.WriteString(note)
	}
	return value
}
`

// instrument writes the package's files anew, with each condition noted, and an overlay that has the go command take them. It returns what the conditions are.
func instrument(dir, out, notes string) (conditions []string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	replace := map[string]string{}
	name := ""
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := newFile(path, &conditions)
		if err != nil {
			return nil, err
		}
		name = f.syntax.Name.Name
		replace[path] = filepath.Join(out, filepath.Base(path))
		if err := f.write(replace[path]); err != nil {
			return nil, err
		}
	}
	beside := filepath.Join(dir, "note_condition.go")
	replace[beside] = filepath.Join(out, filepath.Base(beside))
	if err := os.WriteFile(replace[beside], fmt.Appendf(nil, noter, name, notes), 0o600); err != nil {
		return nil, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	return conditions, os.WriteFile(filepath.Join(out, "overlay.json"), overlay, 0o600)
}

// file is a source file whose conditions are noted.
type file struct {
	source     []byte
	set        *token.FileSet
	syntax     *ast.File
	conditions *[]string
	noted      map[ast.Node]bool // what is part of a condition that was looked at
}

func newFile(path string, conditions *[]string) (*file, error) {
	f := &file{set: token.NewFileSet(), conditions: conditions, noted: map[ast.Node]bool{}}
	var err error
	if f.source, err = os.ReadFile(path); err != nil {
		return nil, err
	}
	if f.syntax, err = parser.ParseFile(f.set, path, f.source, parser.ParseComments); err != nil {
		return nil, err
	}
	ast.Inspect(f.syntax, f.visit)
	return f, nil
}

func (f *file) write(to string) error {
	var b bytes.Buffer
	if err := printer.Fprint(&b, f.set, f.syntax); err != nil {
		return err
	}
	return os.WriteFile(to, b.Bytes(), 0o600)
}

func (f *file) visit(node ast.Node) bool {
	switch n := node.(type) {
	case *ast.IfStmt:
		f.whole(&n.Cond)
	case *ast.ForStmt:
		if n.Cond != nil {
			f.whole(&n.Cond)
		}
	case *ast.SwitchStmt:
		if n.Tag != nil {
			break
		}
		for _, clause := range n.Body.List {
			list := clause.(*ast.CaseClause).List
			for i := range list {
				f.whole(&list[i])
			}
		}
	case *ast.BinaryExpr:
		if (n.Op == token.LAND || n.Op == token.LOR) && !f.noted[n] {
			var e ast.Expr = n
			f.whole(&e)
		}
	}
	return true
}

// whole notes what an expression is decided by.
func (f *file) whole(e *ast.Expr) {
	ast.Inspect(*e, func(n ast.Node) bool {
		f.noted[n] = true
		return true
	})
	*e = f.parts(*e)
}

func (f *file) parts(e ast.Expr) ast.Expr {
	switch n := e.(type) {
	case *ast.ParenExpr:
		n.X = f.parts(n.X)
		return n
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			n.X = f.parts(n.X)
			return n
		}
	case *ast.BinaryExpr:
		if n.Op == token.LAND || n.Op == token.LOR {
			n.X, n.Y = f.parts(n.X), f.parts(n.Y)
			return n
		}
	}
	begin, end := f.set.Position(e.Pos()), f.set.Position(e.End())
	text := strings.Join(strings.Fields(string(f.source[begin.Offset:end.Offset])), " ")
	*f.conditions = append(*f.conditions, fmt.Sprintf("%s:%d:%d: %s", filepath.Base(begin.Filename), begin.Line, begin.Column, text))
	number := &ast.BasicLit{Kind: token.INT, Value: strconv.Itoa(len(*f.conditions) - 1)}
	value := &ast.CallExpr{Fun: ast.NewIdent("bool"), Args: []ast.Expr{e}} // it may be of a type of its own
	return &ast.CallExpr{Fun: ast.NewIdent("noteCondition"), Args: []ast.Expr{number, value}}
}
