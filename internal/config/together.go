package config

import (
	"fmt"
	"path/filepath"
	"strings"
)

// needed tells what a setting needs, in words.
func needed(needs string) string {
	switch needs {
	case "bucket":
		return "a bucket as the store"
	case "directory":
		return "a directory as the store"
	case "redirect":
		return "redirect: on"
	case "ledger":
		return "a ledger in PostgreSQL"
	}
	return needs
}

// lacks returns what s means nothing without and c has not, in words, or an empty string.
func (c *Config) lacks(s *setting) string {
	have := true
	switch s.needs {
	case "bucket":
		have = c.Store.IsBucket()
	case "directory":
		have = !c.Store.IsBucket()
	case "tier-dir":
		have = c.TierDir != ""
	case "redirect":
		have = c.Redirect == RedirectOn
	case "ledger":
		have = c.Ledger.IsPostgres()
	}
	if have {
		return ""
	}
	return needed(s.needs)
}

// checkStore finds settings of the store that do not go together. A setting that would do nothing is refused, and not passed over:
// whoever writes it believes that it does something.
func (l *loader) checkStore() {
	if l.bad["store"] {
		return
	}
	c, of := l.config, l.sources.of
	for _, s := range l.all {
		lacks := c.lacks(s)
		if _, given := l.values[s.name]; !given || lacks == "" || l.bad[s.name] || l.bad[s.needs] {
			continue
		}
		hint := "take it out, or add " + lacks
		switch s.needs {
		case "bucket":
			hint = "take it out, or name a bucket with store"
		case "directory":
			hint = "take it out: a bucket is as large as it likes, and max-store-size bounds it"
		case "ledger":
			hint = "take it out, or name a database with ledger"
		}
		l.report(of[s.name], s.name, &flaw{"means something only with " + lacks, hint})
	}
	if !c.Store.IsBucket() {
		l.checkDirectoryStore()
		return
	}
	if c.Redirect == RedirectOn && !l.bad["redirect"] {
		l.checkRedirect()
	}
	if !l.bad["spool-size"] && !l.bad["max-artifact-size"] && c.SpoolSize < c.MaxArtifactSize {
		const hint = "an upload goes through the spool: raise the one or lower the other"
		if of["spool-size"].Layer < of["max-artifact-size"].Layer {
			l.report(of["max-artifact-size"], "max-artifact-size", &flaw{fmt.Sprintf("%v is more than spool-size, %v", c.MaxArtifactSize, c.SpoolSize), hint})
		} else {
			l.report(of["spool-size"], "spool-size", &flaw{fmt.Sprintf("%v is less than max-artifact-size, %v", c.SpoolSize, c.MaxArtifactSize), hint})
		}
	}
	l.checkPlaces()
}

func (l *loader) checkDirectoryStore() {
	const hint = "take it out, or name a bucket with store"
	c, of := l.config, l.sources.of
	if c.Seal == SealAEAD && !l.bad["seal"] {
		l.report(of["seal"], "seal", &flaw{"is aead, which encrypts what lies in a bucket, and the store is a directory", hint})
	}
	if c.Redirect == RedirectOn && !l.bad["redirect"] {
		l.report(of["redirect"], "redirect", &flaw{"is on, and the store is a directory, which nobody can be redirected to", hint})
	}
}

// checkRedirect: whoever is redirected gets what lies in the bucket, as it lies there.
func (l *loader) checkRedirect() {
	c, at := l.config, l.sources.of["redirect"]
	if c.Seal == SealAEAD && !l.bad["seal"] {
		l.report(at, "redirect", &flaw{"is on, and seal is aead: clients would get artifacts that they cannot decrypt", "turn one of the two off"})
	}
	if c.TierDir != "" && !l.bad["tier-dir"] {
		l.report(at, "redirect", &flaw{"is on, and there is a tier-dir: clients would pass it by", "turn redirect off, or take tier-dir out"})
	}
	if c.Store.Options.CustomerKeyFile() != "" {
		l.report(at, "redirect", &flaw{"is on, and objects are encrypted with a key of your own, which clients would have to send", "turn redirect off, or let the cloud keep the key"})
	}
}

// checkPlaces keeps the directories of spool and tier apart, and away from those of the data: a tier deletes what is in it.
func (l *loader) checkPlaces() {
	if l.bad["data"] || l.bad["tier-dir"] || l.bad["spool-dir"] {
		return
	}
	const hint = "give each a directory of its own"
	c, of := l.config, l.sources.of
	data := string(c.Data)
	for _, d := range []struct{ name, dir string }{{"spool-dir", string(c.SpoolDir)}, {"tier-dir", string(c.TierDir)}} {
		switch {
		case d.dir == "" || data == "":
		case within(data, d.dir):
			l.report(of[d.name], d.name, &flaw{quoted(d.dir) + " is the data directory, or holds it", hint + ", for example " + filepath.Join(data, strings.TrimSuffix(d.name, "-dir"))})
		case overlap(d.dir, filepath.Join(data, "store")):
			l.report(of[d.name], d.name, &flaw{quoted(d.dir) + " is where a store without a bucket has its artifacts, inside of it, or around it", hint})
		}
	}
	if tier, spool := string(c.TierDir), string(c.SpoolDir); tier != "" && overlap(tier, spool) {
		l.report(of["tier-dir"], "tier-dir", &flaw{quoted(tier) + " and spool-dir, " + quoted(spool) + ", are the same, or one inside of the other", hint})
	}
}

func overlap(a, b string) bool { return within(a, b) || within(b, a) }

// within says whether path is dir, or inside of it. Both are absolute and clean; links are not looked at.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
