//! What launches took, and what they would take elsewhere.

use std::collections::BTreeMap;

use isochrone_model::{CommandId, DeviceFacts, SessionId, Span};

/// A kernel with so many work-items.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaunchKey {
    /// The program's source and options.
    pub program: String,
    /// The kernel's place in it.
    pub kernel: u32,
    /// Work-items of the launch.
    pub items: u64,
}

/// What launches took. Devices are numbered over all agents.
#[derive(Clone, Debug, Default)]
pub struct Durations {
    own: BTreeMap<(SessionId, CommandId), (usize, Span)>,
    /// By kernel and work-items, then by device.
    seen: BTreeMap<LaunchKey, BTreeMap<usize, Vec<u64>>>,
}

impl Durations {
    /// Notes what a launch took.
    pub fn record(
        &mut self,
        session: SessionId,
        command: CommandId,
        key: LaunchKey,
        device: usize,
        took: Span,
    ) {
        self.own.insert((session, command), (device, took));
        self.seen.entry(key).or_default().entry(device).or_default().push(took.0);
    }

    /// Sorts what was seen; before anything is asked for.
    pub fn settle(&mut self) {
        for spans in self.seen.values_mut().flat_map(BTreeMap::values_mut) {
            spans.sort_unstable();
        }
    }

    /// How many launches ran.
    #[must_use]
    pub fn launches(&self) -> usize {
        self.own.len()
    }

    /// What a launch takes on a device.
    #[must_use]
    pub fn of(
        &self,
        session: SessionId,
        command: CommandId,
        key: &LaunchKey,
        device: usize,
        facts: &[&DeviceFacts],
    ) -> Span {
        let own = self.own.get(&(session, command)).copied();
        if let Some((ran_on, took)) = own
            && ran_on == device
        {
            return took;
        }
        if let Some(span) = self.seen.get(key).and_then(|by_device| median(by_device.get(&device)?)) {
            return span;
        }
        if let Some(span) = self.other_size(key, device) {
            return span;
        }
        match own {
            Some((ran_on, took)) => scaled(took, self.ratio(ran_on, device, facts)),
            // It never ran: it failed, or its run was lost. Only the device's facts are left.
            None => facts.get(device).map_or(Span::ZERO, |facts| prior(facts, key.items)),
        }
    }

    /// From the nearest number of work-items that the kernel had there.
    fn other_size(&self, key: &LaunchKey, device: usize) -> Option<Span> {
        let of_kernel = self
            .seen
            .range(LaunchKey { items: 0, ..key.clone() }..=LaunchKey { items: u64::MAX, ..key.clone() })
            .filter_map(|(other, by_device)| Some((other.items, median(by_device.get(&device)?)?)));
        let (items, span) = of_kernel.min_by_key(|(items, _)| items.abs_diff(key.items))?;
        Some(scaled(span, key.items.max(1) as f64 / items.max(1) as f64))
    }

    /// How many times longer launches take on one device than on another: the median over what ran on both.
    fn ratio(&self, from: usize, to: usize, facts: &[&DeviceFacts]) -> f64 {
        let mut ratios: Vec<f64> = self
            .seen
            .values()
            .filter_map(|by_device| {
                let (from, to) = (median(by_device.get(&from)?)?, median(by_device.get(&to)?)?);
                (from.0 > 0).then(|| to.0 as f64 / from.0 as f64)
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        if let Some(ratio) = ratios.get(ratios.len() / 2) {
            return *ratio;
        }
        let speed =
            |device: usize| facts.get(device).map_or(1, |facts| facts.prior_items_per_us.max(1)) as f64;
        speed(from) / speed(to)
    }
}

fn prior(facts: &DeviceFacts, items: u64) -> Span {
    let nanos = u128::from(items) * 1_000 / u128::from(facts.prior_items_per_us.max(1));
    facts.prior_launch.saturating_add(Span(u64::try_from(nanos).unwrap_or(u64::MAX)))
}

fn median(sorted: &[u64]) -> Option<Span> {
    sorted.get(sorted.len() / 2).copied().map(Span)
}

fn scaled(span: Span, factor: f64) -> Span {
    // The cast saturates; factors are positive.
    Span((span.0 as f64 * factor).round() as u64)
}

#[cfg(test)]
mod tests {
    use isochrone_model::DeviceKind;
    use isochrone_model::units::BytesPerSecond;

    use super::*;

    fn facts(prior_items_per_us: u64) -> DeviceFacts {
        DeviceFacts {
            name: "d".to_owned(),
            platform: String::new(),
            driver: String::new(),
            kind: DeviceKind::Virtual,
            compute_units: 1,
            clock_mhz: 0,
            memory_bytes: 1,
            buffer_bytes_max: 1,
            local_memory_bytes: 0,
            work_group_size_max: 1,
            sub_buffer_alignment_bytes: 1,
            has_fp64: true,
            slots: 1,
            prior_items_per_us,
            prior_launch: Span(5),
            prior_host_rate: BytesPerSecond(1),
        }
    }

    fn key(kernel: u32, items: u64) -> LaunchKey {
        LaunchKey { program: "p".to_owned(), kernel, items }
    }

    #[test]
    fn a_duration_comes_from_the_nearest_thing_that_was_seen() {
        let (slow, fast) = (facts(1), facts(4));
        let facts = [&slow, &fast];
        let session = SessionId(1);
        let mut durations = Durations::default();
        for (command, (kernel, items, device, took)) in
            [(0, 10, 0, 100), (0, 10, 0, 140), (0, 10, 1, 30), (1, 10, 0, 1_000), (2, 10, 0, 7)]
                .into_iter()
                .enumerate()
        {
            let command = CommandId(command as u64);
            durations.record(session, command, key(kernel, items), device, Span(took));
        }
        durations.settle();
        let of = |command, kernel, items, device| {
            durations.of(session, CommandId(command), &key(kernel, items), device, &facts)
        };
        assert_eq!(of(0, 0, 10, 0), Span(100), "its own");
        assert_eq!(of(0, 0, 10, 1), Span(30), "what others of the kernel took there");
        assert_eq!(of(9, 0, 20, 1), Span(60), "scaled with the work-items");
        assert_eq!(of(3, 1, 10, 1), Span(214), "as kernel 0 went from 140 to 30");
        assert_eq!(of(9, 3, 8, 1), Span(5 + 2_000), "the device's facts alone");
        assert_eq!(durations.launches(), 5);
    }
}
