// Memory: how much the appliance may take on this machine.
package main

import (
	"bufio"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
)

const (
	memoryMost  = 96 << 20 // of Go's heap, however much there is; page caches come on top
	memoryLeast = 24 << 20
	memoryShare = 16 // sixteenths of the memory that there is, for the heap
	memoryHeap  = 9
	comingHeap  = 8 // the part of the heap that mail which is still coming may take
	gcPercent   = 50
)

// setMemory limits Go's heap to what fits the machine or the control group, unless GOMEMLIMIT says otherwise, and returns how much
// that is.
func setMemory() int64 {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryFor(memoryRoom("/")))
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	return min(debug.SetMemoryLimit(-1), memoryMost)
}

// memoryFor is the heap for so much memory; 0 is not known.
func memoryFor(room int64) int64 {
	if room <= 0 {
		return memoryMost
	}
	return min(max(room/memoryShare*memoryHeap, memoryLeast), memoryMost)
}

// memoryRoom returns the memory of the machine, or of the control group (version 1 or 2, and those above it) if that is less; 0
// where nobody says. root is "/", or a test's.
func memoryRoom(root string) int64 {
	least := int64(0)
	take := func(n int64) {
		if n > 0 && (least == 0 || n < least) {
			least = n
		}
	}
	if f, err := os.Open(filepath.Join(root, "proc/meminfo")); err == nil {
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if f := strings.Fields(lines.Text()); len(f) > 1 && f[0] == "MemTotal:" {
				n, _ := strconv.ParseInt(f[1], 10, 64)
				take(n << 10)
			}
		}
	}
	groups, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	for _, line := range strings.Split(string(groups), "\n") {
		f := strings.SplitN(line, ":", 3)
		if len(f) < 3 {
			continue
		}
		base, file := "sys/fs/cgroup", "memory.max"
		if f[1] != "" {
			base, file = "sys/fs/cgroup/memory", "memory.limit_in_bytes"
		}
		if f[1] != "" && !strings.Contains(","+f[1]+",", ",memory,") {
			continue
		}
		for dir := f[2]; ; dir = filepath.Dir(dir) {
			text, _ := os.ReadFile(filepath.Join(root, base, dir, file))
			n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64) // "max" is no number and no limit
			take(n)
			if dir == "/" || dir == "." {
				break
			}
		}
	}
	return least
}
