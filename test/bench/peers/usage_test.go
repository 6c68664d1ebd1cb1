//go:build bench

package peers_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// family lists a process and all that it started, and those. Of nginx the workers do the work.
func family(pid int) []int {
	all := []int{pid}
	tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, task := range tasks {
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task.Name()))
		for child := range strings.FieldsSeq(string(children)) {
			if n, err := strconv.Atoi(child); err == nil {
				all = append(all, family(n)...)
			}
		}
	}
	return all
}

// tick is the unit of the processor times in /proc, in seconds: USER_HZ is 100 on every Linux.
const tick = 0.01

// cpu is the processor time that a server has used so far, its own and the kernel's for it, in seconds; see proc(5).
func (s *server) cpu(tb testing.TB) float64 {
	tb.Helper()
	var ticks int
	for _, pid := range family(s.pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			tb.Fatalf("%s: %v", s.name, err)
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		for _, field := range strings.Fields(rest)[11:15] { // utime, stime, and both of children that have ended, behind pid and name
			n, err := strconv.Atoi(field)
			if err != nil {
				tb.Fatal(err)
			}
			ticks += n
		}
	}
	return float64(ticks) * tick
}

// peak is the largest resident set so far, in 10^6 bytes, summed up over the processes of a server; see VmHWM in proc(5).
func (s *server) peak(tb testing.TB) float64 {
	tb.Helper()
	var sum float64
	for _, pid := range family(s.pid) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			tb.Fatalf("%s: %v", s.name, err)
		}
		for line := range strings.Lines(string(status)) {
			if kb, ok := strings.CutPrefix(line, "VmHWM:"); ok {
				n, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")))
				if err != nil {
					tb.Fatal(err)
				}
				sum += float64(n) * 1024 / 1e6
			}
		}
	}
	return sum
}
