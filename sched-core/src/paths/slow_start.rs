//! What a transfer waits for while its connection's congestion window is smaller than the path, and what a transfer's
//! duration tells of the path's rate.
//!
//! In slow start each round trip carries one window, and each acknowledged byte adds one to it: the window doubles.
//! As long as a window passes in less than a round trip, the path lies idle for the rest of it.

use isochrone_model::Span;

/// Windows double at most this often before they hold anything.
const ROUNDS_MAX: u32 = 48;
/// A rate that makes a transfer more than this much faster than its round trips alone tells nothing, in eighths.
const WAITING_EIGHTHS: u64 = 9;

/// How long a transfer of so many bytes leaves the path idle, when the window is `window_bytes` at its start and the
/// path takes `nanos_per_mebibyte`.
#[must_use]
pub fn waits(size_bytes: u64, window_bytes: u64, round_trip: Span, nanos_per_mebibyte: u64) -> Span {
    let (mut left, mut window) = (size_bytes, window_bytes.max(1));
    let mut waits: u64 = 0;
    for _ in 0..ROUNDS_MAX {
        if left <= window {
            break;
        }
        let passing = (u128::from(nanos_per_mebibyte) * u128::from(window)) >> 20;
        let Some(idle) = u64::try_from(passing).ok().and_then(|passing| round_trip.0.checked_sub(passing))
        else {
            break;
        };
        waits = waits.saturating_add(idle);
        left -= window;
        window = window.saturating_mul(2);
    }
    Span(waits)
}

/// Nanoseconds for 1 MiB if nothing had been waited for.
#[must_use]
pub fn apparent_nanos(size_bytes: u64, span: Span) -> u64 {
    let nanos = (u128::from(span.0) << 20) / u128::from(size_bytes.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX).max(1)
}

/// Nanoseconds for 1 MiB with which a transfer takes what it took; `None` when it was waiting for round trips nearly
/// all the time, which tells of no rate.
#[must_use]
pub fn fit_nanos(size_bytes: u64, span: Span, window_bytes: u64, round_trip: Span) -> Option<u64> {
    let waiting = waits(size_bytes, window_bytes, round_trip, 0);
    if span.0 <= waiting.0.saturating_mul(WAITING_EIGHTHS) / 8 && waiting > Span::ZERO {
        return None;
    }
    let takes = |nanos: u64| {
        let carrying = (u128::from(nanos) * u128::from(size_bytes)) >> 20;
        u128::from(waits(size_bytes, window_bytes, round_trip, nanos).0) + carrying
    };
    // What it takes grows with the nanoseconds: the largest that takes no longer than it took.
    let (mut low, mut high) = (1, apparent_nanos(size_bytes, span));
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if takes(middle) <= u128::from(span.0) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    Some(low)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn windows_double_until_they_fill_the_path() {
        let round_trip = Span::from_millis(100);
        // An infinitely fast path: 10, 20, 40, 80: three full waits before the last window.
        assert_eq!(waits(150_000, 10_000, round_trip, 0), Span::from_millis(300));
        assert_eq!(waits(150_001, 10_000, round_trip, 0), Span::from_millis(400));
        assert_eq!(waits(10_000, 10_000, round_trip, 0), Span::ZERO);
        // 1 MiB/s: a round trip passes 104,857 bytes; windows of 10, 20, 40 and 80 kB leave the rest of it idle.
        let idle: u64 = [10_000_u64, 20_000, 40_000, 80_000]
            .iter()
            .map(|window| 100_000_000 - window * 1_000_000_000 / (1 << 20))
            .sum();
        let told = waits(10_000_000, 10_000, round_trip, 1_000_000_000).0;
        assert!(told.abs_diff(idle) <= 4, "{told} {idle}");
    }

    proptest! {
        #[test]
        fn the_fit_finds_the_rate_again(
            size_bytes in 64 * 1024..1_u64 << 30,
            window_bytes in 12_000..1_u64 << 24,
            round_trip in 0..300_000_000_u64,
            nanos in 100_000..1_000_000_000_u64,
        ) {
            let round_trip = Span(round_trip);
            let carrying = ((u128::from(nanos) * u128::from(size_bytes)) >> 20) as u64;
            let span = waits(size_bytes, window_bytes, round_trip, nanos) + Span(carrying);
            if let Some(told) = fit_nanos(size_bytes, span, window_bytes, round_trip) {
                // A path that is faster takes no less: the fit may not tell them apart only where waiting hides it.
                let again = waits(size_bytes, window_bytes, round_trip, told).0
                    + ((u128::from(told) * u128::from(size_bytes)) >> 20) as u64;
                prop_assert!(again.abs_diff(span.0) <= 64 + span.0 / 100_000, "{told} for {nanos}");
            }
        }

        #[test]
        fn waiting_is_never_longer_than_its_round_trips(
            size_bytes in 1..1_u64 << 40,
            window_bytes in 1..1_u64 << 24,
            round_trip in 0..1_000_000_000_u64,
            nanos in 0..u64::from(u32::MAX),
        ) {
            // Told anew: bytes sent after n rounds are window * (2^n - 1).
            let mut rounds = 0_u64;
            while rounds < 48 && u128::from(window_bytes) * ((1_u128 << (rounds + 1)) - 1) < u128::from(size_bytes) {
                rounds += 1;
            }
            let told = waits(size_bytes, window_bytes, Span(round_trip), nanos);
            prop_assert!(told.0 <= rounds * round_trip);
            if nanos == 0 {
                prop_assert_eq!(told.0, rounds * round_trip);
            }
        }
    }
}
