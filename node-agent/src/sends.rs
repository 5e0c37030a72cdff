//! Bytes on their way out: directly where there is a connection, through the scheduler otherwise.
//!
//! Each transfer is a task that owns its bytes; how many are under way at a time is bounded by the
//! streams that the receiver allows. It must never look into the host store.

use isochrone_model::message::{BulkHeader, RelayTarget};
use isochrone_model::{AgentId, Region};
use isochrone_transport::{Connection, OpenBulkError, SendBulkError};

use crate::error_text::described;
use crate::host_store::Chunks;
use crate::inputs::{Input, Inputs};

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
