package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
)

// recordBytes is the size of what a sorter sorts.
const recordBytes = 40

// record is a key and what belongs to it, in an order of bytes.
type record [recordBytes]byte

// sortedRecords is how many records a sorter holds in memory: 10 MiB.
const sortedRecords = 256 << 10

// sorter sorts any number of records in bounded memory: what does not fit goes
// to a temporary file in runs, each sorted in itself, which are then merged.
type sorter struct {
	dir     string // of the file; empty: that of the system
	most    int
	records []record
	file    *os.File // of all runs, one behind the other
	runs    []section
}

// section is where a run lies in the file.
type section struct{ at, bytes int64 }

func (s *sorter) add(r record) error {
	if s.most == 0 {
		s.most = sortedRecords
	}
	if len(s.records) == s.most {
		if err := s.spill(); err != nil {
			return fmt.Errorf("temporary file: %w", err)
		}
	}
	s.records = append(s.records, r)
	return nil
}

func (s *sorter) sort() {
	slices.SortFunc(s.records, func(a, b record) int { return bytes.Compare(a[:], b[:]) })
}

func (s *sorter) spill() (err error) {
	s.sort()
	if s.file == nil {
		if s.file, err = os.CreateTemp(s.dir, "annals-check-*"); err != nil {
			return err
		}
	}
	at, err := s.file.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(s.file, 256<<10)
	for i := range s.records {
		if _, err := w.Write(s.records[i][:]); err != nil {
			return err
		}
	}
	s.runs = append(s.runs, section{at, int64(len(s.records)) * recordBytes})
	s.records = s.records[:0]
	return w.Flush()
}

// close removes the file.
func (s *sorter) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
	s.file, s.runs, s.records = nil, nil, nil
}

// all yields the records in order, once.
func (s *sorter) all() iter.Seq2[*record, error] {
	return func(yield func(*record, error) bool) {
		s.sort()
		runs := make([]run, 0, len(s.runs)+1)
		for _, r := range s.runs {
			runs = append(runs, run{file: bufio.NewReaderSize(io.NewSectionReader(s.file, r.at, r.bytes), 64<<10)})
		}
		runs = append(runs, run{memory: s.records})
		heap := make([]*run, 0, len(runs))
		for i := range runs {
			more, err := runs[i].next()
			if err != nil {
				yield(nil, fmt.Errorf("temporary file: %w", err))
				return
			}
			if more {
				heap = append(heap, &runs[i])
			}
		}
		for i := len(heap)/2 - 1; i >= 0; i-- {
			sink(heap, i)
		}
		for len(heap) > 0 {
			if !yield(&heap[0].record, nil) {
				return
			}
			more, err := heap[0].next()
			if err != nil {
				yield(nil, fmt.Errorf("temporary file: %w", err))
				return
			}
			if !more {
				heap[0] = heap[len(heap)-1]
				heap = heap[:len(heap)-1]
			}
			sink(heap, 0)
		}
	}
}

// run is a sorted part, in a file or in memory.
type run struct {
	record
	file   *bufio.Reader
	memory []record
}

func (r *run) next() (bool, error) {
	if r.file == nil {
		if len(r.memory) == 0 {
			return false, nil
		}
		r.record, r.memory = r.memory[0], r.memory[1:]
		return true, nil
	}
	_, err := io.ReadFull(r.file, r.record[:])
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return err == nil, err
}

// sink lets the run at i find its place in the heap, the least first.
func sink(heap []*run, i int) {
	for {
		least := i
		for _, child := range []int{2*i + 1, 2*i + 2} {
			if child < len(heap) && bytes.Compare(heap[child].record[:], heap[least].record[:]) < 0 {
				least = child
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}
