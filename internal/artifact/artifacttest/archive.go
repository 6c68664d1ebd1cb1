// Package artifacttest builds archives for tests: such as Nx uploads, and such as an attacker would.
//
// It writes tar headers by hand, the way the tar crate of the real client does (GNU headers, long names in
// records of their own, old headers for the two members that Nx adds), so that a test can get every
// byte wrong that a library would insist on getting right.
package artifacttest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// The types of members as tar writes them.
const (
	TypeFile     = '0'
	TypeHardLink = '1'
	TypeSymlink  = '2'
	TypeDir      = '5'
	TypeSparse   = 'S'
	TypeLongName = 'L'
	TypeLongLink = 'K'
)

// BlockSize is the size of a tar header in bytes, and what the body of a member is padded to.
const BlockSize = 512

// Member is one member of an archive. Its zero value, with a name, is an empty file.
type Member struct {
	Name string
	// Type is the type flag; 0 is [TypeFile].
	Type byte
	// Mode is the permission mode; 0 is 0644, 0755 for directories.
	Mode int64
	// Target is the target of a link.
	Target string
	Body   []byte
	// ModTime is in seconds since 1970.
	ModTime int64
	// UID is the numeric owner, and group.
	UID int64
	// Old writes the header without a magic and with nothing but name, size and checksum, as Nx does for
	// "code" and "terminalOutput".
	Old bool
	// Edit changes the finished header before its checksum is taken.
	Edit func(header []byte)
}

// File is a regular file.
func File(name, body string) Member { return Member{Name: name, Body: []byte(body)} }

// Dir is a directory.
func Dir(name string) Member { return Member{Name: name, Type: TypeDir} }

// Symlink is a symbolic link.
func Symlink(name, target string) Member {
	return Member{Name: name, Type: TypeSymlink, Target: target}
}

// HardLink is a hard link.
func HardLink(name, target string) Member {
	return Member{Name: name, Type: TypeHardLink, Target: target}
}

// Code is the member that tells the exit status of the task.
func Code(status uint32) Member {
	return Member{
		Name: "code", Old: true,
		Body: []byte{byte(status >> 24), byte(status >> 16), byte(status >> 8), byte(status)},
	}
}

// TerminalOutput is the member that tells what the task printed.
func TerminalOutput(text string) Member {
	return Member{Name: "terminalOutput", Old: true, Body: []byte(text)}
}

// Nx is what Nx uploads for a task that succeeded with these outputs.
func Nx(outputs ...Member) []byte {
	members := append([]Member(nil), outputs...)
	return Archive(append(members, TerminalOutput("built in 42 ms\n"), Code(0))...)
}

// Typical is a small artifact of the usual kind; different seeds give different contents.
func Typical(seed uint64) []byte {
	return Nx(
		Dir("dist"),
		Dir("dist/app"),
		File("dist/app/main.js", fmt.Sprintf("console.log(%d);\n", seed)),
		Member{Name: "dist/app/run.sh", Mode: 0o755, Body: []byte("#!/bin/sh\nexec node main.js\n")},
		Symlink("dist/latest", "app"),
		Dir("dist/empty"),
		File("dist/app/"+strings.Repeat("long-", 30)+"name.js", "export {};\n"),
	)
}

// Random is an artifact of about n bytes that do not compress.
func Random(n int, seed uint64) []byte {
	body := make([]byte, n)
	source := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	_, _ = source.Read(body) // never fails
	return Nx(Dir("dist"), Member{Name: "dist/random.bin", Body: body})
}

// Text is an artifact of n bytes of outputs, before compression, that compress about as code does.
func Text(n int, seed uint64) []byte {
	random := rand.New(rand.NewPCG(seed, 1))
	words := strings.Fields("const let function return export import default async await this new class extends " +
		"module require undefined null true false props state render value index length item result error")
	var body bytes.Buffer
	body.Grow(n + 64)
	for body.Len() < n {
		fmt.Fprintf(&body, "%s %s%d(%s) { ", words[random.IntN(len(words))], words[random.IntN(len(words))],
			random.IntN(100_000), words[random.IntN(len(words))])
	}
	return Nx(Dir("dist"), Member{Name: "dist/bundle.js", Body: body.Bytes()[:n]})
}

// Archive is a gzip'd tar of the members, complete but with nothing added.
func Archive(members ...Member) []byte { return Gzip(Tar(members...)) }

// Gzip compresses body as one gzip member.
func Gzip(body []byte) []byte { return GzipLevel(body, gzip.BestSpeed) }

// GzipLevel is [Gzip] with a level of compress/gzip.
func GzipLevel(body []byte, level int) []byte {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, level)
	if err != nil {
		panic(err) // a level that no test should ask for
	}
	_, _ = w.Write(body) // a bytes.Buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// Tar is a tar of the members with its end-of-archive marker.
func Tar(members ...Member) []byte { return append(Records(members...), make([]byte, 2*BlockSize)...) }

// Records is a tar without its end-of-archive marker.
func Records(members ...Member) []byte {
	var out []byte
	for _, m := range members {
		out = m.append(out)
	}
	return out
}

func (m Member) append(out []byte) []byte {
	if m.Type == 0 {
		m.Type = TypeFile
	}
	if !m.Old && len(m.Name) > 100 {
		out = Long(TypeLongName, m.Name+"\x00").append(out)
	}
	if !m.Old && len(m.Target) > 100 {
		out = Long(TypeLongLink, m.Target+"\x00").append(out)
	}
	header := make([]byte, BlockSize)
	copy(header[:100], m.Name)
	octal(header[124:136], int64(len(m.Body)))
	if !m.Old {
		mode := m.Mode
		switch {
		case mode != 0:
		case m.Type == TypeDir:
			mode = 0o755
		default:
			mode = 0o644
		}
		octal(header[100:108], mode)
		octal(header[108:116], m.UID)
		octal(header[116:124], m.UID)
		octal(header[136:148], m.ModTime)
		header[156] = m.Type
		copy(header[157:257], m.Target)
		copy(header[257:265], "ustar  \x00")
	}
	if m.Edit != nil {
		m.Edit(header)
	}
	Checksum(header)
	out = append(append(out, header...), m.Body...)
	if rest := len(m.Body) % BlockSize; rest != 0 {
		out = append(out, make([]byte, BlockSize-rest)...)
	}
	return out
}

// Long is a record that holds the name (type 'L') or link target (type 'K') of the member after it.
func Long(kind byte, data string) Member {
	return Member{Name: "././@LongLink", Type: kind, Body: []byte(data)}
}

// Ustar gives a member the plain POSIX flavour, which is what PAX headers are for.
func Ustar(m Member) Member {
	m.Edit = func(header []byte) { copy(header[257:265], "ustar\x0000") }
	return m
}

// PAX is a PAX header for the member after it, with records of these keys and values.
func PAX(keysAndValues ...string) Member {
	var body []byte
	for i := 0; i < len(keysAndValues); i += 2 {
		record := " " + keysAndValues[i] + "=" + keysAndValues[i+1] + "\n"
		length := len(record)
		for length != len(record)+len(strconv.Itoa(length)) {
			length = len(record) + len(strconv.Itoa(length))
		}
		body = append(append(body, strconv.Itoa(length)...), record...)
	}
	return Ustar(Member{Name: "PaxHeaders/x", Type: 'x', Body: body})
}

// Segment is a part of a sparse file that holds data: Length bytes at Offset.
type Segment struct{ Offset, Length int64 }

// At is the segment of length bytes at offset.
func At(offset, length int64) Segment { return Segment{offset, length} }

// Sparse is a sparse file in the old GNU format: size bytes of which only segments are in data.
func Sparse(name string, size int64, data []byte, segments ...Segment) Member {
	var extension []byte
	first := segments
	if len(first) > 4 {
		first = segments[:4]
		for rest := segments[4:]; len(rest) > 0; {
			block := make([]byte, BlockSize)
			n := min(len(rest), 21)
			putSegments(block, rest[:n])
			if rest = rest[n:]; len(rest) > 0 {
				block[504] = 1
			}
			extension = append(extension, block...)
		}
	}
	return Member{
		Name: name, Type: TypeSparse, Body: append(extension, data...),
		Edit: func(header []byte) {
			octal(header[124:136], int64(len(data)))
			putSegments(header[386:482], first)
			if len(extension) > 0 {
				header[482] = 1
			}
			octal(header[483:495], size)
		},
	}
}

func putSegments(dst []byte, segments []Segment) {
	for i, s := range segments {
		octal(dst[24*i:24*i+12], s.Offset)
		octal(dst[24*i+12:24*i+24], s.Length)
	}
}

// Checksum writes the checksum of a header into it.
func Checksum(header []byte) {
	copy(header[148:156], "        ")
	sum := int64(0)
	for _, b := range header {
		sum += int64(b)
	}
	octal(header[148:156], sum)
}

// octal fills a numeric field as the tar crate does: zeros in front, one NUL behind.
func octal(field []byte, n int64) {
	copy(field, fmt.Sprintf("%0*o\x00", len(field)-1, n))
}
