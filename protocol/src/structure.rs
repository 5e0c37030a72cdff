//! A walk over the skeleton of a MessagePack payload, before anything is decoded.
//!
//! The decoder underneath trusts two things that a peer controls: it recurses for each level of
//! an enumeration without counting, and it hands claimed lengths to collections. This walk takes
//! one pass, no recursion and no allocation, and proves that the payload is exactly one value,
//! that no claimed length goes beyond the payload, and that depth and number of values are bounded.
//!
//! Must never look at what the values mean.

/// Why a payload is not a well-formed MessagePack value within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StructureError {
    /// A value claims more bytes or more elements than are left.
    #[error("value at byte {offset} claims more than the payload holds")]
    Overrun {
        /// Where the value starts, in bytes from the start of the payload.
        offset: usize,
    },
    /// Bytes are left over after the one value of a payload.
    #[error("{surplus} bytes after the end of the message")]
    Trailing {
        /// How many bytes are left over.
        surplus: usize,
    },
    /// Arrays and maps are nested too deep.
    #[error("nested deeper than {depth_max} levels")]
    TooDeep {
        /// The limit in force.
        depth_max: usize,
    },
    /// There are too many values.
    #[error("more than {values_max} values")]
    TooManyValues {
        /// The limit in force.
        values_max: usize,
    },
    /// A marker that Isochrone does not use: an extension type or the reserved one.
    #[error("marker {marker:#04x} at byte {offset} is not in use")]
    UnusedMarker {
        /// The marker.
        marker: u8,
        /// Where it stands, in bytes from the start of the payload.
        offset: usize,
    },
}

/// The deepest nesting that any limit can ask for; it sizes the stack of the walk.
pub(crate) const DEPTH_CEILING: usize = 128;

/// What a marker announces.
enum Item {
    /// A value without children, with this many bytes after the marker.
    Leaf(usize),
    /// An array or map, with this many bytes of length and this many children.
    Branch(usize, usize),
}

/// Proves that `payload` is exactly one value within the limits.
///
/// # Errors
/// See [`StructureError`].
pub(crate) fn check(payload: &[u8], depth_max: usize, values_max: usize) -> Result<(), StructureError> {
    let depth_max = depth_max.min(DEPTH_CEILING);
    // How many children each open array or map still waits for.
    let mut open = [0usize; DEPTH_CEILING];
    let mut depth = 0;
    let mut offset = 0;
    let mut values = 0;
    loop {
        values += 1;
        if values > values_max {
            return Err(StructureError::TooManyValues { values_max });
        }
        let left = payload.len() - offset;
        match item(payload, offset)? {
            Item::Leaf(bytes) => {
                if bytes > left - 1 {
                    return Err(StructureError::Overrun { offset });
                }
                offset += 1 + bytes;
            }
            Item::Branch(length_bytes, children) => {
                // Each child takes at least one byte.
                if children > left - 1 - length_bytes {
                    return Err(StructureError::Overrun { offset });
                }
                offset += 1 + length_bytes;
                if depth == depth_max {
                    return Err(StructureError::TooDeep { depth_max });
                }
                if children > 0 {
                    open[depth] = children;
                    depth += 1;
                    continue;
                }
            }
        }
        // A value is complete; so is each array and map that waited for nothing else.
        loop {
            if depth == 0 {
                let surplus = payload.len() - offset;
                if surplus > 0 {
                    return Err(StructureError::Trailing { surplus });
                }
                return Ok(());
            }
            open[depth - 1] -= 1;
            if open[depth - 1] > 0 {
                break;
            }
            depth -= 1;
        }
    }
}

/// Reads the marker at `offset` with its length, if it has one.
fn item(payload: &[u8], offset: usize) -> Result<Item, StructureError> {
    let rest = payload.get(offset..).unwrap_or_default();
    let Some((&marker, rest)) = rest.split_first() else {
        return Err(StructureError::Overrun { offset });
    };
    let length = |bytes: usize| -> Result<usize, StructureError> {
        let digits = rest.get(..bytes).ok_or(StructureError::Overrun { offset })?;
        Ok(digits.iter().fold(0, |length, &digit| length << 8 | usize::from(digit)))
    };
    Ok(match marker {
        // Positive and negative small integers, nil and booleans.
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => Item::Leaf(0),
        // Maps of up to 15 pairs, arrays of up to 15 elements, strings of up to 31 bytes.
        0x80..=0x8f => Item::Branch(0, usize::from(marker & 0x0f) * 2),
        0x90..=0x9f => Item::Branch(0, usize::from(marker & 0x0f)),
        0xa0..=0xbf => Item::Leaf(usize::from(marker & 0x1f)),
        // Binary and string with a length of 1, 2 or 4 bytes.
        0xc4 | 0xd9 => Item::Leaf(1 + length(1)?),
        0xc5 | 0xda => Item::Leaf(2 + length(2)?),
        0xc6 | 0xdb => Item::Leaf(4usize.saturating_add(length(4)?)),
        // Numbers of 1, 2, 4 and 8 bytes.
        0xcc | 0xd0 => Item::Leaf(1),
        0xcd | 0xd1 => Item::Leaf(2),
        0xca | 0xce | 0xd2 => Item::Leaf(4),
        0xcb | 0xcf | 0xd3 => Item::Leaf(8),
        // Arrays and maps with a length of 2 or 4 bytes.
        0xdc => Item::Branch(2, length(2)?),
        0xdd => Item::Branch(4, length(4)?),
        0xde => Item::Branch(2, length(2)?.saturating_mul(2)),
        0xdf => Item::Branch(4, length(4)?.saturating_mul(2)),
        // Extensions and the reserved marker.
        0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => {
            return Err(StructureError::UnusedMarker { marker, offset });
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(payload: &[u8]) -> Result<(), StructureError> {
        check(payload, 8, 1000)
    }

    #[test]
    fn every_kind_of_value_is_walked() {
        for payload in [
            &[0x00][..],
            &[0xff],
            &[0xc0],
            &[0xcc, 1],
            &[0xcd, 1, 2],
            &[0xce, 1, 2, 3, 4],
            &[0xcf, 1, 2, 3, 4, 5, 6, 7, 8],
            &[0xca, 0, 0, 0, 0],
            &[0xa2, b'a', b'b'],
            &[0xd9, 1, b'a'],
            &[0xda, 0, 1, b'a'],
            &[0xdb, 0, 0, 0, 1, b'a'],
            &[0xc4, 1, 9],
            &[0xc5, 0, 1, 9],
            &[0xc6, 0, 0, 0, 1, 9],
            &[0x90],
            &[0x80],
            &[0x92, 0x90, 0x91, 0x01],
            &[0x81, 0xa1, b'k', 0x92, 1, 2],
            &[0xdc, 0, 2, 1, 2],
            &[0xdd, 0, 0, 0, 2, 1, 2],
            &[0xde, 0, 1, 1, 2],
            &[0xdf, 0, 0, 0, 1, 1, 2],
        ] {
            assert_eq!(walk(payload), Ok(()), "{payload:02x?}");
            for cut in 0..payload.len() {
                assert!(
                    matches!(walk(&payload[..cut]), Err(StructureError::Overrun { .. })),
                    "{payload:02x?} cut at {cut}"
                );
            }
            let longer = [payload, &[0]].concat();
            assert_eq!(walk(&longer), Err(StructureError::Trailing { surplus: 1 }));
        }
    }

    #[test]
    fn claims_beyond_the_payload_are_refused() {
        for payload in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff, 0][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff, 0],
            &[0xdb, 0xff, 0xff, 0xff, 0xff, 0],
            &[0xc6, 0xff, 0xff, 0xff, 0xff, 0],
            &[0x92, 0xdc, 0x00, 0x03, 1, 2],
        ] {
            assert!(matches!(walk(payload), Err(StructureError::Overrun { .. })), "{payload:02x?}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |levels: usize| [vec![0x91; levels], vec![0xc0]].concat();
        assert_eq!(walk(&nested(8)), Ok(()));
        assert_eq!(walk(&nested(9)), Err(StructureError::TooDeep { depth_max: 8 }));
        assert_eq!(
            check(&nested(1_000_000), usize::MAX, usize::MAX),
            Err(StructureError::TooDeep { depth_max: DEPTH_CEILING })
        );
        let flat = [vec![0xdc, 0x04, 0x00], vec![0xc0; 1024]].concat();
        assert_eq!(walk(&flat), Err(StructureError::TooManyValues { values_max: 1000 }));
    }

    #[test]
    fn extensions_and_reserved_markers_are_refused() {
        for marker in [0xc1, 0xc7, 0xc8, 0xc9, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8] {
            assert_eq!(
                walk(&[0x91, marker, 0, 0, 0, 0]),
                Err(StructureError::UnusedMarker { marker, offset: 1 })
            );
        }
    }
}
