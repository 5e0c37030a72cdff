//! What can be chosen about an endpoint and its connections.
//!
//! Must never hold an option that nothing reads.

use std::sync::Arc;
use std::time::Duration;

use isochrone_protocol::{FRAME_LENGTH_BYTES, Limits};

use crate::Role;
use crate::congestion::{CONTROL_PACKETS_UNACKNOWLEDGED, Congestion};
use crate::rooms::Rooms;

/// Keeps bulk on QUIC, for measuring and for those who want everything encrypted.
const NO_LOCAL_VARIABLE: &str = "ISOCHRONE_NO_LOCAL_BULK";

/// Bulk streams that a peer may open beside the control stream: what has to go while there is no second connection.
const CONTROL_BULK_STREAMS_MAX: u32 = 16;

/// The smallest datagram that every path of QUIC carries, in bytes.
const DATAGRAM_BYTES_FLOOR: u16 = 1200;

/// Probes that wait to be sent, or to be answered, in bytes: a few of nine bytes each. What is beyond it is lost.
const DATAGRAM_BUFFER_BYTES: usize = 1 << 10;

/// Options of an endpoint and of the connections that it makes. Each setter states unit, default
/// and effect. The default suits a farm on a local network and a user behind a slower line.
#[derive(Debug, Clone)]
pub struct TransportOptions {
    pub(crate) allowed_roles: Vec<Role>,
    pub(crate) limits: Limits,
    pub(crate) takes_early_data: bool,
    pub(crate) may_be_local: bool,
    /// Where contents that come are put; shared by all clones.
    pub(crate) rooms: Rooms,
    pub(crate) handshake_timeout: Duration,
    pub(crate) bulk_header_timeout: Duration,
    pub(crate) control_queue_bytes_max: usize,
    pub(crate) bulk_streams_max: u32,
    pub(crate) bulk_transfer_bytes_max: u64,
    pub(crate) socket_buffer_bytes: usize,
    pub(crate) datagram_bytes_max: u16,
    datagram_bytes_initial: u16,
    idle_timeout: Duration,
    keep_alive_interval: Duration,
    stream_window_bytes: u32,
    connection_window_bytes: Option<u64>,
    control_rate_assumed: u64,
}

impl Default for TransportOptions {
    fn default() -> Self {
        Self {
            allowed_roles: Vec::new(),
            limits: Limits::default(),
            takes_early_data: false,
            rooms: Rooms::default(),
            may_be_local: std::env::var_os(NO_LOCAL_VARIABLE).is_none_or(|value| value.is_empty()),
            handshake_timeout: Duration::from_secs(5),
            bulk_header_timeout: Duration::from_secs(5),
            control_queue_bytes_max: 16 << 20,
            bulk_streams_max: 64,
            bulk_transfer_bytes_max: 16 << 30,
            socket_buffer_bytes: 4 << 20,
            datagram_bytes_max: 6500,
            datagram_bytes_initial: DATAGRAM_BYTES_FLOOR,
            idle_timeout: Duration::from_secs(10),
            keep_alive_interval: Duration::from_secs(2),
            stream_window_bytes: 4 << 20,
            connection_window_bytes: None,
            control_rate_assumed: 100_000_000,
        }
    }
}

impl TransportOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Roles that are served: others are refused after the handshake, with
    /// [`CloseCode::RoleRefused`](crate::CloseCode::RoleRefused). Default: none, and then the
    /// endpoint does not answer at all; it can only dial.
    pub fn allowed_roles(&mut self, roles: &[Role]) -> &mut Self {
        self.allowed_roles = roles.to_vec();
        self
    }

    /// Bounds on frames, see [`Limits`]. Should be the same in the whole farm.
    pub fn limits(&mut self, limits: Limits) -> &mut Self {
        self.limits = limits;
        self
    }

    /// Whether messages that a peer sends in its first packets, when it resumes a session, are received before
    /// the handshake is complete; default no, and then they are received after it. Who says yes looks at
    /// [`Connection::is_confirmed`](crate::Connection::is_confirmed) before acting on any message that does
    /// something.
    pub fn takes_early_data(&mut self, takes: bool) -> &mut Self {
        self.takes_early_data = takes;
        self
    }

    /// Whether bulk streams go through shared memory (or local sockets) where the other process is the same user's on the same
    /// machine and nothing stands between the two; default yes, unless the environment variable
    /// `ISOCHRONE_NO_LOCAL_BULK` is set to anything. They are several times as fast there, and not encrypted.
    pub fn local_bulk(&mut self, may_be_local: bool) -> &mut Self {
        self.may_be_local = may_be_local;
        self
    }

    /// Longest time from the first datagram until the preambles are exchanged; default 5 s.
    /// A peer that takes longer is given up.
    pub fn handshake_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Longest time from the opening of a bulk stream until its header is there; default 5 s.
    /// A stream that takes longer is stopped; the connection goes on.
    pub fn bulk_header_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.bulk_header_timeout = timeout;
        self
    }

    /// A connection is lost when nothing came for this long; default 10 s, at least 1 ms. The
    /// smaller value of both sides counts.
    pub fn idle_timeout(&mut self, timeout: Duration) -> &mut Self {
        self.idle_timeout = timeout.max(Duration::from_millis(1));
        self
    }

    /// An idle connection sends something this often; default 2 s. Must be well below both
    /// sides' idle timeout; also keeps the state of address translators alive.
    pub fn keep_alive_interval(&mut self, interval: Duration) -> &mut Self {
        self.keep_alive_interval = interval;
        self
    }

    /// Most bytes of one stream that the peer may send before they are read; default 4 MiB. One
    /// stream goes no faster than this for each round trip (4 MiB at 40 ms: 100 MiB/s).
    pub fn stream_window_bytes(&mut self, bytes: u32) -> &mut Self {
        self.stream_window_bytes = bytes.max(1);
        self
    }

    /// Most bytes of all streams of a connection that the peer may send before they are read, and
    /// that this side keeps until the peer has acknowledged them. Bounds what one peer can make
    /// this process hold. Default: so large that bulk streams which nobody reads can never keep
    /// others waiting, that is 8/7 of (bulk streams + 1) times the window of a stream, 297 MiB with
    /// the other defaults (and 78 MiB for the connection with the control stream, where few bulk
    /// streams go). A smaller value gives up that promise; prefer fewer bulk streams.
    pub fn connection_window_bytes(&mut self, bytes: u64) -> &mut Self {
        self.connection_window_bytes = Some(bytes.max(1));
        self
    }

    /// The rate that messages are assumed to find on any path of the farm, in bytes a second; default 100 MB/s, a
    /// gigabit network. What it carries in one round trip, from 64 KiB to 4 MiB, may be under way before the peer has
    /// acknowledged anything, so that a large graph does not wait for QUIC's slow start; a loss takes that back for ten
    /// seconds. 0 leaves it to slow start: for farms on thin or shared lines.
    pub fn control_rate_assumed(&mut self, bytes_per_second: u64) -> &mut Self {
        self.control_rate_assumed = bytes_per_second;
        self
    }

    /// Most bulk streams that a peer may have open at once; default 64. Others wait in
    /// [`open_bulk`](crate::Connection::open_bulk). Zero allows none. Where a peer has no second
    /// connection, 16 at most.
    pub fn bulk_streams_max(&mut self, streams: u32) -> &mut Self {
        self.bulk_streams_max = streams;
        self
    }

    /// Largest transfer that [`receive_exact`](crate::BulkReceiver::receive_exact) makes a buffer
    /// for, in bytes; default 16 GiB.
    pub fn bulk_transfer_bytes_max(&mut self, bytes: u64) -> &mut Self {
        self.bulk_transfer_bytes_max = bytes;
        self
    }

    /// Most bytes of memory that are kept for contents to come, after those that were in it are gone; default 2 GiB. Memory that was
    /// not used for some six seconds is not kept any longer. 0 keeps none: every large transfer then waits for fresh memory.
    pub fn rooms_kept_bytes_max(&mut self, bytes: usize) -> &mut Self {
        self.rooms = Rooms::keeping(bytes);
        self
    }

    /// Most bytes of messages that wait on this side for a slow peer; default 16 MiB, at least
    /// one frame. Beyond it sending gives [`SendError::Full`](crate::SendError::Full).
    pub fn control_queue_bytes_max(&mut self, bytes: usize) -> &mut Self {
        self.control_queue_bytes_max = bytes;
        self
    }

    /// Largest datagram that this side looks for on a path and takes from a peer, in bytes of UDP
    /// payload; default 6,500, from 1,200 to 65,527. Paths are probed after the handshake. 6,500
    /// doubles the rate of bulk on paths that carry it (loopback, jumbo frames) and lets ten datagrams share one
    /// system call. On a path of 1,500 bytes the first probes, of 3,850 bytes, are lost, and fill a part of the first
    /// windows meanwhile: bare quinn, with a first window of 12,000 bytes, took 25 % longer for 64 KiB over 100 ms.
    pub fn datagram_bytes_max(&mut self, bytes: u16) -> &mut Self {
        self.datagram_bytes_max = bytes.clamp(DATAGRAM_BYTES_FLOOR, 65_527);
        self
    }

    /// Size of datagrams before a path was probed, in bytes of UDP payload; default and minimum
    /// 1,200, which every path carries. 1,452 spares a few probes on a plain Ethernet, but cannot
    /// connect through most tunnels.
    pub fn datagram_bytes_initial(&mut self, bytes: u16) -> &mut Self {
        self.datagram_bytes_initial = bytes.clamp(DATAGRAM_BYTES_FLOOR, 65_527);
        self
    }

    /// Size of the socket's send and receive buffers in bytes; default 4 MiB. The operating
    /// system may grant less (on Linux see `net.core.rmem_max`); bursts beyond it are lost and
    /// sent again.
    pub fn socket_buffer_bytes(&mut self, bytes: usize) -> &mut Self {
        self.socket_buffer_bytes = bytes;
        self
    }

    /// Room for messages that wait, in bytes: one frame always fits.
    pub(crate) fn control_queue_bytes(&self) -> usize {
        self.control_queue_bytes_max.max(self.limits.control_frame_bytes_max + FRAME_LENGTH_BYTES)
    }

    /// The window of a connection in which `streams` bulk streams that nobody reads leave a stream's window
    /// to others. QUIC renews a connection's credit only when an eighth of it was
    /// read, so that up to an eighth can be missing: seven eighths must hold all streams.
    fn unblocked_window_bytes(&self, streams: u32) -> u64 {
        let streams = u64::from(streams) + 1;
        (u64::from(self.stream_window_bytes) * streams).saturating_mul(8) / 7 + 8
    }

    /// QUIC's own configuration, for connections with a control stream in which the peer may open
    /// `peer_control_streams_max` bidirectional streams.
    pub(crate) fn quinn(
        &self,
        peer_control_streams_max: u32,
        congestion: &Congestion,
    ) -> quinn::TransportConfig {
        let bulk_streams_max = self.bulk_streams_max.min(CONTROL_BULK_STREAMS_MAX);
        let mut transport =
            self.quinn_with(bulk_streams_max, &congestion.for_control(self.control_rate_assumed));
        let mut acknowledgements = quinn::AckFrequencyConfig::default();
        acknowledgements.ack_eliciting_threshold(CONTROL_PACKETS_UNACKNOWLEDGED.into());
        transport
            .max_concurrent_bidi_streams(peer_control_streams_max.into())
            .ack_frequency_config(Some(acknowledgements));
        transport
    }

    /// QUIC's own configuration, for connections that carry bulk streams alone.
    pub(crate) fn quinn_bulk(&self, congestion: &Congestion) -> quinn::TransportConfig {
        // One more for the proof that it belongs to a connection.
        let mut transport = self.quinn_with(self.bulk_streams_max.saturating_add(1), &congestion.for_bulk());
        transport.max_concurrent_bidi_streams(0_u32.into());
        transport
    }

    fn quinn_with(&self, bulk_streams_max: u32, congestion: &Congestion) -> quinn::TransportConfig {
        let unblocked = self.unblocked_window_bytes(bulk_streams_max);
        let window = self.connection_window_bytes.unwrap_or(unblocked);
        // Out of range only beyond 2^62: no limit then.
        let variable = |value: u64| quinn::VarInt::from_u64(value).unwrap_or(quinn::VarInt::MAX);
        let idle_milliseconds = u64::try_from(self.idle_timeout.as_millis()).unwrap_or(u64::MAX);
        let mut discovery = quinn::MtuDiscoveryConfig::default();
        discovery.upper_bound(self.datagram_bytes_max.max(self.datagram_bytes_initial));
        let mut transport = quinn::TransportConfig::default();
        transport
            .max_concurrent_uni_streams(bulk_streams_max.into())
            .max_idle_timeout(Some(variable(idle_milliseconds).into()))
            .keep_alive_interval(Some(self.keep_alive_interval))
            .stream_receive_window(self.stream_window_bytes.into())
            .receive_window(variable(window))
            // What waits for acknowledgement must not keep the control stream waiting either.
            .send_window(window)
            .initial_mtu(self.datagram_bytes_initial)
            .mtu_discovery_config(Some(discovery))
            // Probes of the path alone: see `meter`.
            .datagram_receive_buffer_size(Some(DATAGRAM_BUFFER_BYTES))
            .datagram_send_buffer_size(DATAGRAM_BUFFER_BYTES)
            .congestion_controller_factory(Arc::new(congestion.clone()));
        transport
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_always_fits_the_queue() {
        let mut options = TransportOptions::new();
        options.control_queue_bytes_max(1);
        assert_eq!(options.control_queue_bytes(), (4 << 20) + 4);
    }

    #[test]
    fn sizes_of_datagrams_are_kept_in_range() {
        let mut options = TransportOptions::new();
        options.datagram_bytes_max(10).datagram_bytes_initial(u16::MAX);
        assert_eq!(options.datagram_bytes_max, 1200);
        assert_eq!(options.datagram_bytes_initial, 65_527);
    }
}
