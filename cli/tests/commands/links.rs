//! Emulated links: the command that is one, and a farm whose members are joined by those of a cluster.

use std::net::UdpSocket;
use std::time::Duration;

use crate::shell::Shell;

#[test]
fn a_link_relays_datagrams_and_says_what_became_of_them() {
    let shell = Shell::new();
    let (client, server) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    std::fs::write(
        shell.path().join("changes.toml"),
        "[[change]]\nafter = \"1us\"\ndirection = \"back\"\nduplicate = \"100%\"\n",
    )
    .unwrap();
    let to = server.local_addr().unwrap();
    let mut link = shell.daemon(&format!(
        "isochrone link --listen 127.0.0.1:0 --to {to} --delay 3ms --jitter 1ms --rate 100Mbit --back loss=0 \
         --schedule changes.toml --json --stop-with-input"
    ));
    let ready = link.json_line();
    assert_eq!(ready["event"], "listening");
    let address = ready["address"].as_str().unwrap().to_owned();
    let mut buffer = [0; 100];
    client.send_to(b"there", &address).unwrap();
    let (size, relay) = server.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..size], b"there");
    server.send_to(b"back", relay).unwrap();
    for _ in 0..2 {
        let (size, source) = client.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..size], source.to_string()), (&b"back"[..], address.clone()));
    }
    let printed = link.stops_with_its_input();
    let reports: serde_json::Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(reports[0]["direction"], "there");
    assert_eq!((&reports[0]["delivered"], &reports[0]["delivered_bytes"]), (&1.into(), &5.into()));
    assert_eq!((&reports[1]["delivered"], &reports[1]["duplicated"]), (&2.into(), &1.into()));
}

#[test]
fn links_that_make_no_sense_are_refused_in_words() {
    let shell = Shell::new();
    let error = |flags: &str| shell.fail(&format!("isochrone link --to 127.0.0.1:9 {flags}"));
    assert!(error("--delay 10").contains("`10` is not a time such as 10ms"));
    assert!(error("--queue 1MB").contains("nothing waits in a queue without a rate"));
    assert!(error("--listen [::1]:0").contains("address family"));
    assert!(error("--back speed=1").contains("there is no setting `speed`"));
    std::fs::write(shell.path().join("wrong.toml"), "[[change]]\nafter = \"1s\"\nloss = \"much\"\n").unwrap();
    let wrong = error("--schedule wrong.toml");
    assert!(wrong.contains("wrong.toml") && wrong.contains("line 3") && wrong.contains("`much`"), "{wrong}");
}

#[test]
fn a_farm_of_a_cluster_has_its_agents_and_links() {
    let mut shell = Shell::new();
    std::fs::write(
        shell.path().join("two.toml"),
        "default_link = { latency_us = 5000, bandwidth_mbit = 200 }\n\
         [[agents]]\nname = \"near\"\n[[agents.devices]]\nname = \"slow\"\nspeed = 1\n\
         [[agents]]\nname = \"far\"\n[[agents.devices]]\nname = \"fast\"\nspeed = 4\n",
    )
    .unwrap();
    let mut farm =
        shell.daemon("isochrone up --cluster two.toml --listen 127.0.0.1:0 --json --stop-with-input");
    let ready = farm.json_line();
    shell.export("ISOCHRONE_SCHEDULER", ready["scheduler"].as_str().unwrap());
    shell.export("ISOCHRONE_CERTIFICATES", ready["certificates"].as_str().unwrap());
    let status = shell.await_output("isochrone status --json", |printed| {
        let status: serde_json::Value = serde_json::from_str(printed).unwrap();
        let agents = status["agents"].as_array().unwrap();
        // A round trip of two delays, once it has been measured.
        agents.len() == 2
            && agents.iter().all(|agent| agent["round_trip"].as_u64().unwrap_or(0) >= 10_000_000)
    });
    assert!(status.contains("near") && status.contains("far"), "{status}");
    let devices = shell.json("isochrone devices --json");
    let speeds: Vec<u64> = devices
        .as_array()
        .unwrap()
        .iter()
        .map(|device| device["facts"]["prior_items_per_us"].as_u64().unwrap())
        .collect();
    assert_eq!(speeds, [1_000, 4_000]);
    let summary = shell.json("isochrone run 'chains(chains=2,length=3)' --json");
    assert!(summary["makespan_seconds"].as_f64().unwrap() >= 0.015, "three trips at least: {summary}");
    farm.terminate();
}
