//! Bytes of writes that have come from clients and wait for their task, and the bound on them.
//!
//! A stream may bring bytes before the order for their task is here; until then they count against
//! `Limits::early_bytes_max` of their session, and a stream that does not fit waits unread, so that
//! flow control stops its sender. It must never read a stream itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use isochrone_model::{SessionId, TaskId, Timestamp};
use tokio::sync::oneshot;

use crate::streams::Way;

/// What an early payload costs beyond its bytes, so that empty ones are bounded too.
const EARLY_OVERHEAD_BYTES: u64 = 4 << 10;

/// Tasks of a session whose bytes were handed out or dropped of late: a client that lost its connection
/// may send their bytes once more.
const FINISHED_KEPT_MAX: usize = 65_536;

/// Payloads of all sessions.
#[derive(Debug)]
pub(crate) struct Payloads {
    early_bytes_max: u64,
    sessions: BTreeMap<SessionId, SessionPayloads>,
    owners: BTreeMap<TaskId, SessionId>,
}

#[derive(Debug, Default)]
struct SessionPayloads {
    early_bytes: u64,
    tasks: BTreeMap<TaskId, Payload>,
    waiting: VecDeque<Waiting>,
    finished: BTreeSet<TaskId>,
    finished_order: VecDeque<TaskId>,
}

#[derive(Debug)]
struct Payload {
    /// Whether the order for the task has come.
    is_known: bool,
    reserved_bytes: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Ordered, and no stream has begun.
    Expected,
    /// A stream is being read, or waits to be.
    Coming,
    Whole(Bytes),
    /// The stream broke; another may begin until then.
    Broken {
        until: Timestamp,
        reason: String,
    },
    /// Cancelled; what comes is thrown away.
    Dropped,
}

#[derive(Debug)]
struct Waiting {
    task: TaskId,
    cost_bytes: u64,
    admit: oneshot::Sender<Way>,
}

impl Payloads {
    pub(crate) fn new(early_bytes_max: u64) -> Self {
        Self { early_bytes_max, sessions: BTreeMap::new(), owners: BTreeMap::new() }
    }

    /// The order for a task whose bytes come on a stream is here: they are early no longer.
    pub(crate) fn expect(&mut self, session: SessionId, task: TaskId) {
        self.owners.insert(task, session);
        let held = self.sessions.entry(session).or_default();
        // A task that was given back may be ordered here once more, and its bytes come once more.
        held.finished.remove(&task);
        match held.tasks.get_mut(&task) {
            Some(payload) => {
                payload.is_known = true;
                if matches!(payload.state, State::Dropped) {
                    payload.state = State::Expected;
                }
                held.early_bytes -= std::mem::take(&mut payload.reserved_bytes);
            }
            None => {
                let payload = Payload { is_known: true, reserved_bytes: 0, state: State::Expected };
                held.tasks.insert(task, payload);
            }
        }
        if let Some(place) = held.waiting.iter().position(|waiting| waiting.task == task)
            && let Some(waiting) = held.waiting.remove(place)
        {
            // A reader that is gone says so as a broken stream.
            let _ = waiting.admit.send(Way::Host);
        }
        held.admit_waiting(self.early_bytes_max);
    }

    /// A stream begins. Its reader may go on once `admit` is sent; it is dropped when the bytes are not
    /// wanted (cancelled, or here already).
    pub(crate) fn begin(
        &mut self,
        session: SessionId,
        task: TaskId,
        size_bytes: u64,
        admit: oneshot::Sender<Way>,
    ) {
        let held = self.sessions.entry(session).or_default();
        if held.finished.contains(&task) {
            return;
        }
        let payload = held.tasks.entry(task).or_insert(Payload {
            is_known: false,
            reserved_bytes: 0,
            state: State::Expected,
        });
        match payload.state {
            State::Expected | State::Broken { .. } => {}
            State::Coming | State::Whole(_) | State::Dropped => return,
        }
        payload.state = State::Coming;
        if payload.is_known {
            let _ = admit.send(Way::Host);
            return;
        }
        let cost_bytes = size_bytes.saturating_add(EARLY_OVERHEAD_BYTES);
        held.waiting.push_back(Waiting { task, cost_bytes, admit });
        held.admit_waiting(self.early_bytes_max);
    }

    /// Whether the order for a task is here and nothing has brought its bytes yet.
    pub(crate) fn is_expected(&self, session: SessionId, task: TaskId) -> bool {
        let payload = self.sessions.get(&session).and_then(|held| held.tasks.get(&task));
        payload.is_some_and(|payload| payload.is_known && matches!(payload.state, State::Expected))
    }

    /// The bytes of a task go elsewhere as they come, until they are whole or the stream breaks.
    pub(crate) fn divert(&mut self, session: SessionId, task: TaskId) {
        if let Some(payload) = self.sessions.get_mut(&session).and_then(|held| held.tasks.get_mut(&task)) {
            payload.state = State::Coming;
        }
    }

    /// A stream's bytes are whole; whether the machine is to be told.
    pub(crate) fn complete(&mut self, session: SessionId, task: TaskId, bytes: Bytes) -> bool {
        let Some(held) = self.sessions.get_mut(&session) else { return false };
        let Some(payload) = held.tasks.get_mut(&task) else { return false };
        match payload.state {
            State::Coming => {
                payload.state = State::Whole(bytes);
                self.owners.insert(task, session);
                true
            }
            State::Dropped => {
                self.forget(session, task);
                false
            }
            State::Expected | State::Whole(_) | State::Broken { .. } => false,
        }
    }

    /// A stream broke; another one may bring the bytes until the time given.
    pub(crate) fn broke(&mut self, session: SessionId, task: TaskId, until: Timestamp, reason: String) {
        let Some(held) = self.sessions.get_mut(&session) else { return };
        held.waiting.retain(|waiting| waiting.task != task);
        if let Some(payload) = held.tasks.get_mut(&task)
            && matches!(payload.state, State::Coming)
        {
            payload.state = State::Broken { until, reason };
            held.early_bytes -= std::mem::take(&mut payload.reserved_bytes);
            held.admit_waiting(self.early_bytes_max);
        }
    }

    /// Ordered tasks whose stream broke and was not begun again in time, with the reason.
    pub(crate) fn take_lost(&mut self, now: Timestamp) -> Vec<(TaskId, String)> {
        let mut lost = Vec::new();
        for held in self.sessions.values_mut() {
            for (task, payload) in &mut held.tasks {
                if let State::Broken { until, reason } = &mut payload.state
                    && *until <= now
                    && payload.is_known
                {
                    lost.push((*task, std::mem::take(reason)));
                    payload.state = State::Dropped;
                }
            }
        }
        lost
    }

    /// Hands out the bytes of a task.
    pub(crate) fn take(&mut self, task: TaskId) -> Option<Bytes> {
        let session = self.owners.get(&task).copied()?;
        match self.forget(session, task)?.state {
            State::Whole(bytes) => Some(bytes),
            State::Expected | State::Coming | State::Broken { .. } | State::Dropped => None,
        }
    }

    /// Forgets what came or comes for a cancelled task.
    pub(crate) fn cancel(&mut self, task: TaskId) {
        let Some(session) = self.owners.get(&task).copied() else { return };
        let Some(held) = self.sessions.get_mut(&session) else { return };
        held.waiting.retain(|waiting| waiting.task != task);
        let Some(payload) = held.tasks.get_mut(&task) else { return };
        match payload.state {
            State::Whole(_) => {
                self.forget(session, task);
            }
            // Whatever comes still is thrown away; the entry stays so that it is recognised.
            State::Expected | State::Coming | State::Broken { .. } | State::Dropped => {
                payload.state = State::Dropped;
                held.early_bytes -= std::mem::take(&mut payload.reserved_bytes);
                held.admit_waiting(self.early_bytes_max);
            }
        }
    }

    /// Forgets a session.
    pub(crate) fn dismiss(&mut self, session: SessionId) {
        if let Some(held) = self.sessions.remove(&session) {
            for task in held.tasks.keys() {
                self.owners.remove(task);
            }
        }
    }

    fn forget(&mut self, session: SessionId, task: TaskId) -> Option<Payload> {
        self.owners.remove(&task);
        let held = self.sessions.get_mut(&session)?;
        let payload = held.tasks.remove(&task)?;
        held.early_bytes -= payload.reserved_bytes;
        if held.finished.insert(task) {
            held.finished_order.push_back(task);
        }
        if held.finished_order.len() > FINISHED_KEPT_MAX
            && let Some(oldest) = held.finished_order.pop_front()
        {
            held.finished.remove(&oldest);
        }
        held.admit_waiting(self.early_bytes_max);
        Some(payload)
    }
}

impl SessionPayloads {
    /// Lets waiting streams go on in order while they fit; one that alone exceeds the bound goes when
    /// nothing else is early.
    fn admit_waiting(&mut self, early_bytes_max: u64) {
        while let Some(waiting) = self.waiting.front() {
            let fits = self.early_bytes.saturating_add(waiting.cost_bytes) <= early_bytes_max;
            if !fits && self.early_bytes > 0 {
                return;
            }
            let Some(waiting) = self.waiting.pop_front() else { return };
            if let Some(payload) = self.tasks.get_mut(&waiting.task) {
                payload.reserved_bytes = waiting.cost_bytes;
                self.early_bytes = self.early_bytes.saturating_add(waiting.cost_bytes);
                let _ = waiting.admit.send(Way::Host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SESSION: SessionId = SessionId(1);
    const MAX: u64 = 1 << 20;

    fn begin(payloads: &mut Payloads, task: u64, size_bytes: u64) -> oneshot::Receiver<Way> {
        let (admit, admitted) = oneshot::channel();
        payloads.begin(SESSION, TaskId(task), size_bytes, admit);
        admitted
    }

    fn is_admitted(admitted: &mut oneshot::Receiver<Way>) -> bool {
        admitted.try_recv().is_ok()
    }

    #[test]
    fn early_bytes_are_bounded_and_orders_lift_the_bound() {
        let mut payloads = Payloads::new(MAX);
        let mut first = begin(&mut payloads, 1, MAX / 2);
        let mut second = begin(&mut payloads, 2, MAX / 2);
        let mut third = begin(&mut payloads, 3, 1);
        assert!(is_admitted(&mut first));
        assert!(!is_admitted(&mut second), "the overhead makes two halves too many");
        assert!(!is_admitted(&mut third), "streams go on in order");
        payloads.expect(SESSION, TaskId(2));
        assert!(is_admitted(&mut second));
        assert!(is_admitted(&mut third));
    }

    #[test]
    fn one_payload_above_the_bound_goes_alone() {
        let mut payloads = Payloads::new(MAX);
        let mut small = begin(&mut payloads, 1, 1);
        let mut large = begin(&mut payloads, 2, 10 * MAX);
        assert!(is_admitted(&mut small) && !is_admitted(&mut large));
        assert!(payloads.complete(SESSION, TaskId(1), Bytes::from_static(b"a")));
        assert!(!is_admitted(&mut large), "held bytes still count");
        payloads.expect(SESSION, TaskId(1));
        assert!(is_admitted(&mut large));
        assert_eq!(payloads.take(TaskId(1)).unwrap(), &b"a"[..]);
        assert!(!is_admitted(&mut begin(&mut payloads, 1, 1)), "the same bytes sent once more");
    }

    #[test]
    fn a_broken_stream_may_be_begun_again_for_a_while() {
        let mut payloads = Payloads::new(MAX);
        payloads.expect(SESSION, TaskId(1));
        assert!(is_admitted(&mut begin(&mut payloads, 1, 9)));
        payloads.broke(SESSION, TaskId(1), Timestamp(100), "cut".to_owned());
        assert_eq!(payloads.take_lost(Timestamp(99)), []);
        assert!(is_admitted(&mut begin(&mut payloads, 1, 9)));
        assert_eq!(payloads.take_lost(Timestamp(200)), []);
        payloads.broke(SESSION, TaskId(1), Timestamp(300), "cut again".to_owned());
        assert_eq!(payloads.take_lost(Timestamp(300)), [(TaskId(1), "cut again".to_owned())]);
        assert_eq!(payloads.take_lost(Timestamp(400)), []);
        assert!(!is_admitted(&mut begin(&mut payloads, 1, 9)), "the machine has given it up");
    }

    #[test]
    fn a_stream_that_broke_before_its_order_is_lost_only_after_it() {
        let mut payloads = Payloads::new(MAX);
        begin(&mut payloads, 1, 9);
        payloads.broke(SESSION, TaskId(1), Timestamp(100), "cut".to_owned());
        assert_eq!(payloads.take_lost(Timestamp(500)), []);
        payloads.expect(SESSION, TaskId(1));
        assert_eq!(payloads.take_lost(Timestamp(500)).len(), 1);
    }

    #[test]
    fn cancelled_and_doubled_payloads_are_refused() {
        let mut payloads = Payloads::new(MAX);
        payloads.expect(SESSION, TaskId(1));
        payloads.cancel(TaskId(1));
        assert!(!is_admitted(&mut begin(&mut payloads, 1, 9)));
        assert!(is_admitted(&mut begin(&mut payloads, 2, 9)));
        assert!(!is_admitted(&mut begin(&mut payloads, 2, 9)));
        assert!(payloads.complete(SESSION, TaskId(2), Bytes::from_static(b"123456789")));
        assert!(!is_admitted(&mut begin(&mut payloads, 2, 9)));
        payloads.expect(SESSION, TaskId(1));
        assert!(is_admitted(&mut begin(&mut payloads, 1, 9)), "ordered anew");
        payloads.dismiss(SESSION);
        assert_eq!(payloads.take(TaskId(2)), None);
        assert!(payloads.owners.is_empty() && payloads.sessions.is_empty());
    }
}
