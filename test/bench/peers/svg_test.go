//go:build bench

package peers_test

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// pictureOf names the pictures of tables that have one.
var pictureOf = map[string]string{tableHits: "downloads", tableUploads: "uploads"}

// bar is one of a picture: a value with its spread.
type bar struct {
	name  string
	value spread
}

// group are bars under one label.
type group struct {
	label string
	bars  []bar
}

var colours = map[string]string{
	"bezoar": "#1f6f8b", yardstick: "#9aa5b1", "bazel-remote": "#5b8c5a", "rclone": "#c98b2b", "turborepo-remote-cache": "#a14a76", bareName: "#444444", "local": "#444444",
}

// pictures are the SVG files by name.
func (r *report) pictures() map[string]string {
	files := map[string]string{}
	for table, name := range pictureOf {
		var rate, cost []group
		for _, c := range r.Cells {
			if c.Cell.Table != table {
				continue
			}
			rates, costs := group{label: c.Cell.label(table)}, group{label: c.Cell.label(table)}
			for _, server := range c.names() {
				rates.bars = append(rates.bars, bar{server, c.ratio(server, yardstick, perSecond)})
				costs.bars = append(costs.bars, bar{server, c.ratio(server, yardstick, cpuOf)})
			}
			rate, cost = append(rate, rates), append(cost, costs)
		}
		if len(rate) > 0 {
			files[name+"-rate.svg"] = chart(table+": requests per second, of nginx's (more is better)", rate)
			files[name+"-cpu.svg"] = chart(table+": CPU time for each, of nginx's (less is better)", cost)
		}
	}
	if len(r.Nx) > 0 {
		var groups []group
		for _, n := range r.Nx {
			if label := n.Way.String(); len(groups) == 0 || groups[len(groups)-1].label != label {
				groups = append(groups, group{label: label})
			}
			last := &groups[len(groups)-1]
			last.bars = append(last.bars, bar{n.Cache, spreadOf(n.Seconds)})
		}
		files["nx.svg"] = chart(fmt.Sprintf("%d cached tasks of Nx: seconds (less is better)", r.Nx[0].Tasks), groups)
	}
	return files
}

// chart draws groups of bars. What is longer than the picture is cut, with its figure beside it.
func chart(title string, groups []group) string {
	const left, right, width, thick, gap = 130, 110, 760, 13, 12
	longest := 0.0
	for _, g := range groups {
		for _, b := range g.bars {
			longest = max(longest, b.value.mid)
		}
	}
	scale := float64(width-left-right) / nice(min(longest, 6*medianOf(groups)))
	var body strings.Builder
	y := 40
	for _, g := range groups {
		fmt.Fprintf(&body, `<text x="8" y="%d" font-weight="bold">%s</text>`+"\n", y+thick-2, html.EscapeString(g.label))
		for _, b := range g.bars {
			long, cut := b.value.mid*scale, ""
			if most := float64(width - left - right); long > most {
				long, cut = most, " »"
			}
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"><title>%s %v</title></rect>`+"\n", left, y, max(long, 1), thick-2, colours[b.name], html.EscapeString(b.name), b.value)
			end := min(b.value.most*scale, float64(width-left-right))
			fmt.Fprintf(&body, `<path d="M%.1f %d H%.1f" stroke="#000" stroke-opacity=".55"/>`+"\n", left+min(b.value.least*scale, end), y+thick/2-1, left+end)
			fmt.Fprintf(&body, `<text x="%.1f" y="%d" fill="#333">%s%s %s</text>`+"\n", left+max(long, end)+5, y+thick-3, short(b.value.mid), cut, html.EscapeString(b.name))
			y += thick
		}
		y += gap
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">
<rect width="100%%" height="100%%" fill="#fff"/>
<text x="8" y="20" font-size="14">%s</text>
%s</svg>
`, width, y+4, html.EscapeString(title), body.String())
}

// nice is the next of 1, 2, 5, 10, … .
func nice(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, step := range []float64{1, 1.5, 2, 3, 5, 7, 10} {
		if step*power >= v {
			return step * power
		}
	}
	return 10 * power
}

func medianOf(groups []group) float64 {
	var all []float64
	for _, g := range groups {
		for _, b := range g.bars {
			all = append(all, b.value.mid)
		}
	}
	return spreadOf(all).mid
}
