//! The mailroom's sources: a real folder and a real S3 server, what lies there, and what becomes of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod batches;
mod command;
mod complete;
mod crash;
mod refused;
mod taken;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lettercase::app::App;
use lettercase::db::documents::Document;
use lettercase::db::{documents, sources as rows};
use lettercase::intake::sources::{Look, Sources};
use lettercase::model::document::Channel;
use lettercase::outside::inbox::SourceOptions;
use serde_json::{Value, json};

use crate::journey::texts;
use crate::objects::world::{BUCKET, KEY, KEY_ID, S3s};
use crate::support::World;

/// Which kind of place is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Folder,
    Bucket,
}

/// A watched place. Its files are files on this machine either way: the S3 server keeps objects so.
pub(crate) struct Place {
    pub(crate) kind: Kind,
    pub(crate) dir: PathBuf,
    at: Value,
    _root: tempfile::TempDir,
}

impl Place {
    pub(crate) async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Folder => {
                let root = tempfile::tempdir().unwrap();
                let dir = root.path().join("in box");
                std::fs::create_dir(&dir).unwrap();
                Self { kind, at: json!({ "kind": "folder", "path": dir }), dir, _root: root }
            }
            Kind::Bucket => {
                let server = S3s::start().await;
                let dir = server.root.path().join(BUCKET).join("Mail room");
                std::fs::create_dir(&dir).unwrap();
                let keys = json!({ "keys": { "access_key_id": KEY_ID, "secret_access_key": KEY } });
                let at = json!({ "kind": "bucket", "bucket": BUCKET, "prefix": "Mail room/", "path_style": true,
                                 "endpoint_url": format!("http://{}", server.address), "credentials": keys });
                Self { kind, dir, at, _root: server.root }
            }
        }
    }

    /// Its setting, as JSON: the keys are those of the settings file.
    pub(crate) fn setting(&self, channel: Channel, more: Value) -> Value {
        let mut setting = json!({ "name": "source-1", "channel": channel, "at": self.at });
        setting.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        setting
    }

    pub(crate) fn drop_file(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.dir.join(name), bytes).unwrap();
    }

    /// What lies there: paths below it, `done/ID/NAME` with `ID` for ids.
    pub(crate) fn lies(&self) -> Vec<String> {
        let mut all: Vec<String> = walkdir::WalkDir::new(&self.dir)
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| !entry.file_type().is_dir())
            .map(|entry| entry.path().strip_prefix(&self.dir).unwrap().display().to_string())
            .map(|path| match path.split('/').collect::<Vec<_>>()[..] {
                [shelf, _, name] => format!("{shelf}/ID/{name}"),
                _ => path,
            })
            .collect();
        all.sort();
        all
    }

    /// The text of the one reason file.
    fn reason(&self) -> String {
        let reasons: Vec<_> = walkdir::WalkDir::new(self.dir.join("problem"))
            .into_iter()
            .map(Result::unwrap)
            .filter(|entry| entry.file_name() == "reason.txt")
            .collect();
        assert_eq!(reasons.len(), 1, "{reasons:?}");
        std::fs::read_to_string(reasons[0].path()).unwrap()
    }
}

/// The sources of an app: one, of this setting.
async fn open(app: &App, setting: Value) -> Sources {
    let options: SourceOptions = serde_json::from_value(setting).unwrap();
    Sources::open(app.intake.clone(), app.settings.brand.clone(), &[options], &app.audit_key).await.unwrap()
}

async fn look(sources: &Sources) -> Look {
    sources.look(&sources.all()[0]).await.unwrap()
}

/// Looks, lets the files settle, and looks again.
async fn look_settled(world: &World, sources: &Sources) -> Look {
    look(sources).await;
    world.advance(Duration::from_secs(11));
    look(sources).await
}

/// Accepted documents by file name.
async fn accepted(world: &World) -> BTreeMap<String, Vec<Document>> {
    let mut all: BTreeMap<String, Vec<Document>> = BTreeMap::new();
    let ids = texts(world, "SELECT id FROM document WHERE accepted_at IS NOT NULL ORDER BY created_at, id").await;
    let mut conn = world.db().read().await.unwrap();
    for id in ids {
        let document = documents::get(&mut conn, &id.parse().unwrap()).await.unwrap().unwrap();
        all.entry(document.file_name.reveal().to_owned()).or_default().push(document);
    }
    all
}

/// The one accepted document.
async fn only(world: &World) -> Document {
    let mut all: Vec<_> = accepted(world).await.into_values().flatten().collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The problems that were kept.
async fn problems(world: &World) -> Vec<(String, String)> {
    let mut conn = world.db().read().await.unwrap();
    let problems = rows::problems(&mut conn, None, 100).await.unwrap();
    problems.into_iter().map(|problem| (problem.code.to_string(), problem.state.to_string())).collect()
}

fn is_empty(dir: &Path) -> bool {
    !std::fs::read_dir(dir).unwrap().any(|entry| entry.unwrap().file_type().unwrap().is_file())
}
