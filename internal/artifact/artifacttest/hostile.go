package artifacttest

import (
	"bytes"
	"strings"
)

// Case is an archive that must be refused, and what the refusal must say.
type Case struct {
	Name string
	Body []byte
	// WantMember is the member that the refusal names; empty if it is the archive as a whole.
	WantMember string
	// WantReason is a part of the reason.
	WantReason string
}

// Hostile has an archive of every kind that must never be stored: each would break a client, leave its
// cache folder, or be read differently by different readers. All are small. What depends on configured bounds
// is not among them.
func Hostile() []Case {
	var cases []Case
	add := func(name, member, reason string, body []byte) {
		cases = append(cases, Case{name, body, member, reason})
	}
	typical := Typical(1)
	plain := Tar(File("dist/a", "a"), TerminalOutput(""), Code(0))

	// The gzip around it.
	add("empty body", "", "is empty", nil)
	add("no gzip", "", "is no gzip", []byte("<html>502 Bad Gateway</html>"))
	add("tar without gzip", "", "is no gzip", plain)
	add("zip", "", "is no gzip", []byte("PK\x05\x06"+strings.Repeat("\x00", 18)))
	add("gzip magic alone", "", "ends too early", []byte{0x1f, 0x8b})
	add("gzip cut in its data", "", "ends too early", typical[:len(typical)/2])
	add("gzip cut in its trailer", "", "ends too early", typical[:len(typical)-3])
	add("gzip with a wrong checksum", "", "gzip checksum or length", flip(typical, len(typical)-8))
	add("gzip with a wrong length", "", "gzip checksum or length", flip(typical, len(typical)-1))
	add("gzip with reserved flags", "", "reserved flags", edit(typical, 3, 0x80))
	add("gzip of an unknown method", "", "damaged gzip header", edit(typical, 2, 7))
	add("gzip with invalid data", "", "compressed data is invalid", append(bytes.Clone(typical[:10]), bytes.Repeat([]byte{0xff}, 64)...))
	add("a byte after the gzip", "", "after the end of its gzip", append(bytes.Clone(typical), 0))
	add("two gzip members", "", "after the end of its gzip", append(bytes.Clone(typical), typical...))
	add("a tar cut in two gzip members", "", "ends without the end-of-archive", append(Gzip(plain[:1024]), Gzip(plain[1024:])...))

	// The tar as a whole.
	add("an empty tar stream", "", "ends without the end-of-archive", Gzip(nil))
	add("no end of archive", "", "ends without the end-of-archive", Gzip(Records(File("a", "a"), Code(0))))
	add("half an end of archive", "", "ends without the end-of-archive", Gzip(append(Records(Code(0)), make([]byte, BlockSize)...)))
	add("a member after the end of archive", "", "after the end of its tar", Gzip(append(bytes.Clone(plain), Records(File("late", ""))...)))
	add("a member after half an end of archive", "", "after the end of its tar",
		Gzip(append(append(Records(Code(0)), make([]byte, BlockSize)...), Tar(File("late", ""))...)))
	add("a byte after the end of archive", "", "after the end of its tar", Gzip(append(bytes.Clone(plain), 1)))
	add("a tar cut in a header", "", "ends without the end-of-archive", Gzip(plain[:BlockSize*2+100]))
	add("a tar cut in a member", "dist/a", "is cut", Gzip(Records(Member{Name: "dist/a", Body: make([]byte, 4096)})[:2000]))
	add("a tar cut in padding", "dist/a", "is cut", Gzip(plain[:BlockSize+100]))
	add("a size beyond the end", "dist/a", "is cut", Nx(raw(File("dist/a", "a"), 124, "77777777777\x00")))
	add("a size of 63 bits", "dist/a", "is cut", Nx(raw(File("dist/a", "a"), 124, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")))

	// Its headers.
	add("a wrong checksum", "", "checksum", Gzip(flip(bytes.Clone(plain), 0)))
	add("a negative size", "", "valid size", Nx(raw(File("a", ""), 124, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")))
	add("a size of more than 63 bits", "", "valid size", Nx(raw(File("a", ""), 124, "\x80\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00")))
	add("a size with a minus", "", "valid size", Nx(raw(File("a", ""), 124, "-0000000001\x00")))
	add("a size with a plus", "", "valid size", Nx(raw(File("a", ""), 124, "+0000000001\x00")))
	add("a size in decimal", "", "valid size", Nx(raw(File("a", ""), 124, "00000000009\x00")))
	add("a size with a tail", "", "valid size", Nx(raw(File("a", ""), 124, "0000000 001\x00")))
	add("no size", "", "valid size", Nx(raw(File("a", ""), 124, strings.Repeat("\x00", 12))))
	add("a mode in base 256", "", "valid mode", Nx(raw(File("a", ""), 100, "\x80\x00\x00\x00\x00\x00\x01\xed")))
	add("a directory with a body", "a", "with a body", Nx(Member{Name: "a", Type: TypeDir, Body: bytes.Repeat([]byte{'x'}, 512)}))
	add("a symbolic link with a body", "a", "with a body", Nx(Member{Name: "a", Type: TypeSymlink, Target: "b", Body: []byte("x")}))
	add("a file that ends with a slash", "a", "directory by its name", Nx(File("a/", "x")))
	add("a link that ends with a slash", "a", "directory by its name", Nx(Symlink("a/", "b")))
	add("bytes hidden behind a name", "", "NUL within a name", Nx(raw(File("good", ""), 0, "good\x00../../evil")))
	add("bytes hidden behind a target", "", "NUL within a name", Nx(raw(Symlink("a", "b"), 157, "b\x00/etc/passwd")))
	add("an unknown flavour", "", "flavour", Nx(raw(File("a", ""), 257, "ustar\x0012")))
	add("the star flavour", "", "flavour", Nx(raw(raw(File("a", ""), 257, "ustar\x0000"), 508, "tar\x00")))

	add("a prefix that only some readers see", "", "flavour", Nx(raw(File("evil", ""), 345, "../..")))
	add("a prefix in the old flavour", "", "flavour", Archive(raw(Code(0), 345, "../..")))
	add("a sparse map for a file in full", "", "flavour", Nx(raw(File("a", "x"), 386, "00000000000\x0000000000001\x00")))

	// Long names, PAX.
	pax := func(keysAndValues ...string) []byte { return Nx(PAX(keysAndValues...), Ustar(File("a", "x"))) }
	text := func(body string) []byte {
		return Nx(Ustar(Member{Name: "pax", Type: 'x', Body: []byte(body)}), Ustar(File("a", "x")))
	}
	add("PAX with a size", "", `"size"`, pax("size", "512"))
	add("PAX with a sparse file", "", `"GNU.sparse.major"`, pax("GNU.sparse.major", "1"))
	add("PAX with an unknown key", "", `"SCHILY.xattr.user.x"`, pax("SCHILY.xattr.user.x", "1"))
	add("PAX with a path that goes up", "../../evil", `".."`, pax("path", "../../evil"))
	add("PAX with a link that leads out", "l", "absolute", Nx(PAX("linkpath", "/etc"), Ustar(Symlink("l", "a"))))
	add("PAX with two paths", "", "ambiguous PAX", pax("path", "b", "path", "c"))
	add("PAX without a value", "", "ambiguous PAX", pax("path", ""))
	add("PAX with a NUL", "", "ambiguous PAX", pax("path", "b\x00c"))
	add("PAX with a line break", "", "ambiguous PAX", pax("path", "b\n12 path=c"))
	add("PAX with a wrong length", "", "ambiguous PAX", text("11 path=bcd\n"))
	add("PAX with a length in zeros", "", "ambiguous PAX", text("012 path=bcd\n"))
	add("PAX without an end", "", "ambiguous PAX", text("12 path=bcd"))
	add("PAX twice", "", "two long names", Nx(PAX("mtime", "1"), PAX("mtime", "1"), Ustar(File("a", "x"))))
	add("PAX and a long name", "", "flavour of tar", Nx(PAX("path", "b"), Ustar(Long(TypeLongName, "c\x00")), Ustar(File("a", "x"))))
	add("PAX before a long name of GNU", "", "two long names", Nx(PAX("mtime", "1"), Long(TypeLongName, "c\x00"), File("a", "x")))
	add("a long name of GNU before PAX", "", "two long names", Nx(Long(TypeLongName, "c\x00"), PAX("path", "b"), Ustar(File("a", "x"))))
	add("PAX for a member of GNU's flavour", "", "PAX header for a member of a flavour", Nx(PAX("path", "b"), File("a", "x")))
	add("PAX in GNU's flavour", "", "PAX header in a flavour", Nx(Member{Name: "pax", Type: 'x', Body: []byte("10 path=b\n")}, Ustar(File("a", "x"))))
	add("PAX at the end", "", "for no member", Gzip(Tar(TerminalOutput(""), Code(0), PAX("mtime", "1"))))
	add("PAX for a link target of a file", "a", "no link", pax("linkpath", "b"))
	add("PAX that names the code", "code", "has 1 bytes", pax("path", "code"))
	add("PAX for all", "", "PAX", Nx(Member{Name: "pax", Type: 'g', Body: []byte("19 path=../../evil\n")}, File("a", "x")))
	add("two long names", "", "two long names", Nx(Long('L', "good\x00"), Long('L', "evil\x00"), File("a", "")))
	add("two long targets", "", "two long names", Nx(Long('K', "good\x00"), Long('K', "evil\x00"), Symlink("a", "b")))
	add("a long name for nothing", "", "for no member", Archive(Code(0), Long('L', "evil\x00")))
	add("an empty long name", "", "empty or has a NUL", Nx(Long('L', "\x00"), File("a", "")))
	add("a NUL in a long name", "", "empty or has a NUL", Nx(Long('L', "a\x00/../../evil\x00"), File("a", "")))
	add("a long name with two NULs", "", "empty or has a NUL", Nx(Long('L', "a\x00\x00"), File("a", "")))
	add("a long name in the old flavour", "", "flavour of tar that knows none",
		Nx(raw(Long('L', "../evil\x00"), 257, strings.Repeat("\x00", 8)), File("a", "")))
	add("a long name in ustar", "", "flavour of tar that knows none", Nx(raw(Long('L', "../evil\x00"), 257, "ustar\x0000"), File("a", "")))
	add("a long target for a file", "a", "is no link", Nx(Long('K', "../evil\x00"), File("a", "")))
	add("a long name that is absolute", "/etc/"+strings.Repeat("x", 120), "absolute", Nx(File("/etc/"+strings.Repeat("x", 120), "")))
	add("a long name that goes up", "../"+strings.Repeat("x", 120), `".."`, Nx(File("../"+strings.Repeat("x", 120), "")))
	add("a long target that goes out", "a", "out of the archive", Nx(Symlink("a", "../"+strings.Repeat("x", 120))))

	// Names.
	add("no name", "", "without a name", Nx(File("", "x")))
	add("an absolute path", "/etc/cron.d/evil", "absolute", Nx(File("/etc/cron.d/evil", "x")))
	add("a path that goes up", "../evil", `".."`, Nx(File("../evil", "x")))
	add("a path that goes up within", "dist/../../evil", `".."`, Nx(File("dist/../../evil", "x")))
	add("a path that goes up at its end", "dist/..", `".."`, Nx(Dir("dist/..")))
	add("a directory that goes up", "../up", `".."`, Nx(Dir("../up")))
	add("a ustar prefix that goes up", "../../evil", `".."`, Nx(ustar("../..", "evil")))
	add("an absolute ustar prefix", "/etc/evil", "absolute", Nx(ustar("/etc", "evil")))
	add("the root", ".", "root of the archive", Nx(Dir(".")))
	add("the root with a slash", "./", "root of the archive", Nx(Dir("./")))
	add("a directory with a dot at its end", "a/.", `"." at its end`, Nx(Dir("a/.")))
	add("a file with a dot at its end", "a/.", `"." at its end`, Nx(File("a/.", "x")))
	add("a name that no file system holds", "a/"+strings.Repeat("x", 254)+"…", "more than 255 bytes", Nx(File("a/"+strings.Repeat("x", 256), "")))
	add("a path that goes up on Windows", `..\..\evil`, `".."`, Nx(File(`..\..\evil`, "x")))
	add("a path that goes up on Windows within", `a/b\..\..\..\evil`, `".."`, Nx(File(`a/b\..\..\..\evil`, "x")))
	add("an absolute path on Windows", `\\server\share`, "absolute", Nx(File(`\\server\share`, "x")))
	add("a drive on Windows", `C:\evil`, "drive", Nx(File(`C:\evil`, "x")))
	add("a drive on Windows within", `dist/c:evil`, "drive", Nx(File(`dist/c:evil`, "x")))
	add("a file twice", "a", "more than once", Nx(File("a", "x"), File("a", "x")))
	add("a file twice in other words", "a/b", "more than once", Nx(File("a/b", "x"), File("./a//b", "x")))
	add("a file and a directory", "a", "more than once", Nx(File("a", "x"), Dir("a")))
	add("a directory and a link", "a", "more than once", Nx(Dir("a"), Symlink("a", "b")))
	add("a directory twice with two modes", "a", "more than once", Nx(Dir("a"), Member{Name: "a/", Type: TypeDir, Mode: 0o700}))
	add("a file under a file", "a/b", "which is a file", Nx(File("a", "x"), File("a/b", "x")))
	add("a file under a file, in between", "a/b/c", "which is a file", Nx(File("a/b/c", "x"), File("a-b", ""), File("a", "x")))

	// Types.
	add("a hard link", "b", "hard link", Nx(File("a", "x"), HardLink("b", "a")))
	add("a hard link out", "b", "hard link", Nx(HardLink("b", "../../../etc/passwd")))
	add("a character device", "dev", "is neither file", Nx(Member{Name: "dev", Type: '3'}))
	add("a block device", "dev", "is neither file", Nx(Member{Name: "dev", Type: '4'}))
	add("a FIFO", "dev", "is neither file", Nx(Member{Name: "dev", Type: '6'}))
	add("a contiguous file", "dev", "is neither file", Nx(Member{Name: "dev", Type: '7'}))
	add("a volume label", "dev", "is neither file", Nx(Member{Name: "dev", Type: 'V'}))
	add("a multi-volume part", "dev", "is neither file", Nx(Member{Name: "dev", Type: 'M'}))
	add("a GNU directory", "dev", "is neither file", Nx(Member{Name: "dev", Type: 'D'}))
	add("an unknown type", "dev", "is neither file", Nx(Member{Name: "dev", Type: ' '}))

	// Links.
	add("a link to an absolute path", "a", "absolute", Nx(Symlink("a", "/etc/passwd")))
	add("a link out", "a", "out of the archive", Nx(Symlink("a", "..")))
	add("a link out from below", "a/b/c", "out of the archive", Nx(Symlink("a/b/c", "../../../x")))
	add("a link out and back", "a", "out of the archive", Nx(Symlink("a", "../a")))
	add("a link out after a name", "a", "out of the archive", Nx(Dir("x"), Symlink("a", "x/../..")))
	add("a link without a target", "a", "without a target", Nx(Symlink("a", "")))
	add("a link with a backslash", "a", "backslash", Nx(Symlink("a", `x\..\..\..\evil`)))
	add("a link to a drive", "a", "drive", Nx(Symlink("a", "C:evil")))
	add("a write through a link", "a/x", "through the link", Nx(Symlink("a", "b"), File("a/x", "x")))
	add("a write through a link that comes later", "a/x", "through the link", Nx(File("a/x", "x"), Symlink("a", "b")))
	add("a write through a link far above", "a/x/y/z", "through the link", Nx(Dir("a-"), File("a/x/y/z", "x"), Symlink("a", ".")))
	add("a link through a link", "a/l", "through the link", Nx(Dir("d"), Symlink("a", "d"), Symlink("a/l", "../x")))
	add("a directory through a link", "a/d", "through the link", Nx(Symlink("a", "d"), Dir("a/d")))
	add("a link out by way of another", "z", "out of the archive",
		Nx(Dir("a"), Dir("a/b"), Symlink("a/b/up", "../.."), Symlink("z", "a/b/up/../evil")))
	add("a link out by way of another that comes later", "a", "out of the archive",
		Nx(Symlink("a", "b/c/up/../evil"), Dir("b"), Dir("b/c"), Symlink("b/c/up", "../..")))
	add("a link out by way of three", "x", "out of the archive",
		Nx(Dir("d/e"), Symlink("x", "p/../y"), Symlink("p", "q"), Symlink("q", "d/e/r"), Symlink("d/e/r", "../../.")))
	add("a link up from nothing", "a", "no directory of the archive", Nx(Symlink("a", "nothing/../b")))
	add("a link up from a file", "a", "no directory of the archive", Nx(File("f", ""), Symlink("a", "f/../b")))
	add("a link round in circles", "a", "in circles", Nx(Symlink("a", "b/../x"), Symlink("b", "c"), Symlink("c", "b")))
	add("a link to itself", "a", "in circles", Nx(Symlink("a", "a/../x")))
	add("links that double", "llllll", "in circles", Nx(doubling(60)...))
	add("a write through a link on macOS", "a/x", "fold names", Nx(Symlink("A", "b"), File("a/x", "x")))
	add("a write through a link on HFS+", "a/x", "fold names", Nx(Symlink("a\u200c", "b"), File("a/x", "x")))
	add("a write through a link on Windows", `a\x`, "fold names", Nx(Symlink("a", "b"), File(`a\x`, "x")))
	add("a write through a link on Windows with a dot", "a./x", "fold names", Nx(Symlink("a", "b"), File("a./x", "x")))
	add("a link that is a directory on macOS", "d/f", "fold names",
		Nx(Dir("d/f"), Symlink("d/F", ".."), Symlink("x", "d/f/../.")))

	// Sparse files.
	add("sparse segments that overlap", "s", "overlap", Nx(Sparse("s", 1024, make([]byte, 1024), At(0, 512), At(256, 512))))
	add("sparse segments out of order", "s", "out of order", Nx(Sparse("s", 2048, make([]byte, 1024), At(1024, 512), At(0, 512))))
	add("a sparse segment off its block", "s", "begin at a block", Nx(Sparse("s", 2048, make([]byte, 600), At(0, 100), At(1548, 500))))
	add("a sparse file with less data", "s", "do not make up", Nx(Sparse("s", 1024, make([]byte, 512), At(0, 1024))))
	add("a sparse file with more data", "s", "do not make up", Nx(Sparse("s", 512, make([]byte, 1024), At(0, 512))))
	add("a sparse file of another size", "s", "do not make up", Nx(Sparse("s", 4096, make([]byte, 512), At(0, 512))))
	add("a sparse segment after an empty one", "s", "damaged map", Nx(raw(Sparse("s", 512, make([]byte, 512), At(0, 512)), 386+48, "00000000000\x0000000001000\x00")))
	add("a sparse segment of half a description", "s", "damaged map", Nx(raw(Sparse("s", 512, make([]byte, 512), At(0, 512)), 386+24, "00000001000\x00")))
	add("a sparse map with an odd flag", "s", "damaged map", Nx(raw(Sparse("s", 512, make([]byte, 512), At(0, 512)), 482, "\x02")))
	add("a sparse map cut", "", "ends without the end-of-archive", Archive(raw(Sparse("s", 0, nil), 482, "\x01")))
	add("a sparse file of 2^63 bytes", "s", "overlap", Nx(raw(Sparse("s", 0, nil), 386,
		"\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"+"\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")))
	add("a sparse file in the old flavour", "", "flavour", Nx(raw(Sparse("s", 512, make([]byte, 512), At(0, 512)), 257, strings.Repeat("\x00", 8))))
	add("an empty sparse file in the old flavour", "s", "knows none", Nx(raw(Member{Name: "s", Type: TypeSparse}, 257, strings.Repeat("\x00", 8))))
	add("a sparse file in ustar", "", "NUL within a name", Nx(raw(Sparse("s", 512, make([]byte, 512), At(0, 512)), 257, "ustar\x0000")))
	add("a hole bomb", "", "unpacks to more", Nx(raw(raw(Sparse("s", 0, nil), 386,
		"\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff"+"00000000000\x00"), 483, "\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")))

	// What Nx adds.
	add("no code", "", `no member "code"`, Archive(File("a", "x"), TerminalOutput("")))
	add("an empty archive", "", `no member "code"`, Archive())
	add("two codes", "code", "more than once", Archive(Code(0), TerminalOutput(""), Code(1)))
	add("a short code", "code", "has 3 bytes", Archive(File("code", "abc")))
	add("a long code", "code", "has 5 bytes", Archive(File("code", "abcde")))
	add("an empty code", "code", "has 0 bytes", Archive(File("code", "")))
	add("a code in other words", "code", "just that name", Archive(File("./code", "abcd")))
	add("a code that is a directory", "code", "just that name", Nx(Dir("code")))
	add("a code that is a directory with a slash", "code", "just that name", Nx(Dir("code/")))
	add("a code that is a link", "code", "just that name", Archive(Symlink("code", "a"), File("a", "abcd")))
	add("a code that is sparse", "code", "just that name", Archive(Sparse("code", 4, nil, At(4, 0))))
	add("a file under the code", "code/a", "which is a file", Nx(File("code/a", "x")))
	add("two terminal outputs", "terminalOutput", "more than once", Archive(TerminalOutput("a"), TerminalOutput("a"), Code(0)))
	add("a terminal output that is a directory", "terminalOutput", "just that name", Nx(Dir("terminalOutput")))
	add("a terminal output that is no UTF-8", "terminalOutput", "UTF-8", Archive(TerminalOutput("ok \xff\xfe"), Code(0)))
	add("a terminal output cut in a character", "terminalOutput", "UTF-8", Archive(TerminalOutput("caf\xc3"), Code(0)))
	add("a terminal output with a surrogate", "terminalOutput", "UTF-8", Archive(TerminalOutput("\xed\xa0\x80"), Code(0)))
	return cases
}

// raw overwrites a part of the member's header.
func raw(m Member, at int, with string) Member {
	before := m.Edit
	m.Edit = func(header []byte) {
		if before != nil {
			before(header)
		}
		copy(header[at:], with)
	}
	return m
}

// ustar is an empty file whose path is split as the ustar flavour does.
func ustar(prefix, name string) Member {
	return raw(raw(File(name, ""), 257, "ustar\x0000"), 345, prefix)
}

// doubling is links each of which goes twice through the one before.
func doubling(n int) []Member {
	name := func(i int) string { return "l" + strings.Repeat("l", i) }
	members := []Member{Dir("d/d"), Symlink(name(0), "d")}
	for i := 1; i < n; i++ {
		members = append(members, Symlink(name(i), name(i-1)+"/../"+name(i-1)))
	}
	return append(members, Symlink("z", name(n-1)+"/../d"))
}

// flip inverts the bits of one byte of a copy of body.
func flip(body []byte, at int) []byte { return edit(body, at, ^body[at]) }

// edit changes one byte of a copy of body.
func edit(body []byte, at int, to byte) []byte {
	body = bytes.Clone(body)
	body[at] = to
	return body
}
