package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"

	"github.com/annals-go/annals/worker"
)

// agree compares topics with what was agreed on, and agrees on those that are new. Topics
// that it has seen since the term began are passed over. If one is not what it should be
// the error is a *TopicError for each of those, which ends the relay, and nothing has
// changed but that topics were made.
//
// What was decided is carried out here, in two writes: first the marks of the topic, then
// the agreement without the decision. Who begins after a crash between the two still finds
// the decision, and carries it out again: it comes to the same marks, as nothing is
// published before both are written. Both are guarded by revisions, so that of two relays
// that begin at once one starts again.
func (r *relayRun) agree(ctx context.Context, names []string) error {
	var fresh []string
	for _, name := range names {
		if _, known := r.agreed[name]; !known {
			fresh = append(fresh, name)
		}
	}
	if len(fresh) == 0 {
		return nil
	}
	stored, err := r.from.Contracts(ctx, r.name)
	if err != nil {
		return err
	}
	have, err := r.present(ctx, fresh, stored)
	if err != nil {
		return err
	}
	var wrong []error
	all := make([]TopicError, len(fresh))
	for i, name := range fresh {
		a := stored[name]
		if r.refill && a.Revision > 0 && a.Decision == Undecided && a.ID != have[name].ID {
			a.Decision, a.By = Refill, "bus.WithRefill"
		}
		all[i] = TopicError{Relay: r.name, Topic: name, Contract: r.contract(name), Agreed: a, Has: have[name]}
		if all[i].problem() != fits {
			wrong = append(wrong, &all[i])
		}
	}
	if len(wrong) > 0 {
		return worker.Halt(errors.Join(wrong...))
	}
	for i := range all {
		if err := r.take(ctx, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

// present returns what the broker has, after it has made the topics that do not exist and
// may be made: those that nothing was agreed on, or decided about. It takes as long as a
// batch may, whatever the network does.
func (r *relayRun) present(ctx context.Context, names []string, stored map[string]Agreed) (map[string]Topic, error) {
	ctx, cancel := context.WithTimeout(ctx, r.worker.Timeout)
	defer cancel()
	have, err := r.to.Topics(ctx, names...)
	if err != nil {
		return nil, err
	}
	var missing []Contract
	for _, name := range names {
		if a := stored[name]; have[name].ID == "" && (a.Revision == 0 || a.Decision != Undecided || r.refill) {
			missing = append(missing, r.contract(name))
		}
	}
	if len(missing) == 0 {
		return have, nil
	}
	if err := r.to.Create(ctx, missing...); err != nil {
		return nil, err
	}
	if have, err = r.to.Topics(ctx, names...); err != nil {
		return nil, err
	}
	for _, c := range missing {
		if have[c.Topic].ID == "" {
			return nil, fmt.Errorf("topic %s was made, and is gone", c.Topic)
		}
	}
	return have, nil
}

// take agrees on a topic as it is.
func (r *relayRun) take(ctx context.Context, t *TopicError) error {
	log := r.worker.Logger.With("relay", r.name, "topic", t.Topic)
	switch {
	case t.Agreed.Decision == Refill, t.Agreed.Decision == Adopt && t.changed():
		if err := r.decided(ctx, t); err != nil {
			return err
		}
		log.WarnContext(ctx, "topic is taken as was decided", "decision", t.Agreed.Decision, "by", t.Agreed.By, "topic_id", t.Has.ID, "previous_id", t.Agreed.ID, "partitions", t.Has.Partitions, "previous_partitions", t.Agreed.Partitions)
	case t.Agreed.Decision == Adopt:
		log.InfoContext(ctx, "topic is as it was agreed on, there is nothing to adopt", "by", t.Agreed.By)
	}
	a := t.Agreed
	a.Contract, a.ID, a.Decision, a.By = t.Contract, t.Has.ID, Undecided, ""
	a.Partitions = t.Has.Partitions
	if !same(a, t.Agreed) {
		if err := r.from.Agree(ctx, r.name, a); err != nil {
			return err
		}
		a.Revision++
	}
	r.agreed[t.Topic] = a
	if p, ok := r.to.(Pinner); ok {
		p.Pin(t.Topic, a.Partitions)
	}
	warn(ctx, log, t.Contract, t.Has)
	return nil
}

// decided has the marks of a topic name its present incarnation, and begin anew if it is
// to be filled.
func (r *relayRun) decided(ctx context.Context, t *TopicError) error {
	w := worker.Write{Marks: worker.Checkpoint{}, Audit: []worker.Audit{{
		Actor: t.Agreed.By, Action: string(t.Agreed.Decision), Detail: fmt.Sprintf("topic %s: %s, before: %s", t.Topic, t.Has, t.Agreed.topic()),
	}}}
	for p, m := range r.marks {
		if topicOf(p) != t.Topic {
			continue
		}
		if m.Source = t.Has.ID; t.Agreed.Decision == Refill {
			m.Position = 0
		}
		w.Marks[p] = m
	}
	if len(w.Marks) == 0 {
		return nil
	}
	if err := r.from.Save(ctx, r.name, worker.Term{}, w); err != nil {
		return err
	}
	for p, m := range w.Marks {
		m.Revision++
		r.marks[p] = m
	}
	return nil
}

// same reports whether there is nothing to be written.
func same(a, b Agreed) bool {
	for _, x := range []*Agreed{&a, &b} {
		if len(x.Config) == 0 {
			x.Config = nil
		}
	}
	return reflect.DeepEqual(a, b)
}

// warn tells of settings that are not those of the contract. A broker that tells of no
// setting at all may not tell this account.
func warn(ctx context.Context, log *slog.Logger, c Contract, is Topic) {
	differs := func(setting string, want, has any) {
		log.WarnContext(ctx, "topic differs from its contract", "setting", setting, "contract", want, "topic_has", has)
	}
	for _, s := range []struct {
		setting   string
		want, has int
	}{{"replication", c.Replication, is.Replication}, {"min_in_sync", c.MinInSync, is.MinInSync}, {"max_bytes", c.MaxBytes, is.MaxBytes}} {
		if s.want > 0 && s.has > 0 && s.want != s.has {
			differs(s.setting, s.want, s.has)
		}
	}
	if told := is.Retention > 0 || is.MinInSync > 0 || is.MaxBytes > 0; told && c.Retention != is.Retention {
		differs("retention", c.Retention, is.Retention)
	}
}
