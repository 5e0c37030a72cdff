//! Bulk between two processes of one user on one machine: Unix sockets instead of QUIC.
//!
//! Each side of a connection listens under a name that both derive from its TLS session and nobody can guess; who
//! reaches it is on the same machine. Names are in the kernel's abstract namespace: they end with their process,
//! however that ends. A socket is taken only from the same user, who could read this process's memory anyway, and
//! only with a proof derived likewise; the dialling side also says from which UDP port it sends, so that a
//! connection through a relay (an emulated link, say) stays on that.
//!
//! A stream is a socket of its own: what it is for, the proof, the header, then what `local_stream` says. Must never
//! hold what a header means.

use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::bulk::{ArrivedBulk, ReceiveCarrier};
use crate::connection::Shared;
use crate::link::Link;
use crate::local_stream::{LocalReceiver, LocalSender, Rings};
use crate::options::TransportOptions;

const ACCEPTING_LABEL: &[u8] = b"EXPORTER-isochrone-local-accepting";
const DIALLING_LABEL: &[u8] = b"EXPORTER-isochrone-local-dialling";
const PROOF_LABEL: &[u8] = b"EXPORTER-isochrone-local-proof";

/// What a socket is for: its first byte.
const ATTACH: u8 = 0;
const STREAM: u8 = 1;

/// The answer to an `ATTACH` that is taken.
const ATTACHED: u8 = 1;

const PROOF_BYTES: usize = 32;
const LENGTH_BYTES: usize = 4;

/// What the kernel may hold of one stream: enough that neither side waits for the other all the time.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

/// Sockets that wait to be accepted.
const BACKLOG: i32 = 128;

/// How long the other side may take to take a socket; it does nothing else first.
const ATTACH_TIMEOUT: Duration = Duration::from_secs(1);

/// The user of this process, as sockets show it; `None` where that is not to be found out.
static OWN_USER: OnceLock<Option<u32>> = OnceLock::new();

/// What both sides of a connection know, and nobody else.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct LocalSecrets {
    accepting: [u8; 16],
    dialling: [u8; 16],
    proof: [u8; PROOF_BYTES],
}

impl LocalSecrets {
    /// Of an established connection; `None` before the end of its handshake.
    pub(crate) fn of(quinn: &quinn::Connection) -> Option<Self> {
        let mut secrets = Self { accepting: [0; 16], dialling: [0; 16], proof: [0; PROOF_BYTES] };
        quinn.export_keying_material(&mut secrets.accepting, ACCEPTING_LABEL, &[]).ok()?;
        quinn.export_keying_material(&mut secrets.dialling, DIALLING_LABEL, &[]).ok()?;
        quinn.export_keying_material(&mut secrets.proof, PROOF_LABEL, &[]).ok()?;
        Some(secrets)
    }
}

/// Where the other side of a connection takes streams.
#[derive(Clone)]
pub(crate) struct LocalPeer {
    name: [u8; 16],
    proof: [u8; PROOF_BYTES],
    rings: Rings,
}

impl LocalPeer {
    fn new(name: [u8; 16], proof: [u8; PROOF_BYTES]) -> Self {
        Self { name, proof, rings: Rings::default() }
    }
}

impl std::fmt::Debug for LocalPeer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LocalPeer(..)")
    }
}

/// The listening end of one side of a connection.
pub(crate) struct LocalListener(UnixListener);

/// The accepting side's end, to be bound before the dialling side can know the name; `None` where there are no
/// such sockets.
pub(crate) fn bind_accepting(secrets: &LocalSecrets) -> Option<LocalListener> {
    bind(&secrets.accepting).inspect_err(|error| tracing::debug!(%error, "no local bulk")).ok()
}

fn bind(name: &[u8; 16]) -> io::Result<LocalListener> {
    let socket = socket()?;
    socket.bind(&address(name)?)?;
    socket.listen(BACKLOG)?;
    Ok(LocalListener(UnixListener::from_std(socket.into())?))
}

fn connect(name: &[u8; 16]) -> io::Result<UnixStream> {
    let socket = socket()?;
    // Says at once when there is nobody, or too many wait.
    socket.connect(&address(name)?)?;
    let stream = UnixStream::from_std(socket.into())?;
    same_user(&stream)?;
    Ok(stream)
}

fn socket() -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Less than asked for is no failure.
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    Ok(socket)
}

/// In the abstract namespace, which Linux alone has.
fn address(name: &[u8; 16]) -> io::Result<socket2::SockAddr> {
    if !cfg!(target_os = "linux") {
        return Err(io::ErrorKind::Unsupported.into());
    }
    let digits: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
    socket2::SockAddr::unix(format!("\0isochrone-{digits}"))
}

/// Refuses a socket whose other end belongs to another user.
fn same_user(stream: &UnixStream) -> io::Result<()> {
    let own = *OWN_USER.get_or_init(|| Some(UnixStream::pair().ok()?.0.peer_cred().ok()?.uid()));
    let theirs = stream.peer_cred()?.uid();
    if own == Some(theirs) { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}

/// On the dialling side: makes a way to the other side, if that is on this machine. From then on streams come in.
pub(crate) async fn attach(secrets: &LocalSecrets, port: u16, connection: &Weak<Shared>) -> io::Result<()> {
    let mut stream = connect(&secrets.accepting)?;
    let listener = bind(&secrets.dialling)?;
    let mut words = BytesMut::new();
    words.put_u8(ATTACH);
    words.put_slice(&secrets.proof);
    words.put_u16(port);
    let taken = async {
        stream.write_all(&words).await?;
        stream.read_u8().await
    };
    let answer = tokio::time::timeout(ATTACH_TIMEOUT, taken).await.map_err(io::Error::other)??;
    if answer != ATTACHED {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let connection = connection.upgrade().ok_or(io::ErrorKind::NotConnected)?;
    let peer = LocalPeer::new(secrets.accepting, secrets.proof);
    if connection.attach_local(peer) {
        tokio::spawn(listen(listener, secrets.clone(), connection.link.clone(), Arc::downgrade(&connection)));
    }
    Ok(())
}

/// Takes in sockets until the connection ends: on the accepting side the one that makes a way, then streams.
pub(crate) async fn listen(
    listener: LocalListener,
    secrets: LocalSecrets,
    link: Arc<Link>,
    connection: Weak<Shared>,
) {
    let Some(streams_max) = connection.upgrade().map(|connection| connection.options.bulk_streams_max) else {
        return;
    };
    let slots = Arc::new(Semaphore::new(streams_max.max(1) as usize));
    loop {
        let next = async {
            let slot = slots.clone().acquire_owned().await.ok()?;
            Some((slot, listener.0.accept().await))
        };
        tokio::select! {
            _ = link.closed() => return,
            next = next => match next {
                Some((slot, Ok((stream, _)))) => {
                    let (secrets, connection) = (secrets.clone(), connection.clone());
                    tokio::spawn(async move {
                        if let Err(error) = take_in(stream, &secrets, &connection, slot).await {
                            tracing::debug!(%error, "a local socket was not taken");
                        }
                    });
                }
                Some((_, Err(error))) => {
                    tracing::debug!(%error, "no local socket can be taken now");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                None => return,
            },
        }
    }
}

async fn take_in(
    mut stream: UnixStream,
    secrets: &LocalSecrets,
    connection: &Weak<Shared>,
    slot: OwnedSemaphorePermit,
) -> io::Result<()> {
    same_user(&stream)?;
    let options = {
        let connection = connection.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        connection.options.clone()
    };
    let words = tokio::time::timeout(options.bulk_header_timeout, read_words(&mut stream, secrets, &options));
    match words.await.map_err(io::Error::other)?? {
        Words::Attach { port } => {
            let connection = connection.upgrade().ok_or(io::ErrorKind::NotConnected)?;
            let peer = LocalPeer::new(secrets.dialling, secrets.proof);
            let is_direct = connection.link.quinn.remote_address().port() == port;
            if !is_direct || !connection.attach_local(peer) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            stream.write_all(&[ATTACHED]).await
        }
        Words::Stream { header } => {
            let connection = connection.upgrade().ok_or(io::ErrorKind::NotConnected)?;
            let arrivals: mpsc::Sender<ArrivedBulk> =
                connection.arrivals().ok_or(io::ErrorKind::NotConnected)?;
            let carrier = ReceiveCarrier::Local(LocalReceiver::new(stream));
            drop(connection);
            // Fails only when the connection is no longer in use.
            let _ = arrivals.send(ArrivedBulk::new(header, Bytes::new(), carrier, slot)).await;
            Ok(())
        }
    }
}

enum Words {
    Attach { port: u16 },
    Stream { header: Bytes },
}

async fn read_words(
    stream: &mut UnixStream,
    secrets: &LocalSecrets,
    options: &TransportOptions,
) -> io::Result<Words> {
    let purpose = stream.read_u8().await?;
    let mut proof = [0; PROOF_BYTES];
    stream.read_exact(&mut proof).await?;
    let differences = proof.iter().zip(secrets.proof).fold(0, |found, (shown, own)| found | (shown ^ own));
    if std::hint::black_box(differences) != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    match purpose {
        ATTACH => Ok(Words::Attach { port: stream.read_u16().await? }),
        STREAM => {
            let length = stream.read_u32_le().await? as usize;
            if length > options.limits.bulk_header_bytes_max + LENGTH_BYTES {
                return Err(io::ErrorKind::InvalidData.into());
            }
            let mut frame = vec![0; length];
            stream.read_exact(&mut frame).await?;
            let mut decoder = isochrone_protocol::FrameDecoder::for_bulk_header(options.limits);
            decoder.extend(&frame);
            let header = decoder.next_payload().map_err(io::Error::other)?;
            Ok(Words::Stream { header: header.ok_or(io::ErrorKind::InvalidData)? })
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A stream to the other side of a connection.
pub(crate) async fn open_stream(peer: &LocalPeer, header: &[u8]) -> io::Result<LocalSender> {
    let mut stream = connect(&peer.name)?;
    let mut words = BytesMut::new();
    words.put_u8(STREAM);
    words.put_slice(&peer.proof);
    words.put_u32_le(u32::try_from(header.len()).map_err(io::Error::other)?);
    words.put_slice(header);
    stream.write_all(&words).await?;
    Ok(LocalSender::new(stream, peer.rings.clone()))
}
