//! The first bytes on a control stream: who speaks which version.
//!
//! Must never grow: a process of any later version has to be able to read these 8 bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The version of the protocol that this build speaks.
///
/// The minor number grows with each addition that older peers can ignore, the major one with
/// anything else (compact frames carry fields by position, so that a field added to a structure
/// is a change of the major number).
pub const PROTOCOL_VERSION: Version = Version { major: 2, minor: 0 };

/// A version of the protocol. Peers of the same major number understand each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Grows with each change that older peers cannot understand.
    pub major: u16,
    /// Grows with each change that older peers can ignore.
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for Version {
    type Err = VersionParseError;

    fn from_str(text: &str) -> Result<Self, VersionParseError> {
        let (major, minor) = text.split_once('.').ok_or(VersionParseError)?;
        Ok(Self {
            major: major.parse().map_err(|_| VersionParseError)?,
            minor: minor.parse().map_err(|_| VersionParseError)?,
        })
    }
}

/// A text is not a version of the form `MAJOR.MINOR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a protocol version of the form MAJOR.MINOR")]
pub struct VersionParseError;

/// The 8 bytes that each side of a control stream sends first: the magic `ISOC`, then the major
/// and the minor number of its version as little endian `u16`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preamble;

impl Preamble {
    /// Length of a preamble in bytes; the same in every version.
    pub const BYTES: usize = 8;

    /// What every preamble starts with.
    pub const MAGIC: [u8; 4] = *b"ISOC";

    /// The preamble of this build.
    #[must_use]
    pub const fn encode() -> [u8; Self::BYTES] {
        Self::encode_version(PROTOCOL_VERSION)
    }

    /// The preamble of a process that speaks `version`.
    #[must_use]
    pub const fn encode_version(version: Version) -> [u8; Self::BYTES] {
        let magic = Self::MAGIC;
        let major = version.major.to_le_bytes();
        let minor = version.minor.to_le_bytes();
        [magic[0], magic[1], magic[2], magic[3], major[0], major[1], minor[0], minor[1]]
    }

    /// Checks what a peer sent and gives its version, which has our major number.
    ///
    /// # Errors
    /// [`PreambleError::NotIsochrone`] if the magic is another one, and
    /// [`PreambleError::OtherMajor`] if the peer's major number is not ours.
    pub fn check(bytes: &[u8; Self::BYTES]) -> Result<Version, PreambleError> {
        let [m0, m1, m2, m3, major0, major1, minor0, minor1] = *bytes;
        if [m0, m1, m2, m3] != Self::MAGIC {
            return Err(PreambleError::NotIsochrone { found: *bytes });
        }
        let theirs = Version {
            major: u16::from_le_bytes([major0, major1]),
            minor: u16::from_le_bytes([minor0, minor1]),
        };
        if theirs.major != PROTOCOL_VERSION.major {
            return Err(PreambleError::OtherMajor { ours: PROTOCOL_VERSION, theirs });
        }
        Ok(theirs)
    }
}

/// Why a peer's preamble is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// The bytes are no preamble of Isochrone.
    #[error("peer does not speak the Isochrone protocol (it began with {found:02x?})")]
    NotIsochrone {
        /// What the peer sent instead.
        found: [u8; Preamble::BYTES],
    },
    /// The peer speaks an incompatible version.
    #[error("peer speaks protocol version {theirs}, this process speaks {ours}")]
    OtherMajor {
        /// The version of this build.
        ours: Version,
        /// The version that the peer named.
        theirs: Version,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preamble_has_golden_bytes() {
        assert_eq!(Preamble::encode(), *b"ISOC\x02\x00\x00\x00");
        let version = Version { major: 0x0102, minor: 0x0304 };
        assert_eq!(Preamble::encode_version(version), *b"ISOC\x02\x01\x04\x03");
    }

    #[test]
    fn other_minor_is_accepted_and_named() {
        let theirs = Version { major: PROTOCOL_VERSION.major, minor: 77 };
        assert_eq!(Preamble::check(&Preamble::encode_version(theirs)), Ok(theirs));
    }

    #[test]
    fn other_major_is_refused_naming_both() {
        let theirs = Version { major: 9, minor: 3 };
        let error = Preamble::check(&Preamble::encode_version(theirs)).expect_err("other major");
        assert_eq!(error.to_string(), "peer speaks protocol version 9.3, this process speaks 2.0");
    }

    #[test]
    fn other_magic_is_refused() {
        let error = Preamble::check(b"GET / HT").expect_err("other magic");
        assert!(matches!(error, PreambleError::NotIsochrone { .. }));
    }

    #[test]
    fn version_reads_back_what_it_prints() {
        let version = Version { major: 12, minor: 7 };
        assert_eq!(version.to_string().parse(), Ok(version));
        for wrong in ["", "1", "1.", ".1", "1.2.3", "70000.0", "a.b", "-1.0"] {
            assert_eq!(wrong.parse::<Version>(), Err(VersionParseError), "{wrong}");
        }
    }
}
