//! The demo's fax gateway: it takes the jobs that lie in the folder, keeps their pictures, and says that they were sent.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CliError;
use super::node::Node;
use crate::db::{deliveries, letters};
use crate::fax::folder::{Control, Job};
use crate::model::letter::DeliveryState;

/// A fax as the report has it.
#[derive(Serialize)]
pub(super) struct ReportedFax {
    /// The letter's number.
    letter: String,
    /// Below the data directory.
    picture: PathBuf,
    pages: u32,
    state: DeliveryState,
}

impl ReportedFax {
    /// The row of the table.
    pub(super) fn row(&self) -> [String; 4] {
        let picture = self.picture.display().to_string();
        [self.letter.clone(), self.state.to_string(), self.pages.to_string(), picture]
    }
}

/// Where the demo's gateway has its folder, below the data directory.
pub(super) fn folder(data: &Path) -> PathBuf {
    data.join("fax-gateway")
}

/// Has what waits handed over, answers each job, and tells what became of it.
pub(super) async fn answer(node: &Node, data: &Path) -> Result<Vec<ReportedFax>, CliError> {
    let token = &node.app.settings.node;
    let look = || async { node.app.fax.reconcile(token).await.map_err(|error| CliError::Usage(error.to_string())) };
    look().await?;
    let (dir, kept) = (folder(data), data.join("faxes"));
    fs::create_dir_all(&kept).map_err(CliError::at(&kept))?;
    let out = dir.join("out");
    let mut taken = Vec::new();
    for entry in fs::read_dir(&out).map_err(CliError::at(&out))? {
        let path = entry.map_err(CliError::at(&out))?.path();
        if path.extension().is_none_or(|end| end != "json") {
            continue;
        }
        let text = fs::read(&path).map_err(CliError::at(&path))?;
        let control: Control = serde_json::from_slice(&text).map_err(|error| CliError::Usage(error.to_string()))?;
        let picture = kept.join(&control.picture);
        fs::rename(out.join(&control.picture), &picture).map_err(CliError::at(&picture))?;
        fs::remove_file(&path).map_err(CliError::at(&path))?;
        let said = serde_json::json!({ "outcome": "sent", "at": node.app.fax.ctx.now(), "pages": control.pages });
        let answer = dir.join("answers").join(format!("{}.json", control.job));
        let half = answer.with_file_name(format!(".{}", control.job));
        fs::write(&half, said.to_string()).map_err(CliError::at(&half))?;
        fs::rename(&half, &answer).map_err(CliError::at(&answer))?;
        taken.push(control);
    }
    look().await?;
    let mut reported = Vec::new();
    let mut conn = node.app.fax.db.read().await?;
    for control in taken {
        let Some(job) = Job::of(&control.job) else { continue };
        let Some(delivery) = deliveries::get(&mut conn, &job.delivery).await? else { continue };
        let Some(letter) = letters::get(&mut conn, &delivery.letter_id).await? else { continue };
        reported.push(ReportedFax {
            letter: letter.number.to_string(),
            picture: Path::new("faxes").join(&control.picture),
            pages: control.pages,
            state: delivery.state,
        });
    }
    Ok(reported)
}
