//! Bytes on their way out: directly where there is a connection, through the scheduler otherwise.
//!
//! Each transfer is a task that owns its bytes; how many are under way at a time is bounded by the
//! streams that the receiver allows. It must never look into the host store.

use bytes::Bytes;
use isochrone_model::message::{BulkHeader, RelayTarget};
use isochrone_model::{AgentId, Region};
use isochrone_sched_core::agent::OperationId;
use isochrone_transport::{BulkSender, Connection, OpenBulkError, SendBulkError};
use tokio::sync::mpsc;

use crate::error_text::described;
use crate::host_store::Chunks;
use crate::inputs::{Input, Inputs};
use crate::streams::Next;

/// Pieces are handed to the transport in parts of this size at most.
const PART_BYTES_MAX: usize = 1 << 20;

/// One transfer.
pub(crate) struct Transfer {
    pub(crate) region: Region,
    /// The agent it is for; `None` when it is for a client.
    pub(crate) to: Option<AgentId>,
    pub(crate) target: RelayTarget,
    pub(crate) header: BulkHeader,
    pub(crate) chunks: Chunks,
    /// The receiver's connection, when there is one.
    pub(crate) direct: Option<Connection>,
    pub(crate) scheduler: Connection,
}

#[derive(Debug, thiserror::Error)]
enum TransferError {
    #[error("the stream cannot be opened")]
    Open(#[from] OpenBulkError),
    #[error("the bytes cannot be sent")]
    Send(#[from] SendBulkError),
    #[error("the device did not give all bytes")]
    Cut,
}

impl Transfer {
    /// Sends it, and tells the loop how that ended.
    pub(crate) async fn run(self, inputs: Inputs) {
        let Self { region, to, target, header, chunks, direct, scheduler } = self;
        let mut is_sent = false;
        if let Some(connection) = direct {
            match send(&connection, &header, chunks.clone()).await {
                Ok(()) => is_sent = true,
                Err(error) => {
                    tracing::debug!(?target, "not sent directly: {}", described(&error));
                }
            }
        }
        let outcome = if is_sent {
            Ok(())
        } else {
            let relayed = BulkHeader::Relay { to: target, header: Box::new(header) };
            send(&scheduler, &relayed, chunks).await.map_err(|error| described(&error))
        };
        // The loop is gone when this life of the agent has ended.
        let _ = inputs.send(Input::Sent { region, to, outcome });
    }
}

/// Sends what a device gives, piece by piece, and tells the loop of each and how it ended.
pub(crate) async fn send_stream(
    connection: Connection,
    header: BulkHeader,
    stream: OperationId,
    pieces: mpsc::UnboundedReceiver<Next>,
    inputs: Inputs,
) {
    let outcome = send_pieces(&connection, &header, stream, pieces, &inputs).await;
    let outcome = outcome.map_err(|error| described(&error));
    // The loop is gone when this life of the agent has ended.
    let _ = inputs.send(Input::StreamSent { stream, outcome });
}

async fn send_pieces(
    connection: &Connection,
    header: &BulkHeader,
    stream: OperationId,
    mut pieces: mpsc::UnboundedReceiver<Next>,
    inputs: &Inputs,
) -> Result<(), TransferError> {
    let mut bulk = connection.open_bulk(header).await?;
    loop {
        match pieces.recv().await {
            Some(Next::Piece(bytes)) => {
                bulk.send(bytes).await?;
                let _ = inputs.send(Input::PieceSent { stream });
            }
            Some(Next::End) => return Ok(bulk.finish().await?),
            Some(Next::Whole(bytes)) => {
                return tokio::select! {
                    biased;
                    sent = send_whole(bulk, bytes) => sent,
                    // Nothing more is said on it: it is closed when the agent's life has ended, or the device has failed.
                    _ = pieces.recv() => Err(TransferError::Cut),
                };
            }
            // Dropped before its end, it is no whole to its receiver.
            None => return Err(TransferError::Cut),
        }
    }
}

/// Sends what lies on a device from there. The device has it back when the receiver has all of it.
async fn send_whole(mut bulk: BulkSender, mut bytes: Bytes) -> Result<(), TransferError> {
    while !bytes.is_empty() {
        bulk.send(bytes.split_to(bytes.len().min(PART_BYTES_MAX))).await?;
    }
    Ok(bulk.finish().await?)
}

async fn send(connection: &Connection, header: &BulkHeader, chunks: Chunks) -> Result<(), TransferError> {
    let mut stream = connection.open_bulk(header).await?;
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let part = chunk.split_to(chunk.len().min(PART_BYTES_MAX));
            stream.send(part).await?;
        }
    }
    stream.finish().await?;
    Ok(())
}
