//! The relay with real sockets: what arrives where, and not before its time.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use isochrone_emulator::{Emulator, EmulatorOptions, LinkPlan, LinkSettings};
use isochrone_link::{Chance, Jitter, Loss, QueueSettings, WireSettings};
use isochrone_model::{BytesPerSecond, Span};

const LOCAL: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

fn fixed(latency: Span) -> LinkSettings {
    LinkSettings { wire: WireSettings::new(Jitter::fixed(latency)), queue: None }
}

fn socket_at(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = [0; 2_000];
    let (size, source) = socket.recv_from(&mut buffer).unwrap();
    (buffer[..size].to_vec(), source)
}

fn two(there: LinkSettings, back: LinkSettings) -> (Emulator, SocketAddr, UdpSocket, UdpSocket) {
    let (client, server) = (socket_at(LOCAL), socket_at(LOCAL));
    let emulator =
        Emulator::start(EmulatorOptions::new(LinkPlan::between_two(1, there, back), 0).log(1_000)).unwrap();
    let front = emulator.front(LOCAL, 1, server.local_addr().unwrap()).unwrap();
    (emulator, front, client, server)
}

#[test]
fn datagrams_go_there_and_back_with_the_delay_of_each_direction() {
    let (emulator, front, client, server) = two(fixed(Span::from_millis(20)), fixed(Span::from_millis(40)));
    client.send_to(b"ping", front).unwrap();
    let (contents, relay) = receive(&server);
    assert_eq!(contents, b"ping");
    server.send_to(b"pong", relay).unwrap();
    assert_eq!(receive(&client), (b"pong".to_vec(), front));
    let log = emulator.take_log();
    assert_eq!((log[0].from, log[0].to, log[0].size_bytes), (0, 1, 4));
    assert_eq!((log[1].from, log[1].to), (1, 0));
    assert!(log[1].at.since(log[0].at) >= Span::from_millis(40), "{log:?}");
    let counters = emulator.counters().unwrap();
    assert_eq!(counters.len(), 2);
    assert!(counters.iter().all(|pair| pair.counters.delivered == 1));
}

#[test]
fn many_sources_of_one_front_have_addresses_of_their_own_that_stay() {
    let (_emulator, front, first, server) = two(fixed(Span::ZERO), fixed(Span::ZERO));
    let second = socket_at(LOCAL);
    let mut seen = Vec::new();
    for round in 0..3_u8 {
        for (place, client) in [&first, &second].into_iter().enumerate() {
            client.send_to(&[round, place as u8], front).unwrap();
            let (contents, relay) = receive(&server);
            assert_eq!(contents, [round, place as u8]);
            server.send_to(&contents, relay).unwrap();
            assert_eq!(receive(client), (contents, front));
            seen.push(relay);
        }
    }
    assert_ne!(seen[0], seen[1]);
    assert!(seen.iter().step_by(2).all(|relay| *relay == seen[0]));
    assert!(seen.iter().skip(1).step_by(2).all(|relay| *relay == seen[1]));
}

#[test]
fn bursts_of_all_sizes_arrive_whole_and_in_order() {
    let (_emulator, front, client, server) = two(fixed(Span::from_millis(2)), fixed(Span::ZERO));
    let sizes = [1_200, 1_200, 1_200, 700, 0, 1_200, 9, 1_472, 1_472, 1_471];
    for (number, size) in sizes.iter().enumerate() {
        client.send_to(&vec![number as u8; *size], front).unwrap();
    }
    for (number, size) in sizes.iter().enumerate() {
        assert_eq!(receive(&server).0, vec![number as u8; *size], "{number}");
    }
}

#[test]
fn a_link_that_changes_does_so_for_what_comes_after() {
    let (emulator, front, client, server) = two(fixed(Span::from_millis(1)), fixed(Span::ZERO));
    let mut lost = fixed(Span::from_millis(1));
    lost.wire.loss = Loss::independent(Chance::ALWAYS);
    for number in 0..3_u8 {
        client.send_to(&[number], front).unwrap();
        // Told of in the same order as they happen here.
        while emulator.counters().unwrap().first().map_or(0, |pair| pair.counters.offered)
            <= u64::from(number)
        {
            std::thread::yield_now();
        }
        match number {
            0 => emulator.change(0, 1, lost.clone()).unwrap(),
            _ => emulator.change(0, 1, fixed(Span::from_millis(1))).unwrap(),
        }
    }
    assert_eq!((receive(&server).0, receive(&server).0), (vec![0], vec![2]));
    assert_eq!(emulator.counters().unwrap()[0].counters.lost, 1);
}

#[test]
fn a_rate_spreads_a_burst_and_a_full_queue_drops() {
    let mut slow = fixed(Span::ZERO);
    // 1,028 bytes on the wire take 10.28 ms; five may wait.
    slow.queue = Some(QueueSettings { rate: BytesPerSecond(100_000), limit_bytes: 5_140 });
    let (emulator, front, client, server) = two(slow, fixed(Span::ZERO));
    for number in 0..10_u8 {
        client.send_to(&[number; 1_000], front).unwrap();
    }
    for _ in 0..6 {
        receive(&server);
    }
    let log = emulator.take_log();
    let gaps: Vec<u64> = log.windows(2).map(|pair| pair[1].at.since(pair[0].at).0).collect();
    assert_eq!(gaps, [10_280_000; 5]);
    assert_eq!(emulator.counters().unwrap()[0].counters.dropped, 4);
}

#[test]
fn parties_are_told_apart_by_their_addresses() {
    // Three parties: 0 is whoever has no address of its own.
    let mut plan = LinkPlan::new(3, 0);
    for (from, to) in (0..3).flat_map(|from| (0..3).map(move |to| (from, to))).filter(|(from, to)| from != to)
    {
        plan.connect(from, to, fixed(Span::from_millis(1 + from as u64)), None, None);
    }
    let address = |last: u8| SocketAddr::new(Ipv4Addr::new(127, 1, 0, last).into(), 0);
    let (client, first, second) = (socket_at(LOCAL), socket_at(address(1)), socket_at(address(2)));
    let options = EmulatorOptions::new(plan, 0).party(address(1).ip(), 1).party(address(2).ip(), 2).log(100);
    let emulator = Emulator::start(options).unwrap();
    let to_first = emulator.front(LOCAL, 1, first.local_addr().unwrap()).unwrap();
    let to_second = emulator.front(LOCAL, 2, second.local_addr().unwrap()).unwrap();
    for (from, front, at) in
        [(&client, to_first, &first), (&second, to_first, &first), (&first, to_second, &second)]
    {
        from.send_to(b"there", front).unwrap();
        let (_, relay) = receive(at);
        at.send_to(b"back", relay).unwrap();
        assert_eq!(receive(from), (b"back".to_vec(), front));
    }
    let pairs: Vec<(usize, usize)> = emulator.take_log().iter().map(|entry| (entry.from, entry.to)).collect();
    assert_eq!(pairs, [(0, 1), (1, 0), (2, 1), (1, 2), (1, 2), (2, 1)]);
}
