//! How much of a frame a command takes, and where a batch that is larger than a frame is split.
//!
//! Must never hold ids or state; the bounds of frames themselves belong to `protocol`.

use isochrone_model::{Argument, Command, CommandKind, Payload};

/// Bytes of commands in one frame: `protocol` refuses frames above 4 MiB; the rest is for the head.
pub(crate) const BATCH_BYTES_MAX: u64 = (4 << 20) - 1_024;
/// Values of commands in one frame: `protocol` refuses more than 2,097,152.
pub(crate) const BATCH_VALUES_MAX: u64 = (2 << 20) - 64;
/// Longest label sent; labels are for people.
pub(crate) const LABEL_BYTES_MAX: usize = 1_024;
/// Longest kernel name sent where a command would not fit a frame otherwise.
pub(crate) const KERNEL_NAME_BYTES_MAX: usize = 1_024;

/// An upper bound on what commands take in a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    pub bytes: u64,
    pub values: u64,
}

impl Weight {
    pub fn plus(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, values: self.values + other.values }
    }

    pub fn fits(self) -> bool {
        self.bytes <= BATCH_BYTES_MAX && self.values <= BATCH_VALUES_MAX
    }

    /// Of a command that names `after_count` predecessors, whatever their ids.
    pub fn of_kind(kind: &CommandKind, label: &str, after_count: usize) -> Self {
        // The largest encodings: 9 bytes for a number, 5 before a string, bytes or an array.
        let head = Self {
            bytes: 1 + 9 + 5 + 9 * after_count as u64 + 5 + label.len() as u64 + 16,
            values: 8 + after_count as u64,
        };
        head.plus(match kind {
            CommandKind::Launch(launch) => {
                let head = Self {
                    bytes: 1
                        + 9
                        + 5
                        + launch.kernel.len() as u64
                        + 4
                        + numbers(&launch.range.global)
                        + numbers(&launch.range.local)
                        + numbers(&launch.range.offset)
                        + 5,
                    values: 18,
                };
                launch.arguments.iter().map(of_argument).fold(head, Self::plus)
            }
            CommandKind::Write { payload, .. } => match payload {
                Payload::Inline(bytes) => Self { bytes: 40 + bytes.len() as u64, values: 8 },
                Payload::Stream { .. } => Self { bytes: 40, values: 8 },
            },
            CommandKind::Read { .. } => Self { bytes: 28, values: 4 },
            CommandKind::Copy { .. } => Self { bytes: 46, values: 6 },
            CommandKind::Fill { pattern, .. } => Self { bytes: 33 + pattern.len() as u64, values: 5 },
            CommandKind::Barrier | CommandKind::Marker => Self::default(),
        })
    }

    pub fn of(command: &Command) -> Self {
        Self::of_kind(&command.kind, &command.label, command.after.len())
    }
}

fn of_argument(argument: &Argument) -> Weight {
    match argument {
        Argument::Buffer(buffer) => Weight {
            bytes: 9
                + 1
                + number(buffer.buffer.0)
                + 12
                + [buffer.part, buffer.touches]
                    .iter()
                    .map(|range| range.map_or(1, |range| 1 + number(range.start) + number(range.end)))
                    .sum::<u64>(),
            values: 12,
        },
        Argument::Scalar(bytes) => Weight { bytes: 9 + 5 + bytes.len() as u64, values: 3 },
        Argument::Local(_) => Weight { bytes: 9 + 9, values: 3 },
    }
}

fn numbers(values: &[u64; 3]) -> u64 {
    1 + values.iter().map(|value| number(*value)).sum::<u64>()
}

fn number(value: u64) -> u64 {
    match value {
        0..=0x7f => 1,
        0x80..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        0x1_0000_0000..=u64::MAX => 9,
    }
}

/// Where to split a graph so that each part fits a frame and no member names one of a later part:
/// the first places of the parts, without 0. `None` when there is no such split.
///
/// `latest_after[i]` is the place of the latest member that member `i` names, or `i` if none is later.
pub(crate) fn split(weights: &[Weight], latest_after: &[usize]) -> Option<Vec<usize>> {
    let mut cuts = Vec::new();
    let mut part = Weight::default();
    let mut part_start = 0;
    let mut candidate = 0;
    let mut since_candidate = Weight::default();
    let mut reach = 0;
    for (place, weight) in weights.iter().enumerate() {
        if reach < place || place == 0 {
            candidate = place;
            since_candidate = Weight::default();
        }
        part = part.plus(*weight);
        since_candidate = since_candidate.plus(*weight);
        if !part.fits() {
            if candidate == part_start || !since_candidate.fits() {
                return None;
            }
            cuts.push(candidate);
            part_start = candidate;
            part = since_candidate;
        }
        reach = reach.max(latest_after[place]);
    }
    Some(cuts)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use isochrone_model::message::ClientRequest;
    use isochrone_model::{
        Access, BufferArgument, BufferId, ByteRange, CommandId, Launch, NdRange, ProgramId,
    };

    use super::*;

    fn command(kind: CommandKind) -> Command {
        Command {
            id: CommandId(u64::MAX),
            after: vec![CommandId(u64::MAX); 40],
            label: "label".repeat(60),
            kind,
        }
    }

    #[test]
    fn no_command_takes_more_than_its_weight() {
        let whole = ByteRange { start: u64::MAX, end: u64::MAX };
        let launch = Launch {
            program: ProgramId(u64::MAX),
            kernel: "k".repeat(300),
            range: NdRange { dimensions: 3, global: [u64::MAX; 3], local: [1; 3], offset: [1 << 20; 3] },
            arguments: vec![
                Argument::Buffer(BufferArgument {
                    buffer: BufferId(u64::MAX),
                    part: Some(whole),
                    access: Some(Access::ReadWrite),
                    touches: Some(whole),
                }),
                Argument::Scalar(Bytes::from(vec![1; 70_000])),
                Argument::Local(u64::MAX),
            ],
        };
        let buffer = BufferId(u64::MAX);
        let kinds = [
            CommandKind::Launch(launch),
            CommandKind::Write {
                buffer,
                offset_bytes: u64::MAX,
                payload: Payload::Inline(Bytes::from(vec![1; 2_048])),
            },
            CommandKind::Write {
                buffer,
                offset_bytes: u64::MAX,
                payload: Payload::Stream { size_bytes: u64::MAX },
            },
            CommandKind::Read { buffer, offset_bytes: u64::MAX, size_bytes: u64::MAX },
            CommandKind::Copy {
                source: buffer,
                source_offset_bytes: u64::MAX,
                target: buffer,
                target_offset_bytes: u64::MAX,
                size_bytes: u64::MAX,
            },
            CommandKind::Fill {
                buffer,
                offset_bytes: u64::MAX,
                size_bytes: u64::MAX,
                pattern: Bytes::from(vec![1; 128]),
            },
            CommandKind::Barrier,
            CommandKind::Marker,
        ];
        let limits = isochrone_protocol::Limits::default();
        for kind in kinds {
            let command = command(kind);
            let weight = Weight::of(&command);
            let mut frame = bytes::BytesMut::new();
            let batch = ClientRequest::Submit { commands: vec![command; 5] };
            isochrone_protocol::encode_frame(&batch, &mut frame, &limits).unwrap();
            let taken = frame.len() as u64;
            assert!(taken <= weight.bytes * 5 + 64, "{taken} > {weight:?}");
            assert!(taken * 2 > weight.bytes * 5, "{taken} far below {weight:?}");
        }
    }

    #[test]
    fn a_split_keeps_members_with_those_they_name() {
        let heavy = Weight { bytes: BATCH_BYTES_MAX / 2, values: 1 };
        let none: Vec<usize> = (0..5).collect();
        assert_eq!(split(&[heavy; 5], &none), Some(vec![2, 4]));
        assert_eq!(split(&[heavy; 5], &[0, 2, 2, 3, 4]), Some(vec![1, 3]));
        assert_eq!(split(&[heavy; 3], &[2, 1, 2]), None);
        assert_eq!(split(&[Weight::default(); 3], &[2, 1, 2]), Some(vec![]));
    }
}
