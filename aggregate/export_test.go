package aggregate

// Running reports whether a Run takes what loads queue.
func (s *Snapshotter[S]) Running() bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return s.queue.running > 0
}

// Waiting returns how many snapshots wait for Run, and how many bytes of them.
func (s *Snapshotter[S]) Waiting() (snapshots, bytes int) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.jobs), s.queue.held
}
