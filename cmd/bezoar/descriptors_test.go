package main

import "testing"

func TestConnectionsFitTheDescriptors(t *testing.T) {
	for _, c := range []struct{ descriptors, kept, transfers, wanted, want int }{
		{1 << 20, 0, 640, 4096, 4096},
		{6000, 0, 640, 4096, 4096},
		{4096, 0, 640, 4096, 2732},
		{1024, 0, 640, 4096, 437},
		{64, 0, 640, 4096, 10},
		{20, 0, 640, 4096, minConnections},
		{1024, 0, 640, 100, 100},
		{4096, 256, 640, 4096, 2528},
		{1024, 64, 640, 4096, 408},
	} {
		got := connectionsFor(c.descriptors, c.kept, c.transfers, c.wanted)
		if got != c.want {
			t.Errorf("%d descriptors, %d transfers: %d connections of %d, want %d", c.descriptors, c.transfers, got, c.wanted, c.want)
		}
		if needs := got + max(4, got/4) + min(got, c.transfers) + c.kept + ownDescriptors; got > minConnections && needs > c.descriptors+4 {
			t.Errorf("%d connections may need %d descriptors of %d", got, needs, c.descriptors)
		}
	}
}
