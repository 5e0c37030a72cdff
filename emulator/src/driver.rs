//! The relay's thread: sockets, the clock, and the machine that decides.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{self, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use isochrone_link::Delivery;
use isochrone_model::{Span, Timestamp};
use rustix::event::{Timespec, epoll};
use rustix::fd::{AsFd, OwnedFd};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use super::flows::{FlowId, Flows, Front};
use super::outbox::{Datagram, Outbox};
use super::plan::LinkPlan;
use super::socket::{Receipt, ReceiveBuffers};
use super::{EmulatorOptions, LogEntry, PairCounters, Request, Waiting};
use crate::clock;

/// What the poll names its sources: the two here, then fronts from `FRONTS` and flows from `FLOWS` on.
const WAKE: u64 = 0;
const TIMER: u64 = 1;
const FRONTS: u64 = 2;
const FLOWS: u64 = 1 << 32;

/// How often idle flows are looked for.
const TIDY_INTERVAL: Span = Span::from_secs(10);

const EVENTS_MAX: usize = 256;

pub(super) struct Driver {
    plan: LinkPlan,
    parties: HashMap<IpAddr, usize>,
    stranger: usize,
    waiting: Waiting,
    log_entries_max: usize,
    log: Arc<Mutex<Vec<LogEntry>>>,
    requests: mpsc::Receiver<Request>,
    wake: Arc<OwnedFd>,
    timer: OwnedFd,
    poll: OwnedFd,
    flows: Flows,
    outbox: Outbox,
    buffers: ReceiveBuffers,
    origin: Instant,
    tidied_at: Timestamp,
}

impl Driver {
    pub(super) fn new(
        options: EmulatorOptions,
        requests: mpsc::Receiver<Request>,
        wake: Arc<OwnedFd>,
        log: Arc<Mutex<Vec<LogEntry>>>,
    ) -> io::Result<Self> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK,
        )?;
        watch(&poll, &*wake, WAKE)?;
        watch(&poll, &timer, TIMER)?;
        Ok(Self {
            plan: options.plan,
            parties: options.parties.into_iter().collect(),
            stranger: options.stranger,
            waiting: options.waiting,
            log_entries_max: options.log_entries_max,
            log,
            requests,
            wake,
            timer,
            poll,
            flows: Flows::default(),
            outbox: Outbox::default(),
            buffers: ReceiveBuffers::new(),
            origin: clock::now(),
            tidied_at: Timestamp::ZERO,
        })
    }

    /// Relays until it is told to stop, or its handle is gone.
    pub(super) fn run(mut self) {
        if let Err(error) = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1)) {
            tracing::debug!(%error, "timer slack not set; links deliver up to 50 us later");
        }
        let mut events = Vec::with_capacity(EVENTS_MAX);
        let mut receipts = Vec::new();
        let mut delivered = Vec::new();
        loop {
            let now = self.now();
            self.plan.network.advance(now, &mut delivered);
            if !delivered.is_empty() {
                self.deliver(now, &mut delivered);
            }
            if now.since(self.tidied_at) >= TIDY_INTERVAL {
                self.tidied_at = now;
                self.flows.forget_idle(now);
            }
            events.clear();
            if let Err(error) = self.wait(&mut events) {
                tracing::error!(%error, "the relay cannot wait for datagrams and ends");
                return;
            }
            for event in &events {
                match event.data.u64() {
                    WAKE => {
                        if self.take_requests() {
                            return;
                        }
                    }
                    TIMER => {
                        // Read so that it is not ready any more.
                        let _ = rustix::io::read(&self.timer, &mut [0_u8; 8]);
                    }
                    front if front < FLOWS => self.take_from_front((front - FRONTS) as usize, &mut receipts),
                    flow => self.take_from_target(FlowId(flow - FLOWS), &mut receipts),
                }
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::ZERO + Span::from(clock::now() - self.origin)
    }

    /// Waits for datagrams, requests, or shortly before the next delivery.
    fn wait(&self, events: &mut Vec<epoll::Event>) -> io::Result<()> {
        const AT_ONCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let spin = match self.waiting {
            Waiting::SpinAlways => None,
            Waiting::SpinLast(span) => Some(Span::from(span)),
        };
        let timeout = match (spin, self.plan.network.deadline()) {
            (None, _) => Some(AT_ONCE),
            (Some(_), None) => None,
            (Some(spin), Some(deadline)) => {
                let sleep = deadline.since(self.now()).saturating_sub(spin);
                if sleep == Span::ZERO {
                    Some(AT_ONCE)
                } else {
                    self.set_timer(sleep)?;
                    None
                }
            }
        };
        match epoll::wait(&self.poll, rustix::buffer::spare_capacity(events), timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn set_timer(&self, span: Span) -> io::Result<()> {
        let at = Timespec { tv_sec: (span.0 / 1_000_000_000) as i64, tv_nsec: (span.0 % 1_000_000_000) as _ };
        let never = Timespec { tv_sec: 0, tv_nsec: 0 };
        let value = Itimerspec { it_interval: never, it_value: at };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }

    /// What came for a party.
    fn take_from_front(&mut self, front: usize, receipts: &mut Vec<Receipt>) {
        let now = self.now();
        self.flows.fronts[front].socket.receive(&mut self.buffers, receipts);
        for receipt in receipts.drain(..) {
            let (parties, stranger) = (&self.parties, self.stranger);
            let party = || parties.get(&receipt.source.ip()).copied().unwrap_or(stranger);
            let found = self.flows.of_source(now, front, receipt.source, party);
            let (id, is_new) = match found {
                Ok(Some(found)) => found,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%error, source = %receipt.source, "no socket for a flow; its datagrams are lost");
                    continue;
                }
            };
            let Some(flow) = self.flows.get(id) else { continue };
            if is_new && let Err(error) = watch(&self.poll, &flow.socket, FLOWS + id.0) {
                tracing::warn!(%error, "a flow cannot be watched; what its target answers is lost");
            }
            let (from, to) = (flow.party, self.flows.fronts[front].party);
            offer(&mut self.plan, now, (from, to), id, true, &receipt);
        }
    }

    /// What a party answers.
    fn take_from_target(&mut self, id: FlowId, receipts: &mut Vec<Receipt>) {
        let now = self.now();
        let Some(flow) = self.flows.get(id) else { return };
        flow.socket.receive(&mut self.buffers, receipts);
        let (from, to) = (self.flows.fronts[flow.front].party, flow.party);
        self.flows.touch(now, id);
        for receipt in receipts.drain(..) {
            offer(&mut self.plan, now, (from, to), id, false, &receipt);
        }
    }

    fn deliver(&mut self, now: Timestamp, delivered: &mut Vec<Delivery<Datagram>>) {
        if self.log_entries_max > 0 {
            self.log_deliveries(now, delivered);
        }
        for delivery in delivered.drain(..) {
            self.outbox.send(&self.flows, delivery.packet);
        }
        self.outbox.flush(&self.flows);
    }

    fn log_deliveries(&self, now: Timestamp, delivered: &[Delivery<Datagram>]) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let room = self.log_entries_max.saturating_sub(log.len());
        log.extend(delivered.iter().take(room).map(|delivery| {
            let (from, to) = self.plan.pair_of(delivery.route);
            LogEntry {
                at: delivery.at,
                late: now.since(delivery.at),
                from,
                to,
                size_bytes: delivery.packet.len() as u32,
            }
        }));
    }

    /// True when it is to stop.
    fn take_requests(&mut self) -> bool {
        // Read so that it is not ready any more.
        let _ = rustix::io::read(&*self.wake, &mut [0_u8; 8]);
        loop {
            match self.requests.try_recv() {
                Ok(Request::Front { socket, party, target }) => {
                    let token = FRONTS + self.flows.fronts.len() as u64;
                    if let Err(error) = watch(&self.poll, &socket, token) {
                        tracing::error!(%error, "a front cannot be watched; its datagrams are lost");
                    }
                    self.flows.fronts.push(Front { socket, party, target });
                }
                Ok(Request::Change { from, to, settings }) => {
                    self.plan.change(self.now(), from, to, *settings);
                }
                Ok(Request::Counters { answer }) => {
                    // Who asked may be gone.
                    let _ = answer.send(self.counters());
                }
                Ok(Request::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
            }
        }
    }

    fn counters(&self) -> Vec<PairCounters> {
        self.plan
            .pairs()
            .map(|(from, to, route)| PairCounters { from, to, counters: self.plan.network.counters(route) })
            .filter(|pair| pair.counters.offered > 0)
            .collect()
    }
}

/// Gives the machine each datagram of a receipt.
fn offer(
    plan: &mut LinkPlan,
    now: Timestamp,
    (from, to): (usize, usize),
    flow: FlowId,
    is_forward: bool,
    receipt: &Receipt,
) {
    let Some(route) = plan.route(from, to) else { return };
    let size = receipt.contents.len();
    let mut start = 0;
    loop {
        let end = size.min(start + receipt.datagram_bytes);
        let datagram = Datagram {
            flow,
            is_forward,
            receipt: receipt.contents.clone(),
            start,
            end,
            congestion: receipt.congestion,
        };
        plan.network.offer(now, route, (end - start) as u64, datagram);
        start = end;
        if start >= size {
            return;
        }
    }
}

fn watch(poll: &OwnedFd, source: impl AsFd, token: u64) -> rustix::io::Result<()> {
    epoll::add(poll, source, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
}
