// Compiled scripts, kept while they are in use.
package main

import "sync"

// sieveCacheMax is how many octets of scripts are kept compiled, counted by their sources: a script takes some ten times that.
const sieveCacheMax = 512 << 10

// sieveCache keeps compiled scripts by their IDs, which are others with each change. The zero value is ready.
type sieveCache struct {
	mu   sync.Mutex
	kept map[int64]*sieveScript
	size int
}

// get is a script, compiled once. Its error is the first fault of one that makes no sense.
func (c *sieveCache) get(id int64, source string) (*sieveScript, error) {
	c.mu.Lock()
	script := c.kept[id]
	c.mu.Unlock()
	if script != nil {
		return script, nil
	}
	script, faults := sieveCompile(source)
	if len(faults) > 0 {
		return nil, faults[0]
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil || c.size+len(source) > sieveCacheMax {
		c.kept, c.size = map[int64]*sieveScript{}, 0
	}
	c.kept[id] = script
	c.size += len(source)
	return script, nil
}
