//! `machine-memory`: what memory, and what time, the `Scheduler` machine itself takes for no-op tasks.
//!
//! All tasks are submitted, then all placed, then all finished; after each the live bytes of the heap are told, and the most that
//! were live at any time, events and actions on their way included. Then as many again in pieces, each of which ends before the
//! next. Must never assert a time: it measures and prints. `cargo bench -p isochrone-policies --bench machine` measures time alone.

#![expect(clippy::disallowed_methods, reason = "a benchmark reads the clock: that is what it is for")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use clap::Parser;

#[path = "../benches/machine/farm.rs"]
#[expect(dead_code, reason = "the bench uses the rest")]
mod farm;

use farm::Farm;

/// Measures the scheduler's machine alone.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Tasks
    #[arg(long, default_value_t = 1_000_000)]
    tasks: u64,

    /// Devices, each of an agent of its own
    #[arg(long, default_value_t = 64)]
    devices: usize,

    /// Tasks of one submission
    #[arg(long, default_value_t = 10_000)]
    piece: u64,

    /// The policy
    #[arg(long, default_value = "eager")]
    policy: String,

    /// Each task after the one before it
    #[arg(long)]
    chain: bool,
}

/// Counts what is live and the most that ever was.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Counted as if in place, which it mostly is for what is large: the system remaps its pages.
        let live = LIVE.fetch_add(size, Ordering::Relaxed) + size - layout.size();
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        PEAK.fetch_max(live, Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> anyhow::Result<()> {
    let Arguments { tasks, devices, piece, policy, chain } = Arguments::parse();
    let mut farm = Farm::new(devices, &policy, chain);
    let before = LIVE.load(Ordering::Relaxed) - farm.held_bytes();
    let tell = |what: &str, farm: &Farm| {
        let own = before + farm.held_bytes();
        let each = |bytes: usize| bytes.saturating_sub(own) as f64 / tasks as f64;
        let (live, peak) = (LIVE.load(Ordering::Relaxed), PEAK.load(Ordering::Relaxed));
        println!(
            "{what}: {:.0} bytes a task, {:.0} at most; {:.0} ns a task",
            each(live),
            each(peak),
            farm.spent.as_nanos() as f64 / tasks as f64
        );
        PEAK.store(live, Ordering::Relaxed);
    };
    println!("{tasks} tasks on {devices} devices under {policy}, {piece} in a submission");
    farm.submit_in_pieces(tasks, piece);
    tell("all submitted, none placed", &farm);
    farm.place();
    tell("all placed, none finished", &farm);
    farm.settle();
    tell("all finished", &farm);
    farm.spent = std::time::Duration::ZERO;
    farm.run_in_pieces(tasks, piece);
    tell("as many again, each submission finished before the next", &farm);
    anyhow::ensure!(farm.unfinished_tasks() == 0, "every task has ended");
    Ok(())
}
