//! Where the end of a command or of a build meets those who wait for it.
//!
//! Must never hold anything about connections: a cell is settled once, by whoever learns of the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use isochrone_model::{CommandError, CommandId, Span};

/// A lock that goes on after a panic elsewhere: everything guarded here is whole between statements.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a command ended well.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Time on the device.
    pub execution: Span,
    /// A read's bytes, else empty.
    pub bytes: Bytes,
}

impl Outcome {
    /// Of a command that had nothing to do.
    pub fn nothing() -> Self {
        Self { execution: Span::ZERO, bytes: Bytes::new() }
    }
}

/// One command's end, and those who wait for it.
#[derive(Debug, Default)]
pub(crate) struct CommandCell {
    /// Zero until the command is enqueued.
    id: AtomicU64,
    /// Its place in the graph that it was made in, else zero.
    pub place: usize,
    outcome: OnceLock<Result<Outcome, Box<CommandError>>>,
    wakers: Mutex<Vec<Waker>>,
}

impl CommandCell {
    pub fn in_graph(place: usize) -> Self {
        Self { place, ..Self::default() }
    }

    pub fn id(&self) -> Option<CommandId> {
        let id = self.id.load(Ordering::Acquire);
        (id != 0).then_some(CommandId(id))
    }

    pub fn assign(&self, id: CommandId) {
        self.id.store(id.0, Ordering::Release);
    }

    /// Ends the command; a second end is ignored.
    pub fn settle(&self, outcome: Result<Outcome, CommandError>) {
        if self.outcome.set(outcome.map_err(Box::new)).is_ok() {
            let wakers = std::mem::take(&mut *locked(&self.wakers));
            for waker in wakers {
                waker.wake();
            }
        }
    }

    pub fn outcome(&self) -> Option<Result<&Outcome, &CommandError>> {
        self.outcome.get().map(|outcome| outcome.as_ref().map_err(AsRef::as_ref))
    }

    pub fn has_succeeded(&self) -> bool {
        matches!(self.outcome.get(), Some(Ok(_)))
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Result<&Outcome, &CommandError>> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        let mut wakers = locked(&self.wakers);
        // The end may have come before the lock; whoever settles takes the wakers after setting it.
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
            wakers.push(context.waker().clone());
        }
        Poll::Pending
    }
}

/// Waits for a command's end; gives its time on the device.
#[derive(Clone, Debug)]
#[must_use = "nothing waits until it is awaited"]
pub struct Wait {
    pub(crate) cell: Arc<CommandCell>,
}

impl Future for Wait {
    type Output = Result<Span, CommandError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell.poll(context).map(|outcome| outcome.map(|outcome| outcome.execution).map_err(Clone::clone))
    }
}

/// Waits for the bytes of a read.
#[derive(Clone, Debug)]
#[must_use = "nothing waits until it is awaited"]
pub struct ReadWait {
    pub(crate) cell: Arc<CommandCell>,
}

impl Future for ReadWait {
    type Output = Result<Bytes, CommandError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.cell
            .poll(context)
            .map(|outcome| outcome.map(|outcome| outcome.bytes.clone()).map_err(Clone::clone))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(nanos: u64) -> Result<Outcome, CommandError> {
        Ok(Outcome { execution: Span(nanos), bytes: Bytes::new() })
    }

    #[tokio::test]
    async fn every_waiter_wakes_and_the_first_end_counts() {
        let cell = Arc::new(CommandCell::default());
        let waiters: Vec<_> = (0..3).map(|_| tokio::spawn(Wait { cell: Arc::clone(&cell) })).collect();
        tokio::task::yield_now().await;
        cell.settle(ended(5));
        cell.settle(Err(CommandError::Cancelled));
        for waiter in waiters {
            assert_eq!(waiter.await.unwrap(), Ok(Span(5)));
        }
    }

    #[test]
    fn an_id_is_unknown_until_it_is_assigned() {
        let cell = CommandCell::default();
        assert_eq!(cell.id(), None);
        cell.assign(CommandId(3));
        assert_eq!(cell.id(), Some(CommandId(3)));
    }
}
