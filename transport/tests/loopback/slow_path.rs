//! A path with a rate, a delay and a queue, between any number of clients and a server.

#![expect(clippy::disallowed_methods, reason = "a path takes time")]

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use crate::farm::any_port;

const DATAGRAM_BYTES_MAX: usize = 1 << 16;
const POLL: Duration = Duration::from_millis(100);

/// How each direction of a path behaves.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub bytes_per_second: u64,
    pub delay: Duration,
    /// What may wait for its turn; more is lost.
    pub queue_bytes: u64,
}

/// One direction: datagrams leave at the rate, and arrive the delay later.
struct Direction {
    shape: Shape,
    state: Mutex<Queue>,
    changed: Condvar,
    lost: AtomicU64,
}

struct Queue {
    free_at: Instant,
    waiting: VecDeque<Waiting>,
}

/// A datagram on its way.
struct Waiting {
    due: Instant,
    through: Arc<UdpSocket>,
    /// `None` through a connected socket.
    to: Option<SocketAddr>,
    datagram: Vec<u8>,
}

impl Direction {
    fn new(shape: Shape) -> Arc<Self> {
        let queue = Queue { free_at: Instant::now(), waiting: VecDeque::new() };
        Arc::new(Self { shape, state: Mutex::new(queue), changed: Condvar::new(), lost: AtomicU64::new(0) })
    }

    fn take(&self, through: &Arc<UdpSocket>, to: Option<SocketAddr>, datagram: &[u8]) {
        let now = Instant::now();
        let mut queue = self.state.lock().unwrap();
        let busy = queue.free_at.saturating_duration_since(now);
        let queued_bytes = busy.as_nanos() as u64 * self.shape.bytes_per_second / 1_000_000_000;
        if queued_bytes + datagram.len() as u64 > self.shape.queue_bytes {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let nanos = datagram.len() as u64 * 1_000_000_000 / self.shape.bytes_per_second;
        queue.free_at = queue.free_at.max(now) + Duration::from_nanos(nanos);
        let due = queue.free_at + self.shape.delay;
        queue.waiting.push_back(Waiting { due, through: through.clone(), to, datagram: datagram.to_vec() });
        self.changed.notify_one();
    }

    fn deliver(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let mut queue = self.state.lock().unwrap();
            let Some(Waiting { due, .. }) = queue.waiting.front() else {
                drop(self.changed.wait_timeout(queue, POLL).unwrap());
                continue;
            };
            let wait = due.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                drop(queue);
                std::thread::sleep(wait);
                continue;
            }
            let Some(Waiting { through, to, datagram, .. }) = queue.waiting.pop_front() else { continue };
            drop(queue);
            // A side that has gone takes nothing.
            let _ = match to {
                Some(to) => through.send_to(&datagram, to),
                None => through.send(&datagram),
            };
        }
    }
}

/// The path; its threads end when it is dropped.
pub struct SlowPath {
    /// Where clients find the server.
    pub address: SocketAddr,
    to_server: Arc<Direction>,
    recorded: Arc<Mutex<Option<Vec<Vec<u8>>>>>,
    stop: Arc<AtomicBool>,
}

impl SlowPath {
    pub fn to(server: SocketAddr, shape: Shape) -> Self {
        let near = Arc::new(UdpSocket::bind(any_port()).expect("bound"));
        let address = near.local_addr().expect("bound");
        let (to_server, to_clients) = (Direction::new(shape), Direction::new(shape));
        let stop = Arc::new(AtomicBool::new(false));
        for direction in [&to_server, &to_clients] {
            let (direction, stop) = (direction.clone(), stop.clone());
            std::thread::spawn(move || direction.deliver(&stop));
        }
        let (direction, stopped) = (to_server.clone(), stop.clone());
        let recorded: Arc<Mutex<Option<Vec<Vec<u8>>>>> = Arc::default();
        let recording = recorded.clone();
        std::thread::spawn(move || {
            let mut far_ends: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
            let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
            near.set_read_timeout(Some(POLL)).expect("a timeout");
            while !stopped.load(Ordering::Relaxed) {
                let Ok((bytes, from)) = near.recv_from(&mut datagram) else { continue };
                let far = far_ends.entry(from).or_insert_with(|| {
                    let far = Arc::new(UdpSocket::bind(any_port()).expect("bound"));
                    far.connect(server).expect("connected");
                    let ends = (far.clone(), near.clone(), to_clients.clone(), stopped.clone());
                    std::thread::spawn(move || pass_back(&ends.0, &ends.1, from, &ends.2, &ends.3));
                    far
                });
                if let Some(recorded) = &mut *recording.lock().unwrap() {
                    recorded.push(datagram[..bytes].to_vec());
                }
                direction.take(far, None, &datagram[..bytes]);
            }
        });
        Self { address, to_server, recorded, stop }
    }

    /// Keeps what goes to the server from here on.
    pub fn record(&self) {
        *self.recorded.lock().unwrap() = Some(Vec::new());
    }

    /// What was kept.
    pub fn recorded(&self) -> Vec<Vec<u8>> {
        self.recorded.lock().unwrap().take().unwrap_or_default()
    }

    /// Datagrams to the server for which there was no room.
    pub fn lost(&self) -> u64 {
        self.to_server.lost.load(Ordering::Relaxed)
    }
}

fn pass_back(
    far: &UdpSocket,
    near: &Arc<UdpSocket>,
    client: SocketAddr,
    direction: &Direction,
    stop: &AtomicBool,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    far.set_read_timeout(Some(POLL)).expect("a timeout");
    while !stop.load(Ordering::Relaxed) {
        if let Ok(bytes) = far.recv(&mut datagram) {
            direction.take(near, Some(client), &datagram[..bytes]);
        }
    }
}

impl Drop for SlowPath {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
