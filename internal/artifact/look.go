package artifact

import (
	"encoding/binary"
	"io"
)

// Inside is what a look into an archive shows. All of it comes from whoever made the archive: paths, targets and the
// terminal's output may hold anything but a NUL.
type Inside struct {
	Summary
	// First has the first members of the archive, in its order.
	First []Member
	// Code is the exit status of the task; HasCode says whether it was seen.
	Code    uint32
	HasCode bool
	// Output is the beginning of what the task wrote to its terminal, in UTF-8, maybe cut within a rune; OutputSize is how many
	// bytes there are in all.
	Output     []byte
	OutputSize int64
}

// Look is [Check] for people who want to see what is inside: the first members, and the first bytes of the terminal's output. If an error
// comes with it, it shows what there was before the fault, and the Summary is empty.
func Look(r io.Reader, lim Limits, members, output int) (Inside, error) {
	var in Inside
	w := walkers.Get().(*walker)
	defer w.release()
	w.begin(r, lim, func(m Member) error {
		if len(in.First) < members {
			in.First = append(in.First, m)
		}
		return nil
	})
	var code []byte
	w.text = func(path string, chunk []byte) {
		if path == codeName { // its size was checked
			code = append(code, chunk...)
			return
		}
		in.OutputSize += int64(len(chunk))
		in.Output = append(in.Output, chunk[:min(len(chunk), output-len(in.Output))]...)
	}
	summary, err := w.walk()
	in.Summary = summary
	if len(code) >= codeSize {
		in.Code, in.HasCode = binary.BigEndian.Uint32(code), true
	}
	return in, err
}
