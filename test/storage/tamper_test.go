//go:build e2e

package storage_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// graves is the metric of entries that a server knows to be no more.
const graves = "bezoar_graves"

// attacker is somebody who can do with the bucket whatever the server can, but has not its keys.
type attacker struct {
	t    *testing.T
	b    bucket.Bucket
	root string
}

// object is what lies in a bucket under a name.
type object struct {
	body []byte
	meta string
}

func (a attacker) name(scope, hash string) string { return a.root + "/default/" + scope + "/" + hash }

func (a attacker) get(name string) object {
	a.t.Helper()
	info, r, err := a.b.Get(a.t.Context(), name, 0, "")
	if err != nil {
		a.t.Fatalf("the attacker reads %s: %v", name, err)
	}
	defer r.Close()
	body, err := io.ReadAll(r)
	if err != nil {
		a.t.Fatal(err)
	}
	return object{body, info.Meta}
}

func (a attacker) put(name string, o object) {
	a.t.Helper()
	content := bucket.Content{Body: bytes.NewReader(o.body), Size: int64(len(o.body)), Meta: o.meta}
	if err := a.b.Put(a.t.Context(), name, content, bucket.Replace); err != nil {
		a.t.Fatalf("the attacker writes %s: %v", name, err)
	}
}

// tampering changes what lies under victim; own is an entry of the attacker's own scope, uploaded honestly, and old an earlier entry of
// victim's key that the server set aside.
var tampering = map[string]func(a attacker, victim, own string, old object){
	"a flipped bit at the beginning": func(a attacker, victim, _ string, _ object) {
		o := a.get(victim)
		o.body[len(o.body)/10] ^= 1
		a.put(victim, o)
	},
	"a flipped bit at the end": func(a attacker, victim, _ string, _ object) {
		o := a.get(victim)
		o.body[len(o.body)-1] ^= 1
		a.put(victim, o)
	},
	"cut": func(a attacker, victim, _ string, _ object) {
		o := a.get(victim)
		o.body = o.body[:len(o.body)*2/3]
		a.put(victim, o)
	},
	"emptied": func(a attacker, victim, _ string, _ object) {
		o := a.get(victim)
		o.body = nil
		a.put(victim, o)
	},
	"an entry of another scope": func(a attacker, victim, own string, _ object) { a.put(victim, a.get(own)) },
	"the body of another scope": func(a attacker, victim, own string, _ object) {
		a.put(victim, object{a.get(own).body, a.get(victim).meta})
	},
	"the record of another scope": func(a attacker, victim, own string, _ object) {
		a.put(victim, object{a.get(victim).body, a.get(own).meta})
	},
	"without a record": func(a attacker, victim, _ string, _ object) { a.put(victim, object{a.get(victim).body, ""}) },
	"an older version": func(a attacker, victim, _ string, old object) { a.put(victim, old) },
	"the body of an older version": func(a attacker, victim, _ string, old object) {
		a.put(victim, object{old.body, a.get(victim).meta})
	},
}

// TestTampering: whatever somebody with the bucket alone does to an entry, it is a miss and an alarm, no byte of it is served, and the key can be
// uploaded anew.
func TestTampering(t *testing.T) {
	each(t, func(t *testing.T, p place) {
		for root, seal := range map[string]string{"entries": "record", "sealed": "aead"} {
			t.Run(seal, func(t *testing.T) {
				data := t.TempDir()
				trusted := p.binary.CreateToken(t, data, "main", "trusted")
				isolated := p.binary.CreateToken(t, data, "attacker", "isolated")
				s := p.binary.Serve(t, data, "--store", p.url, "--seal", seal, "--write-wait", "forever",
					"--seal-key-file", p.key, "--tier-dir", t.TempDir())
				a := attacker{t, p.open(t), root}
				n := 0
				for _, size := range []int{500, 3 << 20} {
					for what, tamper := range tampering {
						n++
						hash := fmt.Sprintf("%s-%d", seal, n)
						t.Run(fmt.Sprintf("%s of %d bytes", what, size), func(t *testing.T) {
							a := a
							a.t = t
							v := victim{t, s, hash, trusted.Secret}
							name := a.name("trusted", hash)
							// An earlier entry of the key, which is no more, and of which the server knows that.
							buried := s.Metric(t, graves)
							v.put(200, artifacttest.Random(size, 1))
							old := a.get(name)
							a.put(name, object{[]byte("x"), old.meta})
							v.wantMiss(true)
							s.AwaitMetric(t, graves, "one more", func(n float64) bool { return n > buried })
							// The attacker's own entry comes first: of what is trusted already he cannot upload any.
							(victim{t, s, hash, isolated.Secret}).put(200, artifacttest.Random(size, 2))
							v.put(200, artifacttest.Random(size, 3))
							own := a.name(layout.FileName("token/"+isolated.ID), hash)
							tamper(a, name, own, old)
							// What was deleted a moment ago may still be on its way out: that is an alarm only minutes later, which a test of
							// seals shows in simulated time.
							v.wantMiss(what != "an older version")
							v.put(200, artifacttest.Random(size, 4))
							if status, got := v.get(); status != 200 || !bytes.Equal(got, artifacttest.Random(size, 4)) {
								t.Errorf("uploaded anew: %d, %d bytes", status, len(got))
							}
							// The one that was tampered with is no more either; what is noted of it late must not be taken for the next case's.
							s.AwaitMetric(t, graves, "two more", func(n float64) bool { return n >= buried+2 })
						})
					}
				}
			})
		}
	})
}

// victim is a trusted build.
type victim struct {
	t     *testing.T
	s     *bezoar.Server
	hash  string
	token string
}

func (v victim) do(method string, body []byte) (int, []byte) {
	v.t.Helper()
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.s.URL+"/v1/cache/"+v.hash, bytes.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+v.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatalf("%s: %v", method, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatalf("%s: %d, then %v", method, resp.StatusCode, err)
	}
	return resp.StatusCode, got
}

func (v victim) put(want int, body []byte) {
	v.t.Helper()
	if status, text := v.do("PUT", body); status != want {
		v.t.Fatalf("PUT: %d %s, want %d", status, text, want)
	}
}

func (v victim) get() (int, []byte) {
	v.t.Helper()
	return v.do("GET", nil)
}

// wantMiss fails unless the entry is a miss, and, for an alarm, an error stands in the log.
func (v victim) wantMiss(alarm bool) {
	v.t.Helper()
	before := strings.Count(v.s.Log(), `"level":"ERROR"`)
	if status, got := v.get(); status != http.StatusNotFound {
		v.t.Fatalf("GET: %d and %d bytes, want a miss", status, len(got))
	}
	if alarm {
		v.s.AwaitLog(v.t, "an alarm", func(log string) bool { return strings.Count(log, `"level":"ERROR"`) > before })
	}
}
