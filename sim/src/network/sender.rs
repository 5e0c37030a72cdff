//! The sending half of one direction of a connection: window, acknowledgements, pacer, in steps of a quarter of a round trip.
//!
//! What passes in a step is acknowledged in the step a round trip later: its *burst*, what passed at once, at the beginning,
//! the rest spread over the step. So a window's worth that left spread out comes back spread out, and slow start grows by less than twice a round trip, as
//! it does in truth: with a pacer of c windows a round trip by e^x, where x e^x = c (the solution of W'(t) = c W(t - R) / R that grows).
//!
//! **The pacer** (quinn-proto 0.11.19, `src/connection/pacing.rs`) has a bucket of W x 2 ms / R, at least 10 and at most 256 datagrams. When it
//! is empty, the connection sleeps until it is full at 1.25 W / R; what would flow in after that is lost. Timers of tokio have ticks of a
//! millisecond, so the sleep is `timer_us` too long on average, which with 1.6 ms of sleep makes of 1.25 windows a round trip about 0.95.
//!
//! Must never hold who talks to whom, or other senders' flows.

use isochrone_link::LATENCY_PERSISTENCE;
use isochrone_model::{BytesPerSecond, Span, Timestamp};

use super::options::{QuicOptions, micros};
use super::window::Window;

/// Steps of a round trip.
const STEPS: usize = 4;
/// The pacer's bucket.
const BUCKET_NANOS: u128 = 2_000_000;
const BUCKET_DATAGRAMS_MIN: u64 = 10;
const BUCKET_DATAGRAMS_MAX: u64 = 256;

/// Round trips of a path.
#[derive(Clone, Debug)]
pub(super) struct RoundTrips {
    /// Of a datagram alone, and of those that follow others for one stretch of [`LATENCY_PERSISTENCE`], two, and so on; the last for all that
    /// are longer.
    pub by_stretch: Vec<Span>,
    /// At which a window passes.
    pub bandwidth: BytesPerSecond,
}

impl RoundTrips {
    /// By what part of it the round trip of a long flow is above that of a datagram alone.
    pub fn variation(&self) -> f64 {
        let (first, last) = (self.by_stretch[0], self.by_stretch[self.by_stretch.len() - 1]);
        last.saturating_sub(first).as_secs_f64() / last.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The stretch in which the last of a window passes.
    fn last_stretch(&self, window: u64) -> usize {
        let stretches = self.bandwidth.span_for(window).0 / LATENCY_PERSISTENCE.0 + 1;
        let last = self.by_stretch.len() - 1;
        usize::try_from(stretches).unwrap_or(last).min(last)
    }

    /// That of a window whose datagrams follow those of the window before it.
    fn of(&self, window: u64) -> Span {
        self.by_stretch[self.last_stretch(window)]
    }

    /// That of a window that nothing goes before: its first datagrams wait for nobody, and what they make room for is sent as soon.
    fn of_first(&self, window: u64) -> Span {
        let means = &self.by_stretch[..=self.last_stretch(window)];
        Span(means.iter().map(|mean| mean.0).sum::<u64>() / means.len() as u64)
    }
}

/// One direction of a connection.
pub(super) struct Sender {
    /// Its link: what passes it is what the window lets pass.
    pub link: u32,
    /// Until what passes now is acknowledged.
    pub round_trip: Span,
    round_trips: RoundTrips,
    pub window: Window,
    /// The path's, for each datagram.
    pub loss: f64,
    pub stage: Stage,
    pub step_began: Timestamp,
    /// What had passed the link then, in the link's units.
    pub step_mark: u128,
    /// What passes until the next loss.
    pub loss_mark: Option<u128>,
    /// Losses before count no more.
    pub recovery_until: Timestamp,
    pub plan: Plan,
    /// When the connection was made.
    since: Timestamp,
    /// In the pacer's bucket, in bytes on the wire.
    tokens: u64,
    /// Of the last steps, oldest first.
    passed: [Passed; STEPS],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing under way.
    Idle,
    /// What passes at once.
    Burst,
    /// The rest of the step.
    Paced,
    /// The step has nothing more to send.
    Stalled,
    /// The receiver waits for what a full buffer has dropped, and lets nothing new be sent.
    Blocked { until: Timestamp },
    /// Links limit.
    Open,
}

/// What may pass in the step that has begun, on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// At once.
    pub burst: u64,
    /// Afterwards.
    pub pace: BytesPerSecond,
    /// With the burst; then nothing more.
    pub most: u64,
    /// What the pacer alone would let pass then.
    pacer: BytesPerSecond,
}

/// What passed in a step.
#[derive(Clone, Copy, Debug, Default)]
struct Passed {
    burst: u64,
    paced: u64,
}

impl Sender {
    pub fn new(
        link: u32,
        round_trips: RoundTrips,
        loss: f64,
        since: Timestamp,
        options: &QuicOptions,
    ) -> Self {
        let window = options.window(round_trips.variation());
        Self {
            link,
            round_trip: round_trips.of_first(window.bytes()) + micros(options.acknowledgement_us),
            round_trips,
            window,
            loss,
            stage: Stage::Idle,
            step_began: since,
            step_mark: 0,
            loss_mark: None,
            recovery_until: Timestamp::ZERO,
            plan: Plan::default(),
            since,
            tokens: u64::MAX,
            passed: [Passed::default(); STEPS],
        }
    }

    /// As after a new handshake.
    pub fn restart(&mut self, ready: Timestamp, options: &QuicOptions) {
        *self = Self::new(self.link, self.round_trips.clone(), self.loss, ready, options);
    }

    /// How long a step takes.
    pub fn step(&self) -> Span {
        Span((self.round_trip.0 / STEPS as u64).max(1))
    }

    pub fn step_ends(&self) -> Timestamp {
        self.step_began + self.step()
    }

    /// The size of datagrams now.
    pub fn datagram(&self, now: Timestamp, options: &QuicOptions) -> u64 {
        let discovery = self.round_trip.saturating_mul(options.discovery_round_trips);
        if now.since(self.since) >= discovery {
            options.datagram_bytes
        } else {
            options.datagram_bytes_initial
        }
    }

    /// The window, on the wire.
    pub fn window_on_the_wire(&self, now: Timestamp, options: &QuicOptions) -> u64 {
        options.on_the_wire(self.window.bytes(), self.datagram(now, options))
    }

    /// Takes what a step has let pass, on the wire; `is_burst_over` if all of its burst was among it.
    pub fn end_step(&mut self, sent: u64, is_burst_over: bool) {
        let burst = if is_burst_over { self.plan.burst.min(sent) } else { 0 };
        let paced = sent - burst;
        self.passed.rotate_left(1);
        self.passed[STEPS - 1] = Passed { burst, paced };
        let unused = bytes_in(self.plan.pacer, self.step()).saturating_sub(paced);
        self.tokens = self.tokens.saturating_sub(burst).saturating_add(unused);
    }

    /// Goes on as if each step until now had passed so much.
    pub fn has_passed(&mut self, rate: BytesPerSecond) {
        let paced = bytes_in(rate, self.step());
        self.passed = [Passed { burst: 0, paced }; STEPS];
        self.tokens = 0;
    }

    /// Nothing was sent since the last step ended. What comes back of what was sent before makes a window grow that grows by rounds; quinn's
    /// own controller ignores it.
    pub fn catch_up(&mut self, now: Timestamp, options: &QuicOptions) {
        let steps = now.since(self.step_began).0 / self.step().0;
        let under_way: u64 = self.passed.iter().map(|step| step.burst + step.paced).sum();
        if steps > 0 && self.window.grows_by_rounds() {
            self.grow(now, under_way, under_way, self.datagram(now, options), options);
        }
        for _ in 0..steps.min(STEPS as u64) {
            self.passed.rotate_left(1);
            self.passed[STEPS - 1] = Passed::default();
        }
        if steps > 0 {
            self.tokens = u64::MAX;
        }
    }

    /// Takes in what is acknowledged as a step begins, and says what it may send.
    pub fn begin_step(&mut self, now: Timestamp, options: &QuicOptions) -> Plan {
        self.step_began = now;
        let is_first = self.passed[0].burst + self.passed[0].paced == 0;
        let window = self.window.bytes();
        let round_trip =
            if is_first { self.round_trips.of_first(window) } else { self.round_trips.of(window) };
        self.round_trip = round_trip + micros(options.acknowledgement_us);
        let datagram = self.datagram(now, options);
        let oldest = self.passed[0];
        let under_way: u64 = self.passed.iter().map(|step| step.burst + step.paced).sum();
        // What comes back later in the step is known to a window that grows by rounds, since the first of it tells.
        let first = if self.window.grows_by_rounds() { oldest.burst + oldest.paced } else { oldest.burst };
        self.grow(now, first, under_way, datagram, options);
        let in_flight: u64 = self.passed[1..].iter().map(|step| step.burst + step.paced).sum();
        let window = self.window_on_the_wire(now, options);
        let allowed = window.saturating_sub(in_flight + oldest.paced);
        self.plan = if options.pacing == 0.0 {
            Plan { burst: allowed, pace: BytesPerSecond(0), most: allowed, pacer: BytesPerSecond(0) }
        } else {
            let bucket = self.bucket(window, datagram, options);
            let burst = self.tokens.min(bucket).min(allowed);
            self.tokens = self.tokens.min(bucket);
            let sleep = bucket as f64 * self.round_trip.0 as f64 / (window as f64 * options.pacing)
                + options.timer_us * 1e3;
            let pacer = BytesPerSecond((bucket as f64 * 1e9 / sleep) as u64);
            // What comes back in the step makes room, and in slow start as much again; it is sent as it comes.
            let room = allowed - burst + oldest.paced * if self.window.grows_with_each() { 2 } else { 1 };
            let spread = BytesPerSecond::from_transfer(room, self.step());
            let pace = if oldest.paced > 0 { pacer.min(spread) } else { pacer };
            Plan { burst, pace: if room > 0 { pace } else { BytesPerSecond(0) }, most: burst + room, pacer }
        };
        self.grow(now, oldest.burst + oldest.paced - first, under_way, datagram, options);
        self.stage = if self.plan.burst > 0 {
            Stage::Burst
        } else if self.plan.pace > BytesPerSecond(0) {
            Stage::Paced
        } else {
            Stage::Stalled
        };
        self.plan
    }

    fn grow(
        &mut self,
        now: Timestamp,
        acknowledged: u64,
        under_way: u64,
        datagram: u64,
        options: &QuicOptions,
    ) {
        if acknowledged > 0 {
            let acknowledged = options.off_the_wire(acknowledged, datagram);
            let under_way = options.off_the_wire(under_way, datagram);
            self.window.grow(now, acknowledged, under_way, self.round_trip, datagram);
        }
    }

    /// What the pacer lets pass at once, on the wire.
    fn bucket(&self, window: u64, datagram: u64, options: &QuicOptions) -> u64 {
        let bucket = u128::from(window) * BUCKET_NANOS / u128::from(self.round_trip.0.max(1));
        let wire = options.on_the_wire(datagram, 0);
        u64::try_from(bucket)
            .unwrap_or(u64::MAX)
            .clamp(BUCKET_DATAGRAMS_MIN * wire, BUCKET_DATAGRAMS_MAX * wire)
    }
}

/// What passes in a time.
fn bytes_in(rate: BytesPerSecond, span: Span) -> u64 {
    u64::try_from(u128::from(rate.0) * u128::from(span.0) / 1_000_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::window::Controller;
    use super::*;

    fn steady(millis: u64) -> RoundTrips {
        RoundTrips { by_stretch: vec![Span::from_millis(millis)], bandwidth: BytesPerSecond(1_000_000) }
    }

    /// What a sender that nothing else limits has sent after so many steps.
    fn unlimited(options: &QuicOptions, steps: u64) -> Vec<u64> {
        let mut sender = Sender::new(0, steady(100), 0.0, Timestamp::ZERO, options);
        let mut sent = Vec::new();
        for step in 0..steps {
            let plan = sender.begin_step(Timestamp(step * 25_000_000), options);
            let passed = (plan.burst + bytes_in(plan.pace, sender.step())).min(plan.most);
            sent.push(passed);
            sender.end_step(passed, true);
        }
        sent
    }

    fn options() -> QuicOptions {
        QuicOptions {
            initial_window_bytes: 12_000,
            ip_overhead_bytes: 0,
            timer_us: 0.0,
            datagram_bytes: 1_200,
            controller: Controller::Cubic,
            ..QuicOptions::default()
        }
    }

    #[test]
    fn a_pacer_of_c_windows_grows_as_its_equation_says() {
        // x e^x = c: c = 1.25 gives x = 0.6495, c = 1 / (1 / 1.25 + 0.25) = 0.952 gives x = 0.5484.
        for (timer_us, x) in [(0.0, 0.6495_f64), (500.0, 0.5484)] {
            let options = QuicOptions { timer_us, ..options() };
            let sent = unlimited(&options, 40);
            let growth = (sent[36] as f64 / sent[32] as f64).ln();
            assert!((growth / x - 1.0).abs() < 0.05, "{growth} for {x}");
        }
    }

    #[test]
    fn without_a_pacer_the_window_doubles_and_leaves_at_once() {
        let sent = unlimited(&QuicOptions { pacing: 0.0, ..options() }, 9);
        assert_eq!(sent, [12_000, 0, 0, 0, 24_000, 0, 0, 0, 48_000]);
    }

    #[test]
    fn acknowledgements_after_a_pause_do_not_count() {
        let options = QuicOptions { pacing: 0.0, ..options() };
        let mut sender = Sender::new(0, steady(100), 0.0, Timestamp::ZERO, &options);
        assert_eq!(sender.begin_step(Timestamp::ZERO, &options).burst, 12_000);
        sender.end_step(12_000, true);
        let half = Timestamp(50_000_000);
        sender.catch_up(half, &options);
        assert_eq!(sender.begin_step(half, &options).burst, 0, "all is still under way");
        sender.end_step(0, true);
        let later = Timestamp(1_000_000_000);
        sender.catch_up(later, &options);
        assert_eq!(sender.begin_step(later, &options).burst, 12_000);
    }
}
