package api

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	verrors "github.com/pb33f/libopenapi-validator/errors"
)

// document is openapi.json, as a validator reads it, and as it stands there.
type document struct {
	validator validator.Validator
	Paths     map[string]map[string]operation `json:"paths"`
	raw       struct {
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}

	mu   sync.Mutex
	seen map[string]bool // operations with the statuses that were answered
}

type operation struct {
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	Description string                     `json:"description"`
	RequestBody json.RawMessage            `json:"requestBody"`
	Responses   map[string]json.RawMessage `json:"responses"`
}

func loadDocument(t testing.TB) *document {
	t.Helper()
	d := &document{seen: map[string]bool{}}
	for _, into := range []any{d, &d.raw} {
		if err := json.Unmarshal(Document, into); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := libopenapi.NewDocument(Document)
	if err != nil {
		t.Fatal(err)
	}
	v, errs := validator.NewValidator(parsed)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	d.validator = v
	t.Cleanup(v.Release)
	return d
}

func described(errs []*verrors.ValidationError) string {
	var b strings.Builder
	for _, e := range errs {
		fmt.Fprintf(&b, "\n  %s: %s", e.Message, e.Reason)
		for _, s := range e.SchemaValidationErrors {
			fmt.Fprintf(&b, "\n    %s: %s", s.FieldPath, s.Reason)
		}
	}
	return b.String()
}

// check holds an answer against the document. What is at no path of it has to be a problem all the same.
func (d *document) check(t testing.TB, req *http.Request, answer *http.Response, text string) {
	t.Helper()
	if answer.StatusCode >= 300 {
		var p problemJSON
		if err := json.Unmarshal([]byte(text), &p); err != nil || answer.Header.Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%s %s: no problem: %s", req.Method, req.URL, text)
		}
		if p.Status != answer.StatusCode || p.Type != problemTypes+p.Code || problems[p.Code].status != p.Status || p.Detail == "" || p.Title == "" {
			t.Fatalf("%s %s: %d: %+v", req.Method, req.URL, answer.StatusCode, p)
		}
	}
	r := routeOf(req)
	if r == nil {
		return
	}
	d.mu.Lock()
	d.seen[r.name()+" "+fmt.Sprint(answer.StatusCode)] = true
	d.mu.Unlock()
	asked := req.Clone(t.Context())
	asked.Body = http.NoBody
	answer.Body = io.NopCloser(strings.NewReader(text))
	if ok, errs := d.validator.ValidateHttpResponse(asked, answer); !ok {
		t.Fatalf("%s %s: %d is not as the document says:%s\n%s", req.Method, req.URL, answer.StatusCode, described(errs), text)
	}
}

// routeOf finds the route of a request, as the API does.
func routeOf(req *http.Request) *route {
	c := &call{api: &API{}, r: req, w: discard{}}
	c.api.routes = c.api.table()
	if c.find() != nil {
		return nil
	}
	return c.route
}

type discard struct{ http.ResponseWriter }

func (discard) Header() http.Header { return http.Header{} }

func TestDocumentIsOpenAPI(t *testing.T) {
	d := loadDocument(t)
	if ok, errs := d.validator.ValidateDocument(); !ok {
		t.Fatal(described(errs))
	}
}

// TestDocumentHasTheRoutes compares every route with the document, both ways: its parameters, its body, and the role that it takes.
func TestDocumentHasTheRoutes(t *testing.T) {
	d := loadDocument(t)
	var here, there []string
	for _, r := range (&API{}).table() {
		var params []string
		for segment := range strings.SplitSeq(r.path, "/") {
			if strings.HasPrefix(segment, "{") {
				params = append(params, "path "+strings.Trim(segment, "{}"))
			}
		}
		for _, name := range r.query {
			params = append(params, "query "+name)
		}
		slices.Sort(params)
		role := string(r.role)
		if r.public {
			role = "anybody"
		}
		here = append(here, fmt.Sprintf("%s %s %v body=%t %s", r.method, r.path, params, r.body, role))
	}
	for path, operations := range d.Paths {
		for method, o := range operations {
			var params []string
			for _, p := range o.Parameters {
				params = append(params, p.In+" "+p.Name)
			}
			slices.Sort(params)
			role := "?"
			for sentence, name := range map[string]string{
				"Anybody may see it.": "anybody", "The role viewer, or a higher one.": "viewer", "The role operator, or a higher one.": "operator", "The role admin.": "admin",
			} {
				if strings.HasPrefix(o.Description, sentence) {
					role = name
				}
			}
			there = append(there, fmt.Sprintf("%s %s %v body=%t %s", strings.ToUpper(method), path, params, o.RequestBody != nil, role))
		}
	}
	slices.Sort(here)
	slices.Sort(there)
	if diff := cmp.Diff(there, here); diff != "" {
		t.Errorf("the document and the routes differ (-document +routes):\n%s", diff)
	}
}

// TestDocumentHasTheCodes: every code of a problem is in the document, and has a place in docs/api.md, where its type points.
func TestDocumentHasTheCodes(t *testing.T) {
	var schema struct {
		Properties struct {
			Code struct {
				Enum []string `json:"enum"`
			} `json:"code"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(loadDocument(t).raw.Components.Schemas["Problem"], &schema); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	var here []string
	for code := range problems {
		here = append(here, code)
		if !strings.Contains(string(page), "\n### "+code+"\n") {
			t.Errorf("docs/api.md has no heading %q, where the type of the problem points", code)
		}
	}
	slices.Sort(here)
	slices.Sort(schema.Properties.Code.Enum)
	if diff := cmp.Diff(schema.Properties.Code.Enum, here); diff != "" {
		t.Error(diff)
	}
}
