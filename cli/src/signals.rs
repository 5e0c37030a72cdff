//! When to stop: interrupt, termination, hang-up, or the end of standard input.
//!
//! Must never end the process while something could still be stopped in order, unless told twice.

use std::io::Read;
use std::time::Duration;

use tokio::sync::oneshot;

/// A daemon that was told to stop by the end of its input and has not stopped after this long is ended:
/// nobody is there to do it.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// Exit status after a second signal, as shells have it for an interrupt.
const INTERRUPTED: i32 = 130;

/// Ready at the first signal that asks for an end; the second ends the process at once.
///
/// Signals are listened to from the call on, not only once this is awaited. Call it before OpenCL is loaded:
/// compilers in drivers (LLVM in PoCL) take signals too, and give them back only to whoever was there before them;
/// one that comes after them is passed over, and the signal ends the process where it stands.
pub fn asked_to_stop() -> impl Future<Output = anyhow::Result<&'static str>> {
    let listening = Signals::listen();
    async {
        let mut signals = listening?;
        let name = signals.next().await;
        tokio::spawn(async move {
            signals.next().await;
            std::process::exit(INTERRUPTED);
        });
        Ok(name)
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "terminated",
            _ = self.hang_up.recv() => "hung up",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        // Without a handler the system ends the process, which is what was asked for.
        let _ = tokio::signal::ctrl_c().await;
        "interrupted"
    }
}

/// Ready when standard input has ended, which happens when the process that holds its other end is
/// gone, however it went.
pub async fn input_ended() {
    let (sender, ended) = oneshot::channel();
    // A thread of its own: a read that waits must not hold up the end of the runtime.
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        let mut unread = [0; 256];
        while input.read(&mut unread).is_ok_and(|bytes| bytes > 0) {}
        // Nobody waits any more when the daemon stops for another reason.
        let _ = sender.send(());
        std::thread::sleep(STOP_TIMEOUT);
        std::process::exit(1);
    });
    let _ = ended.await;
}

/// Runs a command to its end unless a signal comes first; what it holds is dropped then.
pub async fn unless_asked_to_stop<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let asked = asked_to_stop();
    tokio::select! {
        result = command => result,
        name = asked => Err(anyhow::anyhow!("{}", name?)),
    }
}
