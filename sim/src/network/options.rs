//! Labels of networks, and the options of the `quic` model.

use std::collections::BTreeMap;
use std::str::FromStr;

use isochrone_link::{IP_OVERHEAD_BYTES, UNLIMITED};
use isochrone_model::{BytesPerSecond, Span};

use super::NetworkError;
use super::window::Controller;

/// `name` or `name(key=value, ...)`.
pub(super) struct Label {
    pub name: String,
    parameters: BTreeMap<String, String>,
}

/// What `isochrone calibrate` writes. Only `quic` is read: its keys are the parameters of that model.
#[derive(serde::Deserialize)]
struct CalibrationFile {
    quic: BTreeMap<String, toml::Value>,
}

impl Label {
    pub fn parse(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed { label: text.to_owned() };
        let text = text.trim();
        let (name, rest) = text.split_once('(').unwrap_or((text, ")"));
        let rest = rest.strip_suffix(')').ok_or_else(malformed)?;
        let mut parameters = BTreeMap::new();
        for pair in rest.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(malformed)?;
            if parameters.insert(key.trim().to_owned(), value.trim().to_owned()).is_some() {
                return Err(malformed());
            }
        }
        let name = name.trim().to_owned();
        if name.is_empty() { Err(malformed()) } else { Ok(Self { name, parameters }) }
    }

    /// With what the file of a parameter `calibration` says, if there is one, of parameters that are not given here.
    pub fn calibrated(mut self) -> Result<Self, NetworkError> {
        let Some(path) = self.parameters.remove("calibration") else { return Ok(self) };
        let text = std::fs::read_to_string(&path).map_err(|error| NetworkError::CalibrationUnreadable {
            path: path.clone(),
            kind: error.kind(),
        })?;
        let file: CalibrationFile = toml::from_str(&text)
            .map_err(|source| NetworkError::Calibration { path: path.clone(), source: Box::new(source) })?;
        for (parameter, value) in file.quic {
            self.parameters.entry(parameter).or_insert_with(|| value.to_string());
        }
        Ok(self)
    }

    /// Refuses parameters beside these.
    pub fn only(&self, known: &[&str]) -> Result<(), NetworkError> {
        match self.parameters.keys().find(|parameter| !known.contains(&parameter.as_str())) {
            None => Ok(()),
            Some(parameter) => Err(NetworkError::UnknownParameter {
                model: self.name.clone(),
                parameter: parameter.clone(),
                known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
            }),
        }
    }

    fn get<T: FromStr>(
        &self,
        parameter: &str,
        into: &mut T,
        expected: &'static str,
        is_right: impl Fn(&T) -> bool,
    ) -> Result<(), NetworkError> {
        let Some(value) = self.parameters.get(parameter) else {
            return Ok(());
        };
        *into = value.parse().ok().filter(is_right).ok_or_else(|| NetworkError::Value {
            model: self.name.clone(),
            parameter: parameter.to_owned(),
            value: value.clone(),
            expected,
        })?;
        Ok(())
    }
}

/// Which connections exist at the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warm {
    /// Those with the scheduler: agents and the client have joined before a graph arrives.
    Control,
    /// All.
    All,
    /// None.
    None,
}

impl FromStr for Warm {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "control" => Ok(Self::Control),
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => Err(()),
        }
    }
}

/// What can be chosen about [`Quic`](super::Quic). Each can be given in its label under the name of the field.
#[derive(Clone, Debug, PartialEq)]
pub struct QuicOptions {
    /// Round trips before the first byte on a new connection: 3. One is QUIC's own (TLS 1.3); one is the exchange of
    /// preambles, for which this repository's `transport/src/endpoint.rs` (`dial`) waits; one is the handshake of the second connection, on
    /// which contents go (`transport/src/bulk_link.rs`). No 0-RTT (ARCHITECTURE.md).
    pub handshake_round_trips: u64,
    /// What a handshake costs beyond round trips, in microseconds: 700, as measured for mutual TLS with quinn 0.11 and rustls
    /// 0.23 over loopback (720 us with the round trip).
    pub handshake_us: f64,
    /// How long of that it keeps an end's processors busy, in microseconds: another handshake that the end makes meanwhile begins so much
    /// later. 0, as though processors were without number; `isochrone calibrate` measures it.
    pub handshake_turn_us: f64,
    /// Bytes of the first window: 57,600, which contents begin with here (48 datagrams, `transport/src/short_queue.rs`). Bare quinn has 12,000
    /// (quinn-proto `CubicConfig::default`).
    pub initial_window_bytes: u64,
    /// Size of datagrams until the path was probed: 1,200 (`transport/src/options.rs`, quinn's `INITIAL_MTU`).
    pub datagram_bytes_initial: u64,
    /// Size of datagrams afterwards: 1,466, what quinn's search (quinn-proto `src/connection/mtud.rs`) from 1,200 to 6,500
    /// (`transport/src/options.rs`) finds on a path of 1,500 bytes.
    pub datagram_bytes: u64,
    /// Round trips that the search takes: 21, one for each of 3 probes that pass and for 3 tries of each of 6 that are too large.
    pub discovery_round_trips: u64,
    /// Bytes in each datagram that are not contents: 37 (QUIC's short header, packet number, tag and stream frame).
    pub quic_overhead_bytes: u64,
    /// Bytes around each datagram: 28 (UDP and IPv4).
    pub ip_overhead_bytes: u64,
    /// Most of one stream that may be on its way: 4 MiB (`transport/src/options.rs`).
    pub stream_window_bytes: u64,
    /// Most of a connection that may be on its way: 8/7 of 65 streams' windows (the same).
    pub connection_window_bytes: u64,
    /// The pacer's rate in windows a round trip: 1.25 (quinn-proto `src/connection/pacing.rs`); 0 turns it off.
    pub pacing: f64,
    /// How late the pacer is each time it waits for a full bucket, in microseconds: 500, half a tick of tokio's timers.
    pub timer_us: f64,
    /// What hosts add to each round trip of a window, in microseconds (processing, acknowledgements that wait for a second datagram): 0.
    pub acknowledgement_us: f64,
    /// What the bottleneck's buffer holds, in bandwidth x round trip: 1, an estimate.
    pub buffer: f64,
    /// What a message costs beyond its latency, in microseconds: 76. A no-op launch passes four hops and takes 349.4 us, 44.2 of
    /// them in OpenCL (`results/baseline/live.md`).
    pub message_us: f64,
    /// The same for a transfer (its header, a stream of its own, the hand-over between tasks): 76, an estimate.
    pub transfer_us: f64,
    /// What the scheduler's processor takes for each task that it orders, in microseconds: 0, as though it were without end;
    /// `isochrone calibrate` measures it.
    pub scheduler_task_us: f64,
    /// The same of an agent for each task that it runs.
    pub agent_task_us: f64,
    /// What the hosts' processors move at most, for each transfer, in bytes of datagrams a second; 0, the default, for no limit. On
    /// one machine, where links are emulated, this is what limits.
    pub rate_bytes_per_second: u64,
    /// A connection that was not used for so many milliseconds is gone, its window with it. 0 is never: the transport
    /// keeps connections alive (every 2 s of an idle timeout of 10).
    pub idle_ms: u64,
    /// Which connections exist at the start: `control`.
    pub warm: Warm,
    /// What controls the windows: `short-queue`, as the farm's bulk connections have it; `cubic` is bare quinn.
    pub controller: Controller,
}

impl Default for QuicOptions {
    fn default() -> Self {
        Self {
            handshake_round_trips: 3,
            handshake_us: 700.0,
            handshake_turn_us: 0.0,
            initial_window_bytes: 57_600,
            datagram_bytes_initial: 1_200,
            datagram_bytes: 1_466,
            discovery_round_trips: 21,
            quic_overhead_bytes: 37,
            ip_overhead_bytes: IP_OVERHEAD_BYTES,
            stream_window_bytes: 4 << 20,
            connection_window_bytes: (65 * (4 << 20)) * 8 / 7 + 8,
            pacing: 1.25,
            timer_us: 500.0,
            acknowledgement_us: 0.0,
            buffer: 1.0,
            message_us: 76.0,
            transfer_us: 76.0,
            scheduler_task_us: 0.0,
            agent_task_us: 0.0,
            rate_bytes_per_second: 0,
            idle_ms: 0,
            warm: Warm::Control,
            controller: Controller::ShortQueue,
        }
    }
}

const KNOWN: &[&str] = &[
    "handshake_round_trips",
    "handshake_us",
    "handshake_turn_us",
    "initial_window_bytes",
    "datagram_bytes_initial",
    "datagram_bytes",
    "discovery_round_trips",
    "quic_overhead_bytes",
    "ip_overhead_bytes",
    "stream_window_bytes",
    "connection_window_bytes",
    "pacing",
    "timer_us",
    "acknowledgement_us",
    "buffer",
    "message_us",
    "transfer_us",
    "scheduler_task_us",
    "agent_task_us",
    "rate_bytes_per_second",
    "idle_ms",
    "warm",
    "controller",
];

impl QuicOptions {
    /// The options of a label.
    pub(super) fn read(label: &Label) -> Result<Self, NetworkError> {
        label.only(KNOWN)?;
        let mut options = Self::default();
        let micros = "microseconds, not negative and at most a minute";
        let is_micros = |value: &f64| (0.0..=60e6).contains(value);
        let bytes = "a number of bytes from 1 to 2^40";
        let is_bytes = |value: &u64| (1..=1 << 40).contains(value);
        let datagram = "a number of bytes from 1200 to 65527";
        let is_datagram = |value: &u64| (1_200..=65_527).contains(value);
        let overhead = "a number of bytes up to 1000";
        label.get(
            "handshake_round_trips",
            &mut options.handshake_round_trips,
            "a number up to 100",
            |n| *n <= 100,
        )?;
        label.get("handshake_us", &mut options.handshake_us, micros, is_micros)?;
        label.get("handshake_turn_us", &mut options.handshake_turn_us, micros, is_micros)?;
        label.get("initial_window_bytes", &mut options.initial_window_bytes, bytes, is_bytes)?;
        label.get("datagram_bytes_initial", &mut options.datagram_bytes_initial, datagram, is_datagram)?;
        label.get("datagram_bytes", &mut options.datagram_bytes, datagram, is_datagram)?;
        label.get(
            "discovery_round_trips",
            &mut options.discovery_round_trips,
            "a number up to 1000",
            |n| *n <= 1000,
        )?;
        label.get("quic_overhead_bytes", &mut options.quic_overhead_bytes, overhead, |n| *n <= 1000)?;
        label.get("ip_overhead_bytes", &mut options.ip_overhead_bytes, overhead, |n| *n <= 1000)?;
        label.get("stream_window_bytes", &mut options.stream_window_bytes, bytes, is_bytes)?;
        label.get("connection_window_bytes", &mut options.connection_window_bytes, bytes, is_bytes)?;
        let pacing = "0, or a number from 1 to 100";
        label.get("pacing", &mut options.pacing, pacing, |n| *n == 0.0 || (1.0..=100.0).contains(n))?;
        label.get("buffer", &mut options.buffer, "a number from 0 to 100", |n| (0.0..=100.0).contains(n))?;
        label.get("timer_us", &mut options.timer_us, micros, is_micros)?;
        label.get("acknowledgement_us", &mut options.acknowledgement_us, micros, is_micros)?;
        label.get("message_us", &mut options.message_us, micros, is_micros)?;
        label.get("transfer_us", &mut options.transfer_us, micros, is_micros)?;
        label.get("scheduler_task_us", &mut options.scheduler_task_us, micros, is_micros)?;
        label.get("agent_task_us", &mut options.agent_task_us, micros, is_micros)?;
        let rate = "0, or a rate in bytes a second up to 2^50";
        label.get("rate_bytes_per_second", &mut options.rate_bytes_per_second, rate, |n| *n <= 1 << 50)?;
        label.get("idle_ms", &mut options.idle_ms, "a number of milliseconds", |n| *n <= 1 << 40)?;
        label.get("warm", &mut options.warm, "control, all or none", |_| true)?;
        label.get("controller", &mut options.controller, "short-queue or cubic", |_| true)?;
        Ok(options)
    }

    /// What a transfer reaches at most, whatever its links.
    pub(super) fn rate_max(&self) -> BytesPerSecond {
        match self.rate_bytes_per_second {
            0 => UNLIMITED,
            rate => BytesPerSecond(rate),
        }
    }

    pub(super) fn handshake(&self, round_trip: Span) -> Span {
        round_trip.saturating_mul(self.handshake_round_trips) + micros(self.handshake_us)
    }
}

pub(super) fn micros(value: f64) -> Span {
    Span((value * 1e3 + 0.5) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SearchState::next_mtu_to_probe` of quinn-proto 0.11.19, on a path that carries `path` bytes of UDP payload: what it finds, and
    /// how many probes it sends, one after the other.
    fn search(path: i64, mut upper: i64) -> (i64, u64) {
        let (mut lower, mut last, mut probes) = (1_200, 1_200, 0);
        loop {
            let middle = (lower + upper) / 2;
            let next = if (middle - last).abs() >= 20 {
                middle
            } else if upper - last >= 20 {
                upper
            } else {
                return (lower, probes);
            };
            last = next;
            if next <= path {
                (lower, probes) = (next, probes + 1);
            } else {
                (upper, probes) = (next - 1, probes + 3);
            }
        }
    }

    #[test]
    fn the_default_datagram_is_what_quinn_finds_on_an_ethernet() {
        let options = QuicOptions::default();
        assert_eq!(search(1_472, 6_500), (options.datagram_bytes as i64, options.discovery_round_trips));
    }

    #[test]
    fn every_option_can_be_given_in_a_label() {
        for known in KNOWN {
            let value = match *known {
                "warm" => "none",
                "controller" => "cubic",
                "datagram_bytes" | "datagram_bytes_initial" => "1300",
                _ => "5",
            };
            let label = Label::parse(&format!("quic({known}={value})")).unwrap();
            assert_ne!(QuicOptions::read(&label).unwrap(), QuicOptions::default(), "{known}");
        }
        let plain = Label::parse("quic").unwrap();
        assert_eq!(QuicOptions::read(&plain).unwrap(), QuicOptions::default());
    }

    #[test]
    fn a_calibration_file_gives_what_the_label_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("here.toml");
        std::fs::write(&path, "[quic]\nmessage_us = 12.5\ntransfer_us = 40\n[measured]\nno_op_us = 3\n")
            .unwrap();
        let read = |label: &str| QuicOptions::read(&Label::parse(label)?.calibrated()?);
        let label = format!("quic(calibration={},transfer_us=7)", path.display());
        let expected = QuicOptions { message_us: 12.5, transfer_us: 7.0, ..QuicOptions::default() };
        assert_eq!(read(&label), Ok(expected));
        std::fs::write(&path, "[quic]\nmessage_us = -1\n").unwrap();
        assert!(matches!(read(&label), Err(NetworkError::Value { .. })));
        std::fs::write(&path, "[quic]\nfast = 1\n").unwrap();
        assert!(matches!(read(&label), Err(NetworkError::UnknownParameter { .. })));
        std::fs::write(&path, "quic = 1").unwrap();
        assert!(matches!(read(&label), Err(NetworkError::Calibration { .. })));
        let missing = read("quic(calibration=no/such/file)");
        assert!(matches!(missing, Err(NetworkError::CalibrationUnreadable { .. })));
    }
}
