//! Bare quinn whose datagrams and socket buffers are as large as the farm's.

use std::net::SocketAddr;

use anyhow::Context;
use quinn::{Endpoint, EndpointConfig, ServerConfig};

/// The largest datagram, as `transport/src/options.rs` has it.
pub const DATAGRAM_BYTES_MAX: u16 = 6_500;
/// The most of one stream that may be on its way, as the farm's transport has it.
pub const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// Of each direction of a socket, as the farm's transport has it: with the system's own size a burst of the pacer is lost
/// whenever a processor is late.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// An endpoint on an address of IPv4.
///
/// # Errors
///
/// The socket cannot be had, or no runtime of tokio is there.
pub fn endpoint(address: SocketAddr, server: Option<ServerConfig>) -> anyhow::Result<Endpoint> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES)?;
    socket.bind(&address.into())?;
    let mut config = EndpointConfig::default();
    config.max_udp_payload_size(DATAGRAM_BYTES_MAX)?;
    let runtime = quinn::default_runtime().context("no runtime")?;
    Ok(Endpoint::new(config, server, socket.into(), runtime)?)
}
