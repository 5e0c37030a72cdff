//! Hash maps for ids, for look-up only: nothing may depend on the order of their entries.
//!
//! Some ids are chosen by clients, so the hash has a key that is drawn anew for each map; else a client could choose ids
//! that all fall together. One multiplication a word (the folded product of wyhash and its kin) in place of SipHash's rounds.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};

/// A hash map from ids.
pub(crate) type IdMap<K, V> = HashMap<K, V, Keyed>;

/// Makes hashers of one key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keyed {
    key: u64,
}

impl Default for Keyed {
    fn default() -> Self {
        // The standard library's own source of keys; odd, so that no product loses what goes in.
        Self { key: RandomState::new().build_hasher().finish() | 1 }
    }
}

impl BuildHasher for Keyed {
    type Hasher = IdHasher;

    fn build_hasher(&self) -> IdHasher {
        IdHasher { key: self.key, state: self.key.rotate_left(32) }
    }
}

/// Takes in the words of an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdHasher {
    key: u64,
    state: u64,
}

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.write_u64(u64::from(value));
    }

    fn write_u16(&mut self, value: u16) {
        self.write_u64(u64::from(value));
    }

    fn write_u32(&mut self, value: u32) {
        self.write_u64(u64::from(value));
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.state ^ value) * u128::from(self.key);
        self.state = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_in_rows_spread_over_high_and_low_bits() {
        let state = Keyed::default();
        for step in [1_u64, 64, 1 << 32, 1 << 48] {
            let (mut low, mut high) = (vec![0_u32; 256], vec![0_u32; 128]);
            for id in 0..8_192 {
                let hash = state.hash_one(id * step);
                low[(hash & 255) as usize] += 1;
                high[(hash >> 57) as usize] += 1;
            }
            assert!(low.iter().all(|count| *count < 256), "steps of {step}: a quarter in one of 256 places");
            assert!(high.iter().all(|count| *count < 512), "steps of {step}");
        }
    }
}
