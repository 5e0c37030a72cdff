//! What is planned on a slot, kept as the gaps that are left.

use isochrone_model::Span;

use super::problem::Problem;

/// One slot's plan: the gaps between what is planned, and the end of it.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// (start, end), in order, never empty.
    gaps: Vec<(Span, Span)>,
    end: Span,
    /// No gap is longer, so that a search that cannot succeed is not made.
    longest_gap: Span,
}

impl Timeline {
    /// Free from a time on.
    #[must_use]
    pub fn new(free: Span) -> Self {
        Self { gaps: Vec::new(), end: free, longest_gap: Span::ZERO }
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
        if execution <= self.longest_gap {
            let from = self.gaps.partition_point(|(_, end)| *end < ready + execution);
            for (start, end) in &self.gaps[from..] {
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
    pub fn take(&mut self, start: Span, execution: Span) {
        let finish = start + execution;
        if start >= self.end {
            if start > self.end {
                self.gaps.push((self.end, start));
                self.longest_gap = self.longest_gap.max(Span(start.0 - self.end.0));
            }
            self.end = finish;
            return;
        }
        let place = self.gaps.partition_point(|(_, end)| *end < finish);
        let Some((gap_start, gap_end)) = self.gaps.get(place).copied() else { return };
        let rests = [(gap_start, start), (finish, gap_end)];
        let rests = rests.into_iter().filter(|(start, end)| start < end);
        self.gaps.splice(place..=place, rests);
    }
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
    pub fn take(&mut self, slot: usize, start: Span, execution: Span) {
        self.slots[slot].take(start, execution);
    }
}

#[cfg(test)]
mod tests {
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
}
