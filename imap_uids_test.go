package main

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// TestUIDSet does to a set of UIDs and to a list what sessions do, with gaps of every size.
func TestUIDSet(t *testing.T) {
	for seed := range uint64(200) {
		dice := rand.New(rand.NewPCG(seed, 1))
		var set imapUIDs
		var list []UID
		next := UID(1)
		for range 300 {
			switch dice.IntN(8) {
			case 0, 1, 2, 3:
				next += UID(1 + dice.IntN(1+dice.IntN(300)))
				set.add(next)
				list = append(list, next)
			case 4:
				var some []UID
				for _, u := range list {
					if dice.IntN(3) == 0 {
						some = append(some, u)
					}
				}
				some = append(some, next+5)
				set.remove(some)
				list = slices.DeleteFunc(list, func(u UID) bool { return slices.Contains(some, u) })
			case 5:
				some := []UID{1 + UID(dice.IntN(int(next)+70)), 1 + UID(dice.IntN(int(next)+70))}
				set.insert(some)
				list = slices.Compact(slices.Sorted(slices.Values(append(list, some...))))
				next = max(next, list[len(list)-1])
			}
			uidSetAgrees(t, seed, &set, list, dice)
			if t.Failed() {
				return
			}
		}
	}
}

func uidSetAgrees(t *testing.T, seed uint64, set *imapUIDs, list []UID, dice *rand.Rand) {
	t.Helper()
	if set.len() != len(list) || !slices.Equal(set.all(), list) {
		t.Errorf("seed %d: %v, want %v", seed, set.all(), list)
		return
	}
	last := UID(0)
	if len(list) > 0 {
		last = list[len(list)-1]
		i := dice.IntN(len(list))
		j := i + dice.IntN(len(list)-i+1)
		if got := set.appendTo(nil, i, j); !slices.Equal(got, list[i:j]) || set.at(i) != list[i] {
			t.Errorf("seed %d: from %d to %d: %v, want %v", seed, i, j, got, list[i:j])
		}
	}
	u := UID(dice.IntN(int(last) + 100))
	i, ok := set.find(u)
	if at, there := slices.BinarySearch(list, u); i != at || ok != there || set.last() != last {
		t.Errorf("seed %d: find %d: %d %v, want %d %v", seed, u, i, ok, at, there)
	}
}

// TestUIDSetSize sees that a session's knowledge of 50,000 messages is small, also when every other one is gone.
func TestUIDSetSize(t *testing.T) {
	for _, step := range []UID{1, 2, 5} {
		var set imapUIDs
		for u := UID(1); u <= 50_000*step; u += step {
			set.add(u)
		}
		size := cap(set.blocks) * int(unsafe.Sizeof(imapUIDBlock{}))
		if most := 25_000 * int(step); size > most {
			t.Errorf("with gaps of %d it takes %d octets, %d at most would be right", step, size, most)
		}
		t.Log(fmt.Sprint(step, size))
	}
}
