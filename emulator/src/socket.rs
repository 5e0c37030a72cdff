//! A UDP socket that takes in and sends many datagrams with one call where the system can.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use bytes::Bytes;
use quinn_udp::{BATCH_SIZE, EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use rustix::fd::{AsFd, BorrowedFd};

/// Room for one receipt: several datagrams of one sender come together where the system can do that.
const RECEIPT_BYTES_MAX: usize = 64 << 10;

/// Asked of the system; it may grant less (`net.core.rmem_max`).
const BUFFER_BYTES: usize = 8 << 20;

/// A socket.
#[derive(Debug)]
pub(super) struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// Datagrams of one sender, one after the other, of the same size but for the last.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    pub source: SocketAddr,
    pub contents: Bytes,
    pub datagram_bytes: usize,
    pub congestion: Option<EcnCodepoint>,
}

/// Where receipts are put first.
pub(super) struct ReceiveBuffers(Vec<Vec<u8>>);

impl ReceiveBuffers {
    pub(super) fn new() -> Self {
        Self((0..BATCH_SIZE).map(|_| vec![0; RECEIPT_BYTES_MAX]).collect())
    }
}

impl Socket {
    pub(super) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new((&socket).into())?;
        // Less than asked for is no failure: what does not fit is lost, as on any host.
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER_BYTES);
        Ok(Self { socket, state })
    }

    /// Takes in datagrams of this peer only from here on.
    pub(super) fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.socket.connect(peer)
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Appends what waits, up to a bound.
    pub(super) fn receive(&self, buffers: &mut ReceiveBuffers, receipts: &mut Vec<Receipt>) {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut slices: Vec<IoSliceMut<'_>> =
            buffers.0.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        // Nothing there, or a peer's port was closed: either way there is nothing to take in.
        let Ok(count) = self.state.recv((&self.socket).into(), &mut slices, &mut metas) else { return };
        for (slice, meta) in slices.iter().zip(&metas).take(count) {
            receipts.push(Receipt {
                source: meta.addr,
                contents: Bytes::copy_from_slice(&slice[..meta.len]),
                datagram_bytes: meta.stride.max(1),
                congestion: meta.ecn,
            });
        }
    }

    /// Sends datagrams of `datagram_bytes` each (the last may be smaller). What cannot be sent is lost.
    pub(super) fn send(
        &self,
        to: SocketAddr,
        contents: &[u8],
        datagram_bytes: usize,
        congestion: Option<EcnCodepoint>,
    ) {
        let transmit = Transmit {
            destination: to,
            ecn: congestion,
            contents,
            segment_size: (contents.len() > datagram_bytes).then_some(datagram_bytes),
            src_ip: None,
        };
        for _ in 0..SEND_ATTEMPTS {
            match self.state.try_send((&self.socket).into(), &transmit) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                // A port that was closed; as on any network its datagrams are lost.
                Ok(()) | Err(_) => return,
            }
        }
    }

    /// Most datagrams that one call sends.
    pub(super) fn datagrams_max(&self) -> usize {
        self.state.max_gso_segments()
    }
}

/// How often a full send buffer is tried again before the datagrams are lost.
const SEND_ATTEMPTS: usize = 100;

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
