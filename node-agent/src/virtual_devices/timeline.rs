//! Lanes in which operations follow each other in modelled time, and the one thread that tells their ends.
//!
//! The runtime's own timers are too coarse: they are a millisecond late. Must never touch the bytes of
//! buffers.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use isochrone_model::Region;
use isochrone_sched_core::agent::{OperationDone, OperationError, OperationId};

use crate::backend::{BackendEvent, BackendSink};
use crate::clock;

/// With spinning, how long before a deadline the thread stops sleeping: sleeps end up to about this late.
const SPIN_SPAN: Duration = Duration::from_micros(50);

/// What an operation's bytes came to: those of a download, or why they could not be moved.
pub(super) type Moved = Result<Option<(Region, Bytes)>, OperationError>;

/// An operation's place in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    lane: usize,
    number: u64,
}

/// All lanes of a backend. Clones share them.
#[derive(Clone)]
pub(super) struct Timeline(Arc<Inner>);

/// The thread of a timeline; dropping it fails what is still open and ends the thread.
pub(super) struct TimelineThread {
    timeline: Timeline,
    thread: Option<JoinHandle<()>>,
}

struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    sink: BackendSink,
    has_spin: bool,
}

struct State {
    lanes: Vec<Lane>,
    /// The lanes whose first operation has a known end, by that end.
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Until when the thread sleeps; `None` while it is awake or has nothing to wait for.
    sleeps_until: Option<Instant>,
    is_closing: bool,
}

struct Lane {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first: u64,
    /// When the last operation ended, in modelled time.
    free_at: Instant,
}

struct Entry {
    operation: OperationId,
    given_at: Instant,
    duration: Duration,
    /// `None` while its bytes are still being moved.
    moved: Option<(Instant, Moved)>,
}

impl Timeline {
    pub(super) fn start(
        lane_count: usize,
        sink: BackendSink,
        has_spin: bool,
    ) -> std::io::Result<(Self, TimelineThread)> {
        let free_at = clock::now();
        let lanes = (0..lane_count).map(|_| Lane { entries: VecDeque::new(), first: 0, free_at }).collect();
        let state = State { lanes, due: BinaryHeap::new(), sleeps_until: None, is_closing: false };
        let inner = Inner { state: Mutex::new(state), wake: Condvar::new(), sink, has_spin };
        let timeline = Self(Arc::new(inner));
        let of_thread = timeline.clone();
        let thread = std::thread::Builder::new().name("virtual-devices".to_owned()).spawn(move || {
            sleep_precisely();
            of_thread.run();
        })?;
        let thread = TimelineThread { timeline: timeline.clone(), thread: Some(thread) };
        Ok((timeline, thread))
    }

    /// Tells the driver; a driver that has gone no longer wants to know.
    pub(super) fn send(&self, event: BackendEvent) {
        let _gone = self.0.sink.send(event);
    }

    /// Puts an operation at the end of a lane. It ends when it has taken `duration` there and, unless
    /// `moved` is given here already, `settle` has been called.
    pub(super) fn append(
        &self,
        lane: usize,
        operation: OperationId,
        duration: Duration,
        moved: Option<Moved>,
    ) -> Ticket {
        let now = clock::now();
        let mut state = self.lock();
        let entry = Entry { operation, given_at: now, duration, moved: moved.map(|moved| (now, moved)) };
        let entries = &mut state.lanes[lane];
        let ticket = Ticket { lane, number: entries.first + entries.entries.len() as u64 };
        entries.entries.push_back(entry);
        if entries.entries.len() == 1 {
            self.schedule(&mut state, lane);
        }
        ticket
    }

    /// Tells that an operation's bytes have been moved.
    pub(super) fn settle(&self, ticket: Ticket, moved: Moved) {
        let now = clock::now();
        let mut state = self.lock();
        let lane = &mut state.lanes[ticket.lane];
        let Some(place) = ticket.number.checked_sub(lane.first) else { return };
        let Some(entry) = usize::try_from(place).ok().and_then(|place| lane.entries.get_mut(place)) else {
            return;
        };
        entry.moved = Some((now, moved));
        if place == 0 {
            self.schedule(&mut state, ticket.lane);
        }
    }

    /// Makes the first operation of a lane due, once its end is known.
    fn schedule(&self, state: &mut State, lane: usize) {
        let Some(end) = state.lanes[lane].first_end() else { return };
        state.due.push(Reverse((end, lane)));
        if state.sleeps_until.is_some_and(|until| end < until) || state.due.len() == 1 {
            self.0.wake.notify_one();
        }
    }

    fn run(&self) {
        let mut ended = Vec::new();
        let mut state = self.lock();
        loop {
            if state.is_closing {
                break;
            }
            let now = clock::now();
            while let Some(Reverse((end, lane))) = state.due.peek().copied().filter(|due| due.0.0 <= now) {
                state.due.pop();
                ended.extend(state.lanes[lane].end_first(end));
                if let Some(end) = state.lanes[lane].first_end() {
                    state.due.push(Reverse((end, lane)));
                }
            }
            if !ended.is_empty() {
                drop(state);
                for event in ended.drain(..) {
                    self.send(event);
                }
                state = self.lock();
                continue;
            }
            state = self.sleep(state, now);
        }
        let left: Vec<OperationId> = state
            .lanes
            .iter_mut()
            .flat_map(|lane| lane.entries.drain(..))
            .map(|entry| entry.operation)
            .collect();
        drop(state);
        for operation in left {
            let error = OperationError::Failed {
                call: "virtual device".to_owned(),
                reason: "the agent is stopping".to_owned(),
            };
            let done = OperationDone { operation, outcome: Err(error) };
            self.send(BackendEvent::Done { done, downloaded: None });
        }
    }

    /// Until the next end, or until there is an earlier one.
    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>, now: Instant) -> MutexGuard<'a, State> {
        let next = state.due.peek().map(|due| due.0.0);
        let Some(end) = next else {
            state.sleeps_until = None;
            return self.0.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let span = end.saturating_duration_since(now);
        let span = if self.0.has_spin { span.saturating_sub(SPIN_SPAN) } else { span };
        if span.is_zero() {
            // An operation that is given now and ends sooner waits for at most the spinning's span.
            drop(state);
            while clock::now() < end {
                std::hint::spin_loop();
            }
            return self.lock();
        }
        state.sleeps_until = Some(end);
        let (mut state, _) = self.0.wake.wait_timeout(state, span).unwrap_or_else(PoisonError::into_inner);
        state.sleeps_until = None;
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock can panic half-way through a change.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn first_start(&self) -> Option<Instant> {
        Some(self.entries.front()?.given_at.max(self.free_at))
    }

    /// When the first operation ends: after its duration, and not before its bytes have been moved.
    fn first_end(&self) -> Option<Instant> {
        let (moved_at, _) = self.entries.front()?.moved.as_ref()?;
        Some((self.first_start()? + self.entries.front()?.duration).max(*moved_at))
    }

    /// Takes the first operation off. The lane is free from the modelled end, so that the lateness of
    /// the thread does not add up over a row of operations.
    fn end_first(&mut self, end: Instant) -> Option<BackendEvent> {
        let start = self.first_start()?;
        let entry = self.entries.pop_front()?;
        self.first += 1;
        self.free_at = end;
        let (_, moved) = entry.moved?;
        let (outcome, downloaded) = match moved {
            Ok(downloaded) => (Ok((end - start).into()), downloaded),
            Err(error) => (Err(error), None),
        };
        let done = OperationDone { operation: entry.operation, outcome };
        Some(BackendEvent::Done { done, downloaded })
    }
}

impl Drop for TimelineThread {
    fn drop(&mut self) {
        self.timeline.lock().is_closing = true;
        self.timeline.0.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// Lets this thread's sleeps end as near to their deadlines as the system can.
fn sleep_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
        tracing::debug!(%error, "timer slack not set; virtual devices end about 50 us later");
    }
}
