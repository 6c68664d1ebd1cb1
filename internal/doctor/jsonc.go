package doctor

import (
	"bytes"
	"encoding/json"
)

// unmarshalJSONC reads JSON with comments and trailing commas, as Nx does with nx.json (jsonc-parser with
// allowTrailingComma: nrwl/nx, packages/nx/src/utils/json.ts).
func unmarshalJSONC(data []byte, v any) error {
	return json.Unmarshal(stripJSONC(bytes.TrimPrefix(data, []byte("\ufeff"))), v)
}

// stripJSONC blanks comments and trailing commas, so that offsets and line numbers stay as they are.
func stripJSONC(data []byte) []byte {
	out := bytes.Clone(data)
	comma := -1 // a comma after which nothing but blanks has come
	for i := 0; i < len(out); i++ {
		switch c := out[i]; {
		case c == '"':
			comma = -1
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case c == '/' && i+1 < len(out) && out[i+1] == '/':
			for ; i < len(out) && out[i] != '\n'; i++ {
				out[i] = ' '
			}
		case c == '/' && i+1 < len(out) && out[i+1] == '*':
			end := bytes.Index(out[i+2:], []byte("*/"))
			if end < 0 {
				return out
			}
			for j := i; j < i+2+end+2; j++ {
				if out[j] != '\n' {
					out[j] = ' '
				}
			}
			i += 2 + end + 1
		case c == ',':
			comma = i
		case c == '}' || c == ']':
			if comma >= 0 {
				out[comma] = ' '
			}
			comma = -1
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			comma = -1
		}
	}
	return out
}
