package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// listWriter prints things as they come: as a table, or as one array of JSON. It is the one home of how lists are printed.
type listWriter[T any] struct {
	w       io.Writer
	asJSON  bool
	header  string // of the table: names with tabs between them
	cells   func(*T) []string
	table   *tabwriter.Writer
	written int
}

// newListWriter makes one. The cells of a row are those of the header, in its order; what could harm a terminal is escaped here.
func newListWriter[T any](w io.Writer, asJSON bool, header string, cells func(*T) []string) *listWriter[T] {
	return &listWriter[T]{w: w, asJSON: asJSON, header: header, cells: cells, table: tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
}

// write prints a page. A table's columns fit what is on the page.
func (l *listWriter[T]) write(page []T) error {
	for i := range page {
		if err := l.one(&page[i]); err != nil {
			return err
		}
		l.written++
	}
	return l.table.Flush()
}

func (l *listWriter[T]) one(item *T) error {
	if l.asJSON {
		between := "[\n"
		if l.written > 0 {
			between = ",\n"
		}
		if _, err := io.WriteString(l.w, between); err != nil {
			return err
		}
		return writeHarmlessJSON(l.w, item)
	}
	if l.written == 0 {
		fmt.Fprintln(l.table, l.header)
	}
	cells := l.cells(item)
	for i := range cells {
		cells[i] = harmless(cells[i], "")
	}
	_, err := fmt.Fprintln(l.table, strings.Join(cells, "\t"))
	return err
}

// close ends the array. Of nothing there is an array, and no table.
func (l *listWriter[T]) close() error {
	if !l.asJSON {
		return nil
	}
	end := "]\n"
	if l.written == 0 {
		end = "[]\n"
	}
	_, err := io.WriteString(l.w, end)
	return err
}
