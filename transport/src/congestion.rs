//! The congestion controllers: quinn's CUBIC with a head start for control and one that keeps queues short for bulk, neither of
//! which ever holds back the word that a connection has ended.
//!
//! quinn (quinn-proto 0.11, `Connection::poll_transmit`) lets a closing wait for room in the congestion window
//! when anything else was still to be sent. A closed connection takes no acknowledgements, so that there never
//! is room: the peer would not be told at all. Whoever closes a connection opens its window first. It also sees each
//! acknowledgement, and keeps the round trips that they tell. Must never change how data is sent on a connection that
//! goes on.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, CubicConfig};
use quinn_proto::RttEstimator;

use crate::head_start::HeadStart;
use crate::short_queue::BulkController;

/// A window that nothing fills; beyond 32 bits quinn does not pace either.
const OPEN_WINDOW_BYTES: u64 = 1 << 40;

/// Packets of messages that a peer may leave without an acknowledgement, for 25 ms at most. QUIC's own is one, and an acknowledgement that
/// goes alone costs both ends as much as a message; most travel with what goes the other way. What overtakes is told of at once as ever.
pub(crate) const CONTROL_PACKETS_UNACKNOWLEDGED: u32 = 7;
/// The same of bulk: QUIC's own.
const BULK_PACKETS_UNACKNOWLEDGED: u32 = 1;

/// Round trips that are kept until they are taken; older ones give way.
const ROUND_TRIPS_MAX: usize = 16;

/// Round trips that acknowledgements have told, at most one for each round trip.
#[derive(Debug, Default)]
pub(crate) struct AckLog(Mutex<VecDeque<Duration>>);

impl AckLog {
    /// Those since the last call.
    pub(crate) fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }

    fn push(&self, round_trip: Duration) {
        let mut round_trips = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if round_trips.len() == ROUND_TRIPS_MAX {
            round_trips.pop_front();
        }
        round_trips.push_back(round_trip);
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Purpose {
    #[default]
    Control,
    Bulk,
}

/// Makes the controllers of an endpoint's connections. Clones share the endpoint's end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Congestion {
    purpose: Purpose,
    /// That messages are assumed to find free, in bytes a second.
    control_rate: u64,
    /// Whether the whole endpoint is closing.
    is_ending: Arc<AtomicBool>,
}

impl Congestion {
    /// The same endpoint's controllers for connections that carry bulk alone.
    pub(crate) fn for_bulk(&self) -> Self {
        Self { purpose: Purpose::Bulk, ..self.clone() }
    }

    /// The same endpoint's controllers for connections with messages, on paths that are assumed to carry so many bytes a
    /// second.
    pub(crate) fn for_control(&self, bytes_per_second: u64) -> Self {
        Self { purpose: Purpose::Control, control_rate: bytes_per_second, ..self.clone() }
    }

    /// Opens the windows of all connections; to be called just before the endpoint is closed.
    pub(crate) fn open_all(&self) {
        self.is_ending.store(true, Ordering::Release);
    }

    /// Opens the window of a connection; to be called just before it is closed.
    pub(crate) fn open(connection: &quinn::Connection) {
        if let Ok(controller) = connection.congestion_state().into_any().downcast::<UntilClosed>() {
            controller.is_closing.store(true, Ordering::Release);
        }
    }
}

impl Congestion {
    /// Where a connection's acknowledgements leave their round trips.
    pub(crate) fn ack_log(connection: &quinn::Connection) -> Option<Arc<AckLog>> {
        let controller = connection.congestion_state().into_any().downcast::<UntilClosed>().ok()?;
        Some(controller.log.clone())
    }
}

impl ControllerFactory for Congestion {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner: Box<dyn Controller> = match self.purpose {
            Purpose::Control => {
                let cubic = Arc::new(CubicConfig::default()).build(now, current_mtu);
                Box::new(HeadStart::new(cubic, self.control_rate))
            }
            Purpose::Bulk => Box::new(BulkController::new(now, current_mtu)),
        };
        Box::new(UntilClosed {
            inner,
            is_closing: Arc::default(),
            is_ending: self.is_ending.clone(),
            log: Arc::default(),
            acked_at_once: 1 + match self.purpose {
                Purpose::Control => CONTROL_PACKETS_UNACKNOWLEDGED,
                Purpose::Bulk => BULK_PACKETS_UNACKNOWLEDGED,
            },
            acked: 0,
            last_sent: None,
            logged_at: None,
        })
    }
}

/// A controller until the connection is closed, and nothing from then on.
struct UntilClosed {
    inner: Box<dyn Controller>,
    /// Shared by all clones, one of which a path of the connection uses.
    is_closing: Arc<AtomicBool>,
    is_ending: Arc<AtomicBool>,
    /// Shared by all clones, too.
    log: Arc<AckLog>,
    /// An acknowledgement of so many datagrams is sent as soon as the last of them is there. One of fewer may have waited
    /// for up to 25 ms for another, and tells no round trip.
    acked_at_once: u32,
    /// Datagrams of the acknowledgement under way, and when the last of them was sent.
    acked: u32,
    last_sent: Option<Instant>,
    logged_at: Option<Instant>,
}

impl UntilClosed {
    /// An acknowledgement was taken in whole.
    fn end_of_acks(&mut self, now: Instant) {
        let acked = std::mem::take(&mut self.acked);
        let Some(sent) = self.last_sent.take() else { return };
        let round_trip = now.saturating_duration_since(sent);
        let is_due = self.logged_at.is_none_or(|at| now.saturating_duration_since(at) >= round_trip);
        if acked >= self.acked_at_once && is_due {
            self.logged_at = Some(now);
            self.log.push(round_trip);
        }
    }
}

impl Controller for UntilClosed {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
        self.acked += 1;
        self.last_sent = self.last_sent.max(Some(sent));
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
        self.end_of_acks(now);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.is_closing.load(Ordering::Acquire) || self.is_ending.load(Ordering::Acquire) {
            OPEN_WINDOW_BYTES
        } else {
            self.inner.window()
        }
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            is_closing: self.is_closing.clone(),
            is_ending: self.is_ending.clone(),
            log: self.log.clone(),
            acked_at_once: self.acked_at_once,
            acked: 0,
            last_sent: None,
            logged_at: None,
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
