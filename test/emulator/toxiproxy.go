package emulator

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"sync"
	"testing"
	"time"
)

// proxyTimeout bounds a request to the API of a [TCP]; it answers at once.
const proxyTimeout = 10 * time.Second

// TCP is a proxy of Shopify's toxiproxy in front of some address: it spoils connections and knows nothing of what goes over them.
type TCP struct {
	*Server
	// In is where it listens, such as "127.0.0.1:40002".
	In string

	tb     testing.TB
	mu     sync.Mutex
	toxics []string
}

// Toxic is a way to spoil a connection, as toxiproxy's manual names it.
type Toxic struct {
	// Type is latency, bandwidth, slow_close, timeout, reset_peer, slicer or limit_data.
	Type string
	// Upstream spoils what goes to the server; else it is what comes from it.
	Upstream bool
	// Attributes are those of the type, times in milliseconds.
	Attributes map[string]int
}

// Toxiproxy starts a proxy that leads to an address and does nothing else until it is told to.
func Toxiproxy(tb testing.TB, upstream string) *TCP {
	tb.Helper()
	binary := build(tb, "toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", "github.com/Shopify/toxiproxy/v2")
	home := tb.TempDir()
	s := &Server{
		Dir:  home,
		name: "toxiproxy",
		command: func(host, port string) *exec.Cmd {
			cmd := exec.Command(binary, "-host", host, "-port", port)
			cmd.Dir, cmd.Env = home, environment(home)
			return cmd
		},
		health: func(addr string) string { return "http://" + addr + "/version" },
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
	}
	s.start(tb)
	p := &TCP{Server: s, tb: tb}
	var made struct{ Listen string }
	answer, err := p.ask(http.MethodPost, "/proxies", map[string]any{"name": "it", "listen": "127.0.0.1:0", "upstream": upstream, "enabled": true})
	if err == nil {
		err = json.Unmarshal(answer, &made)
	}
	if err != nil {
		tb.Fatalf("toxiproxy: make a proxy to %s: %v", upstream, err)
	}
	p.In = made.Listen
	return p
}

// Spoil adds a toxic to connections that there are and to those that come.
func (p *TCP) Spoil(toxic Toxic) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	name := fmt.Sprintf("toxic%d", len(p.toxics))
	stream := "downstream"
	if toxic.Upstream {
		stream = "upstream"
	}
	_, err := p.ask(http.MethodPost, "/proxies/it/toxics", map[string]any{
		"name": name, "type": toxic.Type, "stream": stream, "toxicity": 1.0, "attributes": toxic.Attributes,
	})
	if err == nil {
		p.toxics = append(p.toxics, name)
	}
	return err
}

// Refuse cuts the connections that there are and refuses those that come.
func (p *TCP) Refuse() error { return p.enable(false) }

// Mend ends all that [TCP.Spoil] and [TCP.Refuse] did.
func (p *TCP) Mend() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.toxics) > 0 {
		last := p.toxics[len(p.toxics)-1]
		if _, err := p.ask(http.MethodDelete, "/proxies/it/toxics/"+last, nil); err != nil {
			return err
		}
		p.toxics = p.toxics[:len(p.toxics)-1]
	}
	return p.enable(true)
}

// enable names the address as well: the API would take a lack of it for a wish to have another one.
func (p *TCP) enable(on bool) error {
	_, err := p.ask(http.MethodPost, "/proxies/it", map[string]any{"enabled": on, "listen": p.In})
	return err
}

func (p *TCP) ask(method, path string, body any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.tb.Context()), proxyTimeout)
	defer cancel()
	text, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.Addr+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("toxiproxy: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("toxiproxy: %s %s: %s %s", method, path, resp.Status, answer)
	}
	return answer, err
}
