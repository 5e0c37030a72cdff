//! What is planned on a slot, kept as the gaps that are left.
//!
//! Gaps lie in chunks that know their longest, so that neither a search nor a change looks at all of them.

use isochrone_model::Span;

use super::problem::Problem;

type Gap = (Span, Span);

/// Gaps a chunk may hold before it is cut in two.
const CHUNK: usize = 64;

/// One slot's plan: the gaps between what is planned, and the end of it.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// (start, end), in order, never empty; no chunk is empty.
    chunks: Vec<Vec<Gap>>,
    /// By chunk.
    longest: Vec<Span>,
    /// By chunk, the end of its last gap.
    ends: Vec<Span>,
    end: Span,
    /// No gap is longer, so that a search that cannot succeed is not made.
    longest_gap: Span,
}

/// What `take` changed, for `undo`.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    start: Span,
    finish: Span,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    End { before: Span },
    Gap(Gap),
    Nowhere,
}

impl Timeline {
    /// Free from a time on.
    #[must_use]
    pub fn new(free: Span) -> Self {
        Self { end: free, ..Self::default() }
    }

    /// The end of all that is planned.
    #[must_use]
    pub fn end(&self) -> Span {
        self.end
    }

    /// The first start from `ready` on at which there is room, gaps included (insertion).
    #[must_use]
    pub fn earliest_start(&self, ready: Span, execution: Span) -> Span {
        if ready >= self.end {
            return ready;
        }
        if execution > self.longest_gap {
            return self.end;
        }
        let finish = ready + execution;
        let first = self.ends.partition_point(|end| *end < finish);
        for (place, longest) in self.longest.iter().enumerate().skip(first) {
            if *longest < execution {
                continue;
            }
            let gaps = &self.chunks[place];
            let from = if place == first { gaps.partition_point(|(_, end)| *end < finish) } else { 0 };
            for (start, end) in &gaps[from..] {
                let start = ready.max(*start);
                if start + execution <= *end {
                    return start;
                }
            }
        }
        self.end
    }

    /// The first start from `ready` on behind all that is planned (no insertion).
    #[must_use]
    pub fn start_at_end(&self, ready: Span) -> Span {
        ready.max(self.end)
    }

    /// Takes the time from a start that one of the two methods gave.
    pub fn take(&mut self, start: Span, execution: Span) -> Taken {
        let finish = start + execution;
        if start >= self.end {
            let before = self.end;
            if start > before {
                self.insert((before, start));
            }
            self.end = finish;
            return Taken { start, finish, place: Place::End { before } };
        }
        let chunk = self.ends.partition_point(|end| *end < finish);
        let gap = self.chunks.get(chunk).and_then(|gaps| {
            let place = gaps.partition_point(|(_, end)| *end < finish);
            gaps.get(place).copied()
        });
        let Some(gap) = gap else { return Taken { start, finish, place: Place::Nowhere } };
        self.remove(gap);
        for rest in [(gap.0, start), (finish, gap.1)] {
            if rest.0 < rest.1 {
                self.insert(rest);
            }
        }
        Taken { start, finish, place: Place::Gap(gap) }
    }

    /// Takes back the latest `take` that is not taken back yet.
    pub fn undo(&mut self, taken: Taken) {
        match taken.place {
            Place::End { before } => {
                if taken.start > before {
                    self.remove((before, taken.start));
                }
                self.end = before;
            }
            Place::Gap(gap) => {
                for rest in [(gap.0, taken.start), (taken.finish, gap.1)] {
                    if rest.0 < rest.1 {
                        self.remove(rest);
                    }
                }
                self.insert(gap);
            }
            Place::Nowhere => {}
        }
    }

    fn insert(&mut self, gap: Gap) {
        self.longest_gap = self.longest_gap.max(length(gap));
        let mut chunk = self.ends.partition_point(|end| *end < gap.1);
        if chunk == self.chunks.len() {
            if chunk == 0 || self.chunks[chunk - 1].len() >= CHUNK {
                self.chunks.push(vec![gap]);
                self.longest.push(length(gap));
                self.ends.push(gap.1);
                return;
            }
            chunk -= 1;
        }
        let gaps = &mut self.chunks[chunk];
        let place = gaps.partition_point(|other| other.0 < gap.0);
        gaps.insert(place, gap);
        if gaps.len() > CHUNK {
            let rest = gaps.split_off(CHUNK / 2);
            self.chunks.insert(chunk + 1, rest);
            self.longest.insert(chunk + 1, Span::ZERO);
            self.ends.insert(chunk + 1, Span::ZERO);
            self.refresh(chunk + 1);
        }
        self.refresh(chunk);
    }

    fn remove(&mut self, gap: Gap) {
        let chunk = self.ends.partition_point(|end| *end < gap.1);
        let Some(gaps) = self.chunks.get_mut(chunk) else { return };
        if let Ok(place) = gaps.binary_search(&gap) {
            gaps.remove(place);
        }
        if gaps.is_empty() {
            self.chunks.remove(chunk);
            self.longest.remove(chunk);
            self.ends.remove(chunk);
        } else {
            self.refresh(chunk);
        }
    }

    fn refresh(&mut self, chunk: usize) {
        let gaps = &self.chunks[chunk];
        self.longest[chunk] = gaps.iter().copied().map(length).max().unwrap_or(Span::ZERO);
        self.ends[chunk] = gaps.last().map_or(Span::ZERO, |gap| gap.1);
    }
}

fn length(gap: Gap) -> Span {
    gap.1.saturating_sub(gap.0)
}

/// The plans of all slots.
#[derive(Clone, Debug, Default)]
pub struct Timelines {
    slots: Vec<Timeline>,
}

impl Timelines {
    /// Each slot free from when the problem says.
    #[must_use]
    pub fn new(problem: &Problem) -> Self {
        Self { slots: (0..problem.slots()).map(|slot| Timeline::new(problem.slot_free(slot))).collect() }
    }

    /// One slot's plan.
    #[must_use]
    pub fn slot(&self, slot: usize) -> &Timeline {
        &self.slots[slot]
    }

    /// Takes time on a slot.
    pub fn take(&mut self, slot: usize, start: Span, execution: Span) -> Taken {
        self.slots[slot].take(start, execution)
    }

    /// Takes back the latest `take` on a slot that is not taken back yet.
    pub fn undo(&mut self, slot: usize, taken: Taken) {
        self.slots[slot].undo(taken);
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn insertion_finds_the_first_gap_that_is_long_enough() {
        let mut timeline = Timeline::new(Span(0));
        timeline.take(Span(10), Span(10));
        timeline.take(Span(25), Span(5));
        assert_eq!(timeline.earliest_start(Span(0), Span(10)), Span(0));
        assert_eq!(timeline.earliest_start(Span(1), Span(10)), Span(30));
        assert_eq!(timeline.earliest_start(Span(3), Span(5)), Span(3));
        timeline.take(Span(3), Span(5));
        assert_eq!(timeline.earliest_start(Span(0), Span(4)), Span(20));
        assert_eq!(timeline.earliest_start(Span(0), Span(3)), Span(0));
        timeline.take(Span(20), Span(5));
        assert_eq!(timeline.earliest_start(Span(12), Span(1)), Span(30));
        assert_eq!(timeline.earliest_start(Span(9), Span(1)), Span(9));
        assert_eq!(timeline.start_at_end(Span(0)), Span(30));
    }

    #[test]
    fn what_takes_no_time_fits_between_two_tasks() {
        let mut timeline = Timeline::new(Span(0));
        timeline.take(Span(0), Span(10));
        timeline.take(Span(10), Span(10));
        assert_eq!(timeline.earliest_start(Span(5), Span(0)), Span(20));
        timeline.take(Span(20), Span(0));
        assert_eq!(timeline.end(), Span(20));
    }

    /// The gaps as one list, each looked at.
    struct Reference {
        gaps: Vec<Gap>,
        end: Span,
    }

    impl Reference {
        fn earliest_start(&self, ready: Span, execution: Span) -> Span {
            self.gaps
                .iter()
                .map(|(start, end)| (ready.max(*start), *end))
                .find(|(start, end)| *start + execution <= *end)
                .map_or(self.end.max(ready), |(start, _)| start)
        }

        fn take(&mut self, start: Span, execution: Span) {
            let finish = start + execution;
            self.gaps.push((self.end, start.max(self.end)));
            let cut = |gap: Gap| {
                let is_in = gap.0 <= start && finish <= gap.1;
                if is_in { vec![(gap.0, start), (finish, gap.1)] } else { vec![gap] }
            };
            self.gaps = self.gaps.iter().copied().flat_map(cut).filter(|gap| gap.0 < gap.1).collect();
            self.end = self.end.max(finish);
        }
    }

    #[test]
    fn chunks_answer_as_one_list_does_and_undo_leaves_nothing() {
        for seed in 0..20 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut below = |bound: u64| Span(random.next_u64() % bound);
            let mut timeline = Timeline::new(Span(7));
            let mut reference = Reference { gaps: Vec::new(), end: Span(7) };
            for step in 0..1_500 {
                let horizon = timeline.end().0 + 60;
                let (ready, execution) = (below(horizon), below(12));
                let start = timeline.earliest_start(ready, execution);
                assert_eq!(start, reference.earliest_start(ready, execution), "seed {seed}, step {step}");
                if step % 3 == 0 {
                    let undone = timeline.clone();
                    let first = timeline.take(start, execution);
                    let ready = below(horizon);
                    let second = timeline.take(timeline.earliest_start(ready, Span(3)), Span(3));
                    timeline.undo(second);
                    timeline.undo(first);
                    assert_eq!(timeline.chunks.concat(), undone.chunks.concat(), "seed {seed}, step {step}");
                    assert_eq!(timeline.end, undone.end);
                }
                timeline.take(start, execution);
                reference.take(start, execution);
            }
        }
    }
}
