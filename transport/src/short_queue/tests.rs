//! Windows over paths of one round a step.

use std::time::Duration;

use super::*;

/// A path on which what is under way beyond its rate waits in a queue; one step is one round.
struct Path {
    now: Timestamp,
    base: Duration,
    bytes_per_second: u64,
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    Timestamp(at.0 + by.as_nanos() as u64)
}

impl Path {
    /// Sends a window and takes its acknowledgement; gives the time that its packets queued.
    fn round(&mut self, controller: &mut ShortQueue, is_full: bool) -> Duration {
        let window = Duration::from_nanos(controller.window() * 1_000_000_000 / self.bytes_per_second);
        let queueing = window.saturating_sub(self.base);
        let sent = self.now;
        self.now = later(self.now, self.base + queueing);
        controller.acked(sent, controller.window(), !is_full);
        controller.end_acks(self.now, 0);
        queueing
    }

    /// Sends contents, window by window; gives how many it took. Most of the acknowledgements of the last one, and of one before that
    /// hardly anything is left of, come while there is nothing more to send.
    fn contents(&mut self, controller: &mut ShortQueue, bytes: u64) -> u32 {
        let (mut left, mut windows) = (bytes, 0);
        while left > 0 {
            let window = controller.window().min(left);
            left -= window;
            windows += 1;
            let sent = self.now;
            self.now = later(self.now, self.base);
            let busy = window.min(left);
            for (bytes, is_limited, in_flight) in [(busy, false, window - busy), (window - busy, true, 0)] {
                controller.acked(sent, bytes, is_limited);
                if bytes > 0 {
                    controller.end_acks(self.now, in_flight);
                }
            }
        }
        self.now = later(self.now, Duration::from_millis(100));
        windows
    }
}

fn path(base_millis: u64, bytes_per_second: u64) -> (Path, ShortQueue) {
    let base = Duration::from_millis(base_millis);
    (Path { now: Timestamp::ZERO, base, bytes_per_second }, ShortQueue::new(1_500))
}

#[test]
fn the_path_is_filled_and_its_queue_stays_short() {
    let (mut path, mut controller) = path(20, 25_000_000);
    for _ in 0..30 {
        path.round(&mut controller, true);
    }
    let (mut queued, mut windows) = (Duration::ZERO, 0);
    for _ in 0..2_000 {
        queued = queued.max(path.round(&mut controller, true));
        windows += controller.window();
    }
    assert!(queued <= Duration::from_nanos(QUEUEING_MAX * 2), "{queued:?}");
    assert!(windows / 2_000 > 25_000_000 / 50 * 9 / 10, "{}", windows / 2_000);
}

#[test]
fn a_path_whose_delay_varies_is_not_held_for_full() {
    // 10 MB/s and 10 to 25 ms by turns, as over a radio link, so that 100 to 250 kB fill it; its luckiest packet took 10 ms.
    let (mut path, mut controller) = path(10, 10_000_000);
    let (mut delay, mut windows) = (0_u64, 0);
    for round in 0..400 {
        delay = (delay + 7) % 16;
        path.base = Duration::from_millis(10 + delay);
        path.round(&mut controller, true);
        if round >= 100 {
            windows += controller.window() / 300;
        }
    }
    assert!(windows > 100_000, "{windows}");
    assert!(windows < 500_000, "and no long queue either: {windows}");
}

#[test]
fn delays_that_vary_do_not_end_the_first_growth() {
    // 37 to 44 ms by turns at 100 MB/s: 4 MB. The first round is the luckiest.
    let (mut path, mut controller) = path(37, 100_000_000);
    let mut rounds = 0;
    while controller.window() < 2_000_000 {
        path.base = Duration::from_millis(37 + rounds * 5 % 8);
        path.round(&mut controller, true);
        rounds += 1;
    }
    assert!(rounds <= 7, "{rounds}");
}

#[test]
fn an_early_loss_is_made_up_for_where_delays_vary() {
    // 37 to 44 ms at 100 MB/s, and a loss in the second round.
    let (mut path, mut controller) = path(37, 100_000_000);
    let mut rounds = 0;
    while controller.window() < 2_000_000 && rounds < 200 {
        path.base = Duration::from_millis(37 + rounds * 5 % 8);
        path.round(&mut controller, true);
        if rounds == 1 {
            controller.lost(path.now, path.now, 15_000, false);
        }
        rounds += 1;
    }
    assert!(rounds <= 50, "{rounds}");
}

#[test]
fn a_longer_path_and_a_faster_one_are_found() {
    let (mut path, mut controller) = path(10, 25_000_000);
    for _ in 0..200 {
        path.round(&mut controller, true);
    }
    path.base = Duration::from_millis(80);
    for _ in 0..60 {
        path.round(&mut controller, true);
    }
    assert!(controller.window() > 25_000_000 / 1_000 * 80 * 8 / 10, "{}", controller.window());
    path.bytes_per_second *= 4;
    for _ in 0..60 {
        path.round(&mut controller, true);
    }
    assert!(controller.window() > 100_000_000 / 1_000 * 80 * 8 / 10, "{}", controller.window());
}

#[test]
fn a_busy_host_does_not_end_the_first_growth_and_a_wrong_end_is_made_up_for() {
    // 20 ms, 100 MB/s: 2 MB. A host that adds 2 ms to every round trip but the first of them.
    let (mut path, mut controller) = path(20, 100_000_000);
    path.round(&mut controller, true);
    path.base = Duration::from_millis(22);
    let mut rounds = 0;
    while controller.window() < 1_000_000 {
        path.round(&mut controller, true);
        rounds += 1;
    }
    assert!(rounds <= 8, "{rounds}");
    // One that has left the first growth too early.
    let mut early = ShortQueue::new(1_500);
    early.phase = Phase::Cruise;
    path.base = Duration::from_millis(20);
    let mut rounds = 0;
    while early.window() < 1_000_000 {
        path.round(&mut early, true);
        rounds += 1;
    }
    assert!(rounds <= 15, "{rounds}");
}

#[test]
fn a_window_that_is_not_used_does_not_grow() {
    let (mut path, mut controller) = path(10, 25_000_000);
    let before = controller.window();
    for _ in 0..10 {
        path.contents(&mut controller, before / 2);
    }
    assert_eq!(controller.window(), before);
}

#[test]
fn contents_a_little_larger_than_the_window_soon_pass_at_once() {
    let (mut path, mut controller) = path(40, 1_000_000_000);
    let windows: Vec<u32> = (0..4).map(|_| path.contents(&mut controller, 300_000)).collect();
    assert_eq!(windows, [3, 2, 1, 1]);
    for _ in 0..20 {
        path.contents(&mut controller, 300_000);
    }
    assert!(controller.window() <= 600_000, "{}: twice what was under way", controller.window());
}

#[test]
fn small_contents_and_late_acknowledgements_leave_the_window() {
    let (mut path, mut controller) = path(20, 100_000_000);
    let before = controller.window();
    for round in 0..200 {
        // Now and then one datagram, acknowledged 25 ms late, and now and then a few.
        let (bytes, late) = if round % 3 == 0 { (1_000, 25) } else { (6_000, 0) };
        let sent = path.now;
        path.now = later(path.now, path.base + Duration::from_millis(late));
        controller.acked(sent, bytes, true);
        controller.end_acks(path.now, 0);
        path.now = later(path.now, Duration::from_millis(30));
    }
    assert_eq!(controller.window(), before);
    // What is lost for long takes all that was known, and is made up for.
    controller.lost(path.now, path.now, 1_000, true);
    let mut rounds = 0;
    while controller.window() < 1_000_000 {
        path.round(&mut controller, true);
        rounds += 1;
    }
    assert!(rounds <= 12, "{rounds}");
}

#[test]
fn losses_of_one_window_count_once() {
    let (mut path, mut controller) = path(10, 25_000_000);
    for _ in 0..20 {
        path.round(&mut controller, true);
    }
    let (before, sent) = (controller.window(), path.now);
    path.now = later(path.now, path.base);
    for _ in 0..5 {
        controller.lost(path.now, sent, 150_000, false);
    }
    assert_eq!(controller.window(), before * STRAY_LOSS_PERCENT / 100);
    controller.lost(later(path.now, path.base), path.now, 150_000, true);
    assert_eq!(controller.window(), DATAGRAMS_MIN * 1_500);
}
