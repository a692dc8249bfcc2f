package kafka

// Round returns the number of the present round of the Publisher.
func (p *Publisher) Round() int {
	p.guard.mu.Lock()
	defer p.guard.mu.Unlock()
	return p.guard.round
}
