//! Emulated links: a relay between parties that talk by UDP, which does to their datagrams what a
//! [`LinkPlan`] says.
//!
//! Each party that can be dialled has a *front*: an address on which the relay listens in its place. Who
//! sends to a front is known by the address it comes from: parties have addresses of their own (127.1.x.y on
//! a farm of one machine), and whoever has none of these is the client. For each source of a front the
//! relay has a socket toward the party behind it, so that addresses stay the same for the life of a
//! connection in both directions. Datagrams are passed on as they are. Must never look into them.

mod clock;
mod driver;
mod flows;
mod outbox;
mod plan;
mod schedule;
mod socket;

use std::net::{IpAddr, SocketAddr};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use isochrone_link::Counters;
use isochrone_model::{Span, Timestamp};
use rustix::event::EventfdFlags;
use rustix::fd::OwnedFd;

use self::driver::Driver;
pub use self::plan::LinkPlan;
pub use self::schedule::{Direction, ScheduleError, ScheduledChange, parse_schedule};
use self::socket::Socket;
pub use isochrone_link::LinkSettings;

/// Why there is no relay, or no more.
#[derive(Debug, thiserror::Error)]
pub enum EmulatorError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The system lacks what a relay needs.
    #[error("cannot set up the relay")]
    System(#[source] std::io::Error),
    /// The relay's thread has ended.
    #[error("the relay has ended")]
    Ended,
}

/// How the relay waits for the moment of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Sleeps until this long before, then spins; zero only sleeps.
    SpinLast(Duration),
    /// Never sleeps: takes a whole core, and adds the least delay.
    SpinAlways,
}

impl Default for Waiting {
    /// Spins for the last 60 us, about as long as a core takes to wake.
    fn default() -> Self {
        Self::SpinLast(Duration::from_micros(60))
    }
}

/// A datagram that was delivered, as the relay's log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// When it was to be delivered, since the relay's start.
    pub at: Timestamp,
    /// How much later it was.
    pub late: Span,
    /// From which party.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// UDP payload.
    pub size_bytes: u32,
}

/// Options of a relay.
#[derive(Debug)]
pub struct EmulatorOptions {
    plan: LinkPlan,
    parties: Vec<(IpAddr, usize)>,
    stranger: usize,
    waiting: Waiting,
    log_entries_max: usize,
}

impl EmulatorOptions {
    /// A relay for the parties of a plan; whoever has no address that [`EmulatorOptions::party`] names is party
    /// `stranger`.
    #[must_use]
    pub fn new(plan: LinkPlan, stranger: usize) -> Self {
        Self { plan, parties: Vec::new(), stranger, waiting: Waiting::default(), log_entries_max: 0 }
    }

    /// What comes from this address comes from this party.
    #[must_use]
    pub fn party(mut self, address: IpAddr, party: usize) -> Self {
        self.parties.push((address, party));
        self
    }

    /// How it waits; default [`Waiting::default`].
    #[must_use]
    pub fn waiting(mut self, waiting: Waiting) -> Self {
        self.waiting = waiting;
        self
    }

    /// Keeps a log of this many deliveries; default none. Later ones are not logged.
    #[must_use]
    pub fn log(mut self, entries_max: usize) -> Self {
        self.log_entries_max = entries_max;
        self
    }
}

/// What the relay's thread is asked.
enum Request {
    Front { socket: Socket, party: usize, target: SocketAddr },
    Change { from: usize, to: usize, settings: Box<LinkSettings> },
    Counters { answer: mpsc::Sender<Vec<PairCounters>> },
    Stop,
}

/// What has happened from one party to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PairCounters {
    /// From which party.
    pub from: usize,
    /// To which.
    pub to: usize,
    /// What has happened.
    pub counters: Counters,
}

/// A relay in a thread of its own. It ends when this is dropped; what is on its way is lost then.
#[derive(Debug)]
pub struct Emulator {
    requests: mpsc::Sender<Request>,
    wake: Arc<OwnedFd>,
    log: Arc<Mutex<Vec<LogEntry>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Emulator {
    /// Starts a relay. It relays once it has a front.
    ///
    /// # Errors
    /// When the system lacks what it needs.
    pub fn start(options: EmulatorOptions) -> Result<Self, EmulatorError> {
        let system = |error: rustix::io::Errno| EmulatorError::System(error.into());
        let wake =
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(system)?;
        let wake = Arc::new(wake);
        let (requests, received) = mpsc::channel();
        let log = Arc::new(Mutex::new(Vec::new()));
        let driver = Driver::new(options, received, Arc::clone(&wake), Arc::clone(&log))
            .map_err(EmulatorError::System)?;
        let thread = std::thread::Builder::new()
            .name("links".to_owned())
            .spawn(move || driver.run())
            .map_err(EmulatorError::System)?;
        Ok(Self { requests, wake, log, thread: Some(thread) })
    }

    /// Listens on `address` (port 0 for any free one) for datagrams to `party`, which is at `target`. Gives the address
    /// listened on.
    ///
    /// # Errors
    /// When the address cannot be had.
    pub fn front(
        &self,
        address: SocketAddr,
        party: usize,
        target: SocketAddr,
    ) -> Result<SocketAddr, EmulatorError> {
        let bind = |source| EmulatorError::Bind { address, source };
        let socket = Socket::bind(address).map_err(bind)?;
        let listens_on = socket.local_address().map_err(bind)?;
        self.ask(Request::Front { socket, party, target })?;
        Ok(listens_on)
    }

    /// Changes what happens from one party to another, from now on. Queues that others share stay as they are.
    ///
    /// # Errors
    /// When the relay has ended.
    pub fn change(&self, from: usize, to: usize, settings: LinkSettings) -> Result<(), EmulatorError> {
        self.ask(Request::Change { from, to, settings: Box::new(settings) })
    }

    /// What has happened between all parties that have talked.
    ///
    /// # Errors
    /// When the relay has ended.
    pub fn counters(&self) -> Result<Vec<PairCounters>, EmulatorError> {
        let (answer, answered) = mpsc::channel();
        self.ask(Request::Counters { answer })?;
        answered.recv().map_err(|_| EmulatorError::Ended)
    }

    /// The log so far; begins anew.
    #[must_use]
    pub fn take_log(&self) -> Vec<LogEntry> {
        // Nothing is left half done by a panic while the lock is held.
        std::mem::take(&mut *self.log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn ask(&self, request: Request) -> Result<(), EmulatorError> {
        self.requests.send(request).map_err(|_| EmulatorError::Ended)?;
        // Fails only when the counter is full: then it is awake already.
        let _ = rustix::io::write(&*self.wake, &1_u64.to_ne_bytes());
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // One that has ended already is only joined.
        let _ = self.ask(Request::Stop);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}
