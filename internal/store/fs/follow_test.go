package fs

import (
	"bytes"
	"io"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestFollow reads a draft while it is written, and on after its end.
func TestFollow(t *testing.T) {
	body := storetest.Body(1, 100_000)
	for name, end := range map[string]func(*draft) error{
		"commit": func(d *draft) error { return d.Commit(t.Context(), storetest.Record(body)) },
		"abort":  func(d *draft) error { d.Abort(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, t.TempDir())
			made, err := s.Create(t.Context(), storetest.Key("1"))
			if err != nil {
				t.Fatal(err)
			}
			d := made.(*draft)
			defer d.Abort()
			written, err := d.Follow()
			if err != nil {
				t.Fatal(err)
			}
			defer written.Close()
			want := func(n int) {
				t.Helper()
				got, err := io.ReadAll(io.NewSectionReader(written, 0, int64(n)))
				if err != nil || !bytes.Equal(got, body[:n]) {
					t.Errorf("got %d bytes of %d, %v", len(got), n, err)
				}
			}
			for _, to := range []int{1, 70_000, len(body)} {
				if _, err := d.Write(body[d.size:to]); err != nil {
					t.Fatal(err)
				}
				want(to)
			}
			if err := end(d); err != nil {
				t.Fatal(err)
			}
			want(len(body))
			if again, err := d.Follow(); err == nil {
				again.Close()
				t.Error("a spent draft can be followed")
			}
		})
	}
}
