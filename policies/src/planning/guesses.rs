//! Estimates for pairs of kernel and device that were never measured together, from those that were.
//!
//! A kernel's duration on a device is taken to be a size of the kernel times a slowness of the device. Both are fitted to all that was
//! measured, by turns, as ratios of sums. Each counts as if it had been measured a little at its usual value: the mean size, and the
//! slowness that the device's facts tell. So kernels that ran once, each on another device, still tell fast devices from slow ones.
//!
//! Devices of which nothing is known look alike, and plans that break ties by number would always begin with the same ones. Each has a little of
//! luck, drawn anew for each graph, so that on average over graphs a plan is as good as the devices are on average.

use std::collections::BTreeMap;

use isochrone_model::{DeviceId, Span};
use isochrone_sched_core::{Basis, KernelRow, TaskIndex, TaskShape, View};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

/// What the usual value of a kernel's size weighs, in measurements.
const SIZE_WEIGHT: f64 = 0.5;
/// What the usual value of a device's slowness weighs, in measurements.
const SLOWNESS_WEIGHT: f64 = 0.25;
const ROUNDS: usize = 8;
/// Pairs of kernel and device that are kept: enough to tell devices apart, and fitted in a millisecond.
const MEASURED_MAX: usize = 2_048;
/// What a kernel is taken to take at least until anything was measured: less would hardly be worth a farm. Facts guess too low where
/// they tell of launches alone, and then plans that use one device only look best, and the others are never tried.
const UNKNOWN_EXECUTION: Span = Span::from_millis(20);

/// Luck makes a device this much slower or faster at most, in thousandths: more than rounding does, less than anything that was measured.
const LUCK_THOUSANDTHS: u64 = 10;
/// Tasks of the first plan whose sizes luck is drawn from.
const LUCK_TASKS: usize = 64;

/// A kernel over so many work-items.
type Key = (KernelRow, u64);

/// What was measured, and the estimates that rest on it.
#[derive(Clone, Debug, Default)]
pub(super) struct Guesses {
    /// Nanoseconds together and how often, by kernel and device.
    measured: BTreeMap<(Key, DeviceId), (f64, f64)>,
    /// Nanoseconds on a device of slowness 1.
    sizes: BTreeMap<Key, f64>,
    /// By device.
    slowness: Vec<f64>,
    is_device_seen: Vec<bool>,
    /// Of a kernel that was measured nowhere; 0 when nothing was measured.
    typical_size: f64,
    /// By device, how many times as long as others it is taken to take while it has run nothing; empty until drawn.
    luck: Vec<f64>,
    luck_seed: u64,
}

impl Guesses {
    /// Takes in what a task took.
    pub fn measure(&mut self, view: &View<'_>, task: TaskIndex, device: DeviceId, execution: Span) {
        let Some(key) = key_of(view, task) else { return };
        if self.measured.len() >= MEASURED_MAX && !self.measured.contains_key(&(key, device)) {
            return;
        }
        let (sum, count) = self.measured.entry((key, device)).or_default();
        *sum += execution.0 as f64;
        *count += 1.0;
    }

    /// What luck is drawn from: sessions, what their first tasks make, and the farm.
    fn luck_seed(view: &View<'_>, tasks: &[TaskIndex]) -> u64 {
        let begin = (tasks.len() as u64) << 32 | view.devices().count() as u64;
        tasks.iter().take(LUCK_TASKS).fold(begin, |seed, task| {
            let session = view.session(*task).map_or(0, |session| session.0);
            // Knuth's multiplier for 64 bits.
            (seed ^ session ^ view.output_bytes(*task)).wrapping_mul(6_364_136_223_846_793_005)
        })
    }

    /// Draws luck for each device that has none.
    fn draw_luck(&mut self, devices: usize) {
        for device in self.luck.len()..devices {
            let mut random = ChaCha8Rng::seed_from_u64(self.luck_seed ^ (device as u64));
            let drawn = random.next_u64() % (2 * LUCK_THOUSANDTHS + 1);
            self.luck.push((1_000 + drawn - LUCK_THOUSANDTHS) as f64 / 1e3);
        }
    }

    /// Fits sizes and slownesses to what was measured; `tasks` are to be planned.
    pub fn fit(&mut self, view: &View<'_>, tasks: &[TaskIndex]) {
        if self.luck.is_empty() {
            self.luck_seed = Self::luck_seed(view, tasks);
        }
        let end = view.devices().map(|device| device.index() + 1).max().unwrap_or(0);
        self.draw_luck(end);
        self.is_device_seen = vec![false; end];
        let mut prior = vec![1.0; end];
        for device in view.devices() {
            prior[device.index()] = 1.0 / view.facts(device).prior_items_per_us.max(1) as f64;
        }
        self.measured.retain(|(_, device), _| device.index() < end);
        for (_, device) in self.measured.keys() {
            self.is_device_seen[device.index()] = true;
        }
        self.slowness.clone_from(&prior);
        if self.measured.is_empty() {
            self.typical_size = 0.0;
            return;
        }
        for _ in 0..ROUNDS {
            self.fit_once(&prior);
        }
    }

    fn fit_once(&mut self, prior: &[f64]) {
        let (mut nanos, mut slowness) = (0.0, 0.0);
        let mut of_kernel: BTreeMap<Key, (f64, f64)> = BTreeMap::new();
        for ((key, device), (sum, count)) in &self.measured {
            let here = self.slowness[device.index()] * count;
            nanos += sum;
            slowness += here;
            let (above, below) = of_kernel.entry(*key).or_default();
            *above += sum;
            *below += here;
        }
        // Measured spans and slownesses are above 0, so that no ratio has nothing below.
        self.typical_size = nanos / slowness.max(f64::MIN_POSITIVE);
        let usual = slowness / self.measured.values().map(|(_, count)| count).sum::<f64>().max(1.0);
        self.sizes.clear();
        for (key, (above, below)) in of_kernel {
            let weight = SIZE_WEIGHT * usual;
            self.sizes.insert(key, (above + weight * self.typical_size) / (below + weight));
        }
        let (mut above, mut below) = (vec![0.0; prior.len()], vec![0.0; prior.len()]);
        for ((key, device), (sum, count)) in &self.measured {
            above[device.index()] += sum;
            below[device.index()] += self.sizes[key] * count;
        }
        // The facts' scale is that of the devices that were seen, so that one that was not counts as one of them.
        let seen = || (0..prior.len()).filter(|device| below[*device] > 0.0);
        let now: f64 = seen().map(|device| above[device] / below[device]).sum();
        let then: f64 = seen().map(|device| prior[device]).sum();
        let scale = now / then.max(f64::MIN_POSITIVE);
        let weight = SLOWNESS_WEIGHT * self.typical_size;
        for (device, prior) in prior.iter().enumerate() {
            self.slowness[device] = if below[device] > 0.0 {
                (above[device] + weight * prior * scale) / (below[device] + weight)
            } else {
                prior * scale
            };
        }
    }

    /// What a task is guessed to take on a device; `None` where the view's own estimate is better.
    pub fn of(&self, view: &View<'_>, task: TaskIndex, device: DeviceId) -> Option<Span> {
        let own = view.execution(task, device);
        let key = key_of(view, task)?;
        let is_kernel_known = match own.basis {
            Basis::Stated | Basis::Measured | Basis::OtherSize => return None,
            Basis::OtherDevice => self.sizes.contains_key(&key),
            Basis::Prior => true,
        };
        let is_seen = self.is_device_seen.get(device.index()).copied().unwrap_or(true);
        let luck = if is_seen { 1.0 } else { self.luck.get(device.index()).copied().unwrap_or(1.0) };
        if self.typical_size <= 0.0 {
            return Some(Span((own.expected.max(UNKNOWN_EXECUTION).0 as f64 * luck) as u64));
        }
        if !is_kernel_known {
            // Measured elsewhere over another number of work-items.
            return None;
        }
        let size = self.sizes.get(&key).copied().unwrap_or(self.typical_size);
        let slowness = self.slowness.get(device.index()).copied().unwrap_or(1.0);
        Some(Span((size * slowness * luck) as u64))
    }

    /// Whether nothing was ever measured on a device, and a task's duration there is not stated.
    pub fn is_wild(&self, view: &View<'_>, task: TaskIndex, device: DeviceId) -> bool {
        let is_device_seen = self.is_device_seen.get(device.index()).copied().unwrap_or(true);
        !is_device_seen && !view.execution(task, device).basis.is_seen()
    }
}

fn key_of(view: &View<'_>, task: TaskIndex) -> Option<Key> {
    match view.shape(task) {
        TaskShape::Kernel { items } => Some((view.kernel(task)?, items)),
        TaskShape::Copy { .. } | TaskShape::Source | TaskShape::Read | TaskShape::Nothing => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_ran_once_each_tell_fast_devices_from_slow_ones() {
        let mut guesses = Guesses { slowness: vec![1.0; 3], ..Guesses::default() };
        for kernel in 0..12 {
            // Device 0 takes 16 to 21 ms, device 1 a quarter of that; device 2 has run nothing.
            let device = kernel % 2;
            let nanos = f64::from(16 + kernel / 2) * if device == 0 { 1e6 } else { 0.25e6 };
            guesses.measured.insert(((KernelRow(kernel), 1), DeviceId(device)), (nanos, 1.0));
        }
        for _ in 0..ROUNDS {
            guesses.fit_once(&[1.0; 3]);
        }
        let [slow, fast, unseen] = guesses.slowness[..] else { panic!("three devices") };
        assert!((2.0..5.0).contains(&(slow / fast)), "{slow} and {fast}");
        assert!((fast..slow).contains(&unseen), "{unseen} between {fast} and {slow}");
    }

    #[test]
    fn devices_of_which_nothing_is_known_differ_a_little_and_not_always_alike() {
        let first_choice = |seed| {
            let mut guesses = Guesses { luck_seed: seed, ..Guesses::default() };
            guesses.draw_luck(4);
            let before = guesses.luck.clone();
            guesses.draw_luck(6);
            assert_eq!(guesses.luck[..4], before, "what is drawn stays");
            assert!(guesses.luck.iter().all(|luck| (0.99..=1.01).contains(luck)), "{:?}", guesses.luck);
            (0..4).min_by(|a, b| guesses.luck[*a].total_cmp(&guesses.luck[*b])).unwrap()
        };
        let mut chosen = [0; 4];
        for seed in 0..400 {
            chosen[first_choice(seed)] += 1;
        }
        assert!(
            chosen.iter().all(|count| (60..150).contains(count)),
            "each of four about as often: {chosen:?}"
        );
    }
}
