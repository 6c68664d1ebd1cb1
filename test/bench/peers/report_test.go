//go:build bench

package peers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// report is what came out. It is kept as JSON too, with every turn.
type report struct {
	Date    time.Time     `json:"date"`
	Took    time.Duration `json:"took"`
	Machine string        `json:"machine"`
	Rounds  int           `json:"rounds"`
	Each    time.Duration `json:"each"`
	Short   bool          `json:"short"`
	Servers []kind        `json:"-"`
	binary  bezoar.Binary
	Cells   []cellResult `json:"cells"`
	// PeakAfterLoad is the memory of the servers that answered downloads, in 10^6 bytes.
	PeakAfterLoad map[string]float64 `json:"peak_after_load"`
	Memory        []memoryResult     `json:"memory"`
	Start         *startResult       `json:"start,omitempty"`
	Nx            []nxResult         `json:"nx"`
}

type cellResult struct {
	Cell     cell                 `json:"cell"`
	Readings map[string][]reading `json:"readings"`
}

func newReport(t *testing.T) *report {
	t.Helper()
	return &report{
		Date: time.Now().UTC(), Machine: machine(), Rounds: options.rounds, Each: options.each, Short: testing.Short(),
		PeakAfterLoad: map[string]float64{},
	}
}

// numbers are those at the beginning of a kernel's release.
var numbers = regexp.MustCompile(`^[0-9.]*[0-9]`)

// machine tells what the figures are of, in general words.
func machine() string {
	text, _ := os.ReadFile("/proc/cpuinfo")
	model := "unknown CPU"
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			model = strings.TrimSpace(value)
			break
		}
	}
	var memory syscall.Sysinfo_t
	_ = syscall.Sysinfo(&memory)
	release, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	where := "files in memory (tmpfs)"
	if options.dir != "" {
		var fs syscall.Statfs_t
		_ = syscall.Statfs(options.dir, &fs)
		where = "files on " + map[int64]string{0xef53: "ext4", 0x58465342: "XFS", 0x9123683e: "Btrfs", 0x01021994: "tmpfs", 0x794c7630: "overlayfs"}[fs.Type]
	}
	return fmt.Sprintf("%d cores of %s, %d GB of memory, Linux %s, Go %s, %s", runtime.NumCPU(), model,
		(memory.Totalram*uint64(memory.Unit)+5e8)/1e9, numbers.FindString(string(release)), strings.TrimPrefix(runtime.Version(), "go"), where)
}

// spread is the median of values, the least and the most.
type spread struct{ mid, least, most float64 }

func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(values))
	return spread{sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]}
}

func (s spread) String() string {
	return fmt.Sprintf("%s (%s–%s)", short(s.mid), short(s.least), short(s.most))
}

// short has two or three digits that count.
func short(v float64) string {
	switch {
	case v == 0:
		return "–"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	case v >= 0.1:
		return fmt.Sprintf("%.2f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func column(readings []reading, of func(reading) float64) []float64 {
	values := make([]float64, len(readings))
	for i, r := range readings {
		values[i] = of(r)
	}
	return values
}

func perSecond(r reading) float64 { return r.PerSecond }
func cpuOf(r reading) float64     { return r.CPU }

// ratio is what one came to beside another, round by round.
func (c cellResult) ratio(name, other string, of func(reading) float64) spread {
	var ratios []float64
	for i := range min(len(c.Readings[name]), len(c.Readings[other])) {
		if below := of(c.Readings[other][i]); below > 0 {
			ratios = append(ratios, of(c.Readings[name][i])/below)
		}
	}
	return spreadOf(ratios)
}

// names are those that took part, in the order of the page.
func (c cellResult) names() []string {
	order := []string{"bezoar", yardstick, "bazel-remote", "rclone", "turborepo-remote-cache", bareName}
	return slices.DeleteFunc(order, func(name string) bool { return c.Readings[name] == nil })
}

// line is a short form for the terminal.
func (c cellResult) line() string {
	var b strings.Builder
	for _, name := range c.names() {
		fmt.Fprintf(&b, "%s %s/s, %s µs of CPU; ", name, short(spreadOf(column(c.Readings[name], perSecond)).mid), short(1e6*spreadOf(column(c.Readings[name], cpuOf)).mid))
	}
	fmt.Fprintf(&b, "bezoar by nginx: rate %v, CPU %v", c.ratio("bezoar", yardstick, perSecond), c.ratio("bezoar", yardstick, cpuOf))
	return b.String()
}

// write puts the page, its pictures and every figure where -out says.
func (r *report) write(t *testing.T) {
	t.Helper()
	out := options.out
	if out == "" {
		out = filepath.Join("..", "..", "..", "dist")
	}
	pictures := filepath.Join(out, "benchmarks")
	if err := os.MkdirAll(pictures, 0o755); err != nil {
		t.Fatal(err)
	}
	figures, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"benchmarks.md": r.page(), "benchmarks/figures.json": string(figures) + "\n"}
	for name, text := range r.pictures() {
		files["benchmarks/"+name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("written: %s/benchmarks.md", out)
}
