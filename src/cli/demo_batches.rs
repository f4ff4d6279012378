//! The end of `demo`: what goes on paper is closed as a print batch, whose files one can open.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use super::CliError;
use super::client::{ApiClient, BatchLine, ClientError};
use crate::model::ids::Brand;
use crate::model::paper::{BatchState, PrintFile};

/// How often a batch that is waited for is looked at, and how long.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const PATIENCE: u32 = 1_200;

/// A print batch as the report has it.
#[derive(Serialize)]
pub(super) struct ReportedBatch {
    name: String,
    /// Below the data directory, as the manifest.
    pdf: PathBuf,
    manifest: PathBuf,
    envelopes: i64,
    letters: i64,
    sheets: i64,
}

impl ReportedBatch {
    /// The row of the table.
    pub(super) fn row(&self) -> [String; 5] {
        [
            self.name.clone(),
            self.envelopes.to_string(),
            self.letters.to_string(),
            self.sheets.to_string(),
            self.pdf.display().to_string(),
        ]
    }
}

/// Closes what waits, and writes the files of all batches that hold something.
pub(super) async fn close(client: &ApiClient, (data, brand): (&Path, &Brand)) -> Result<Vec<ReportedBatch>, CliError> {
    match client.close_batch(brand).await {
        Ok(()) => {}
        // on data of an earlier run nothing new waits
        Err(ClientError::Refused(told)) if told.code == "wrong_state" => {}
        Err(error) => return Err(error.into()),
    }
    let dir = data.join("print-batches");
    std::fs::create_dir_all(&dir).map_err(CliError::at(&dir))?;
    let mut reported = Vec::new();
    for batch in assembled(client).await? {
        let mut files = Vec::new();
        for file in [PrintFile::Pdf, PrintFile::Json] {
            let path = dir.join(format!("{}-{file}", batch.name));
            let bytes = client.batch_file(&batch.name, file).await?;
            std::fs::write(&path, bytes).map_err(CliError::at(&path))?;
            files.push(path.strip_prefix(data).unwrap_or(&path).to_owned());
        }
        let (Some(manifest), Some(pdf)) = (files.pop(), files.pop()) else { continue };
        let BatchLine { name, envelopes, letters, sheets, .. } = batch;
        reported.push(ReportedBatch { name, pdf, manifest, envelopes, letters, sheets });
    }
    Ok(reported)
}

/// All batches with something in them, once they are put together.
async fn assembled(client: &ApiClient) -> Result<Vec<BatchLine>, CliError> {
    for _ in 0..PATIENCE {
        let mut batches = client.batches().await?;
        batches.retain(|batch| batch.envelopes > 0);
        if batches.iter().all(|batch| batch.state != BatchState::Closed) {
            batches.reverse();
            return Ok(batches);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Err(CliError::Usage("a print batch was not put together".into()))
}
