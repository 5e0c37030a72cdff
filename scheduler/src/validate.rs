//! What a peer may say: checks that types alone do not make.
//!
//! It must never refuse what the machine answers with an error of its own; only what no correct peer
//! sends, and what would make arithmetic on it wrong.

use std::net::SocketAddr;

use isochrone_model::links::ROUND_TRIPS_MAX;
use isochrone_model::message::{BulkHeader, ClientRequest, PeerMessage, RelayTarget};
use isochrone_model::{AgentFacts, AgentId, Argument, ByteRange, CommandKind, Region, Report, SessionId};
use isochrone_sched_core::agent::DEVICES_MAX;

/// More slots than this on one device are a mistake: each is a lane with queues of its own.
const SLOTS_MAX: u16 = 1_024;

/// What a peer said that no correct peer says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Violation {
    #[error("the first message is not a hello")]
    NoHello,
    #[error("a second hello")]
    SecondHello,
    #[error("the hello names {claimed:?}, the certificate {certified:?}")]
    OtherName { claimed: String, certified: String },
    #[error("{address:?} is no address of the form ip:port")]
    Address { address: String },
    #[error("{what} is {value}, allowed are {least} to {most}")]
    Fact { what: &'static str, value: u64, least: u64, most: u64 },
    #[error("a range ends before it begins")]
    Range,
    #[error("a message in the name of {claimed}, sent by {sender}")]
    OtherSender { claimed: AgentId, sender: AgentId },
    #[error("{given_bytes} bytes were sent for {range}")]
    Size { range: ByteRange, given_bytes: u64 },
    #[error("a request before `Open`")]
    NoSession,
    #[error("a second `Open`")]
    SecondOpen,
    #[error("a stream that is not to be relayed from here to there")]
    Relay,
}

/// Checks how an agent introduces itself.
pub(crate) fn agent_facts(facts: &AgentFacts, certified: &str) -> Result<(), Violation> {
    if facts.name != certified {
        let certified = certified.to_owned();
        return Err(Violation::OtherName { claimed: facts.name.clone(), certified });
    }
    match facts.address.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 && !address.ip().is_unspecified() => {}
        Ok(_) | Err(_) => return Err(Violation::Address { address: facts.address.clone() }),
    }
    fact("number of devices", facts.devices.len() as u64, 0, DEVICES_MAX as u64)?;
    for device in &facts.devices {
        fact("number of slots", device.slots.into(), 1, SLOTS_MAX.into())?;
        fact("prior items per us", device.prior_items_per_us, 1, u64::MAX)?;
        fact("device memory in bytes", device.memory_bytes, 0, 1 << 60)?;
    }
    fact("host memory in bytes", facts.host_memory_bytes, 0, 1 << 60)
}

fn fact(what: &'static str, value: u64, least: u64, most: u64) -> Result<(), Violation> {
    let is_allowed = (least..=most).contains(&value);
    is_allowed.then_some(()).ok_or(Violation::Fact { what, value, least, most })
}

/// Checks a report of an agent.
pub(crate) fn report(report: &Report) -> Result<(), Violation> {
    match report {
        Report::Arrived { region: named, .. } | Report::PushFailed { region: named, .. } => region(*named),
        Report::Finished { .. }
        | Report::Retracted { .. }
        | Report::Built { .. }
        | Report::Carried { .. }
        | Report::Memory { .. } => Ok(()),
        Report::PathMeasured { sample, .. } => {
            fact("number of round trips", sample.round_trips.len() as u64, 0, ROUND_TRIPS_MAX as u64)
        }
    }
}

/// Checks a request of a client.
pub(crate) fn request(request: &ClientRequest) -> Result<(), Violation> {
    let ClientRequest::Submit { commands } = request else { return Ok(()) };
    for command in commands {
        let CommandKind::Launch(launch) = &command.kind else { continue };
        for argument in &launch.arguments {
            let Argument::Buffer(buffer) = argument else { continue };
            for range in [buffer.part, buffer.touches].into_iter().flatten() {
                self::range(range)?;
            }
        }
    }
    Ok(())
}

/// Checks what an agent wants relayed to another.
pub(crate) fn peer_message(message: &PeerMessage, sender: AgentId) -> Result<(), Violation> {
    match message {
        PeerMessage::Hello { .. } => Err(Violation::Relay),
        PeerMessage::Notice { .. } => Ok(()),
        PeerMessage::Replica { from, region: named, bytes } => {
            region(*named)?;
            same_sender(*from, sender)?;
            let given_bytes = bytes.len() as u64;
            let fits = named.range.len() == given_bytes;
            fits.then_some(()).ok_or(Violation::Size { range: named.range, given_bytes })
        }
    }
}

/// Who opened a stream that is to be relayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    Agent(AgentId),
    Session(SessionId),
}

/// Checks the head of a stream that is to be relayed; gives the receiver and what it is to get.
pub(crate) fn relay(header: BulkHeader, sender: Sender) -> Result<(RelayTarget, BulkHeader), Violation> {
    let BulkHeader::Relay { to, header } = header else { return Err(Violation::Relay) };
    match (&*header, to, sender) {
        (BulkHeader::Payload { session, .. }, RelayTarget::Agent(_), Sender::Session(own)) => {
            (*session == own).then_some(()).ok_or(Violation::Relay)?;
        }
        (BulkHeader::Replica { from, region: named }, RelayTarget::Agent(_), Sender::Agent(own)) => {
            region(*named)?;
            same_sender(*from, own)?;
        }
        (BulkHeader::Data { session, .. }, RelayTarget::Session(target), Sender::Agent(_)) => {
            (*session == target).then_some(()).ok_or(Violation::Relay)?;
        }
        (
            BulkHeader::Payload { .. }
            | BulkHeader::Replica { .. }
            | BulkHeader::Data { .. }
            | BulkHeader::Relay { .. },
            RelayTarget::Agent(_) | RelayTarget::Session(_),
            Sender::Agent(_) | Sender::Session(_),
        ) => return Err(Violation::Relay),
    }
    Ok((to, *header))
}

fn same_sender(claimed: AgentId, sender: AgentId) -> Result<(), Violation> {
    (claimed == sender).then_some(()).ok_or(Violation::OtherSender { claimed, sender })
}

fn region(region: Region) -> Result<(), Violation> {
    range(region.range)
}

fn range(range: ByteRange) -> Result<(), Violation> {
    (range.start <= range.end).then_some(()).ok_or(Violation::Range)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use isochrone_model::{BufferKey, CommandId, TaskId, Version};

    use super::*;

    fn facts(name: &str, address: &str) -> AgentFacts {
        AgentFacts {
            name: name.to_owned(),
            address: address.to_owned(),
            devices: Vec::new(),
            host_memory_bytes: 1,
        }
    }

    fn region(start: u64, end: u64) -> Region {
        let range = ByteRange { start, end };
        Region { buffer: BufferKey::default(), range, version: Version(1) }
    }

    #[test]
    fn agents_must_carry_their_certificates_name_and_an_address_to_dial() {
        assert_eq!(agent_facts(&facts("a", "127.0.0.1:9"), "a"), Ok(()));
        assert!(matches!(agent_facts(&facts("b", "127.0.0.1:9"), "a"), Err(Violation::OtherName { .. })));
        for address in ["", "host:9", "127.0.0.1:0", "0.0.0.0:9"] {
            let refused = agent_facts(&facts("a", address), "a");
            assert!(matches!(refused, Err(Violation::Address { .. })), "{address}");
        }
    }

    #[test]
    fn ranges_that_end_before_they_begin_are_refused() {
        let arrived = |region| Report::Arrived { region, from: AgentId(1) };
        assert_eq!(report(&arrived(region(1, 2))), Ok(()));
        assert_eq!(report(&arrived(region(2, 1))), Err(Violation::Range));
    }

    #[test]
    fn replicas_are_relayed_only_in_ones_own_name_and_size() {
        let replica = |from, end| PeerMessage::Replica {
            from: AgentId(from),
            region: region(0, end),
            bytes: Bytes::from_static(b"abc"),
        };
        assert_eq!(peer_message(&replica(1, 3), AgentId(1)), Ok(()));
        assert!(peer_message(&replica(2, 3), AgentId(1)).is_err());
        assert!(peer_message(&replica(1, 4), AgentId(1)).is_err());
    }

    #[test]
    fn streams_are_relayed_only_where_they_belong() {
        let relayed = |to, header| BulkHeader::Relay { to, header: Box::new(header) };
        let payload = BulkHeader::Payload { session: SessionId(5), task: TaskId(1), size_bytes: 4 };
        let data =
            BulkHeader::Data { session: SessionId(5), command: CommandId(1), offset_bytes: 0, size_bytes: 4 };
        let agent = RelayTarget::Agent(AgentId(2));
        let client = RelayTarget::Session(SessionId(5));
        let given = relay(relayed(agent, payload.clone()), Sender::Session(SessionId(5)));
        assert_eq!(given, Ok((agent, payload.clone())));
        let given = relay(relayed(client, data.clone()), Sender::Agent(AgentId(1)));
        assert_eq!(given, Ok((client, data.clone())));
        for (header, sender) in [
            (payload.clone(), Sender::Session(SessionId(5))),
            (relayed(agent, payload.clone()), Sender::Session(SessionId(6))),
            (relayed(agent, payload.clone()), Sender::Agent(AgentId(2))),
            (relayed(client, payload.clone()), Sender::Session(SessionId(5))),
            (relayed(RelayTarget::Session(SessionId(4)), data), Sender::Agent(AgentId(1))),
            (relayed(agent, relayed(agent, payload)), Sender::Session(SessionId(5))),
        ] {
            assert_eq!(relay(header, sender), Err(Violation::Relay));
        }
    }
}
