//! A path between a client and a server on which datagrams to the client can be held back or lost.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::farm::any_port;

/// Larger than any datagram.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;

/// What becomes of datagrams to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Pass,
    Hold,
    Lose,
}

/// Passes datagrams on between one client, the first to send some, and a server.
pub struct Path {
    /// Where the client finds the server.
    pub address: SocketAddr,
    flow: watch::Sender<Flow>,
    _tasks: JoinSet<()>,
}

impl Path {
    pub async fn to(server: SocketAddr) -> Self {
        let near = Arc::new(UdpSocket::bind(any_port()).await.expect("bound"));
        let far = Arc::new(UdpSocket::bind(any_port()).await.expect("bound"));
        far.connect(server).await.expect("connected");
        let address = near.local_addr().expect("bound");
        let (flow, flows) = watch::channel(Flow::Pass);
        let (client, clients) = watch::channel(None);
        let mut tasks = JoinSet::new();
        tasks.spawn(pass_to_server(near.clone(), far.clone(), client));
        tasks.spawn(pass_to_client(far, near, clients, flows));
        Self { address, flow, _tasks: tasks }
    }

    /// Holds back what goes to the client until `pass`.
    pub fn hold(&self) {
        self.flow.send_replace(Flow::Hold);
    }

    /// Loses what goes to the client until `pass`.
    pub fn lose(&self) {
        self.flow.send_replace(Flow::Lose);
    }

    /// Lets what was held back go, in order and at once, and then all else.
    pub fn pass(&self) {
        self.flow.send_replace(Flow::Pass);
    }
}

async fn pass_to_server(
    near: Arc<UdpSocket>,
    far: Arc<UdpSocket>,
    client: watch::Sender<Option<SocketAddr>>,
) {
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        let (bytes, from) = near.recv_from(&mut datagram).await.expect("received");
        client.send_if_modified(|client| client.replace(from) != Some(from));
        far.send(&datagram[..bytes]).await.expect("sent");
    }
}

async fn pass_to_client(
    far: Arc<UdpSocket>,
    near: Arc<UdpSocket>,
    mut clients: watch::Receiver<Option<SocketAddr>>,
    mut flows: watch::Receiver<Flow>,
) {
    let client = clients.wait_for(Option::is_some).await.expect("a client").expect("just seen");
    let mut datagram = vec![0; DATAGRAM_BYTES_MAX];
    let mut held = Vec::new();
    loop {
        tokio::select! {
            received = far.recv(&mut datagram) => {
                let bytes = received.expect("received");
                let flow = *flows.borrow();
                match flow {
                    Flow::Pass | Flow::Hold => held.push(datagram[..bytes].to_vec()),
                    Flow::Lose => {}
                }
            }
            changed = flows.changed() => changed.expect("the path is in use"),
        }
        let flow = *flows.borrow();
        if flow == Flow::Pass {
            for datagram in held.drain(..) {
                near.send_to(&datagram, client).await.expect("sent");
            }
        }
    }
}
