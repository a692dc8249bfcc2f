package kafka

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// watchEvery is how often a member looks whether a topic has grown or was made again.
// Neither need show otherwise: a new partition may be assigned to another member, and
// that of another topic by the same name is not fetched from.
const watchEvery = 10 * time.Second

// watch stops the member when a topic is not any more what it was when its parts began.
func (m *member) watch() {
	every := watchEvery
	if age, _ := m.client.OptValue(kgo.MetadataMaxAge).(time.Duration); age > 0 {
		every = min(every, age)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-ticker.C:
		}
		topics, missing, err := describe(m.ctx, m.client, m.topics)
		if err != nil {
			continue // a fetch fails too if it lasts
		}
		for _, name := range missing {
			m.stop(fmt.Errorf("topic %s: %w", name, ErrMadeAgain))
		}
		for name, is := range topics {
			if err := m.changed(name, is); err != nil {
				m.stop(err)
			}
		}
	}
}

// changed compares a topic with what it was.
func (m *member) changed(name string, is topic) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range m.parts {
		if p.topic == name && p.id != is.id {
			return fmt.Errorf("topic %s: %w", name, ErrMadeAgain)
		}
	}
	return m.checkParts(name, is.partitions, nil)
}
