//! The folder of a fax gateway, and what lies in it (`docs/fax.md`).
//!
//! `prepared/` is ours: a job lies there until it is whole and known to the database. `out/` is where the gateway takes
//! jobs from: the picture first, then its control file, each moved there by one rename, so that it is there once and
//! whole, and so that what is no longer in `prepared/` is known to have been handed over. `answers/` is where the gateway
//! says what became of a job; what was read moves to `answers/done/`.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codes;
use crate::model::ids::DeliveryId;

/// The longest answer that is read, in bytes.
const ANSWER_BYTES: u64 = 16 << 10;

/// The folder.
#[derive(Debug, Clone)]
pub struct Gateway {
    dir: PathBuf,
}

/// Why the folder can't be used.
#[derive(Debug, Error)]
#[error("the fax gateway's folder can't be used ({doing}): {source}")]
pub struct GatewayError {
    doing: &'static str,
    source: io::Error,
}

/// A try to send a delivery: its files are called by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Which try, from 1.
    pub number: u32,
}

impl Job {
    /// The name of its files, without what follows the dot. It says nothing of whom it is for.
    pub fn name(&self) -> String {
        format!("{}-{}", self.delivery, self.number)
    }

    /// The job of that name.
    pub fn of(name: &str) -> Option<Self> {
        let (delivery, number) = name.rsplit_once('-')?;
        let job = Self { delivery: delivery.parse().ok()?, number: number.parse().ok()? };
        (job.name() == name).then_some(job)
    }
}

/// What the control file says.
#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
pub struct Control {
    /// The form of the file.
    pub form: u8,
    /// The name of the job; answers are called by it.
    pub job: String,
    /// The picture's file.
    pub picture: String,
    /// The number to call: digits only, with the country's code where the reference data have it.
    pub number: String,
    /// Pages of the picture.
    pub pages: u32,
    /// Bytes of the picture.
    pub bytes: u64,
    /// SHA-256 of the picture.
    pub sha256: String,
}

codes! {
    /// What became of a job.
    pub enum Outcome {
        /// The other side confirmed all pages.
        Sent = "sent",
        /// It was not sent, and this job will not be tried again by the gateway.
        Failed = "failed",
    }
}

/// What the gateway says of a job.
#[derive(Debug, Clone, Deserialize, PartialEq, Eq)]
pub struct Answer {
    /// What became of it.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
    /// Pages that arrived.
    #[serde(default)]
    pub pages: Option<u32>,
    /// Why it failed, in the gateway's words: `busy`, `no_answer`, ….
    #[serde(default)]
    pub reason: Option<String>,
}

/// A file of the gateway's.
#[derive(Debug)]
pub struct Answered {
    /// The file.
    name: String,
    /// The job, and what it says; `None`: nothing that can be read as one.
    pub answer: Option<(Job, Answer)>,
}

impl Gateway {
    /// The folder, with what it needs below it.
    ///
    /// # Errors
    /// When it can't be written to.
    pub fn open(dir: &Path) -> Result<Self, GatewayError> {
        for name in ["prepared", "out", "answers", "answers/done"] {
            fs::create_dir_all(dir.join(name)).map_err(told("make its directories"))?;
        }
        Ok(Self { dir: dir.to_owned() })
    }

    /// Lays a job ready. A second time it takes the place of the first: nobody has seen that.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn prepare(&self, job: &Job, control: &Control, picture: &[u8]) -> Result<(), GatewayError> {
        let dir = self.dir.join("prepared");
        write_whole(&dir, &format!("{}.tif", job.name()), picture)?;
        let control = serde_json::to_vec_pretty(control).map_err(io::Error::other).map_err(told("write a job"))?;
        write_whole(&dir, &format!("{}.json", job.name()), &control)
    }

    /// Hands a job that lies ready over to the gateway. What was handed over already stays so.
    ///
    /// # Errors
    /// When it can't be moved.
    pub fn hand_over(&self, job: &Job) -> Result<(), GatewayError> {
        for end in ["tif", "json"] {
            let name = format!("{}.{end}", job.name());
            match fs::rename(self.dir.join("prepared").join(&name), self.dir.join("out").join(&name)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(told("hand a job over")(error)),
            }
        }
        sync(&self.dir.join("out"))
    }

    /// Takes away what lies ready and will not be sent.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn withdraw(&self, job: &Job) -> Result<(), GatewayError> {
        for end in ["json", "tif"] {
            match fs::remove_file(self.dir.join("prepared").join(format!("{}.{end}", job.name()))) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told("withdraw a job")(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// What the gateway has said and we have not put away, a part of it.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn answers(&self, limit: usize) -> Result<Vec<Answered>, GatewayError> {
        let dir = self.dir.join("answers");
        let mut names: Vec<String> = Vec::new();
        for entry in fs::read_dir(&dir).map_err(told("read its answers"))? {
            let entry = entry.map_err(told("read its answers"))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            // what is being written begins with a dot
            if name.ends_with(".json") && !name.starts_with('.') {
                names.push(name);
            }
        }
        names.sort_unstable();
        let mut answers = Vec::new();
        for name in names {
            if answers.len() == limit {
                break;
            }
            match self.read(&dir, name) {
                Ok(answered) => answers.push(answered),
                // it may say that a fax went: it stays, and the others are read
                Err(error) => tracing::warn!(error = %error, "an answer of the fax gateway can't be read"),
            }
        }
        Ok(answers)
    }

    fn read(&self, dir: &Path, name: String) -> Result<Answered, GatewayError> {
        let mut text = Vec::new();
        let file = File::open(dir.join(&name)).map_err(told("read an answer"))?;
        file.take(ANSWER_BYTES).read_to_end(&mut text).map_err(told("read an answer"))?;
        let job = name.strip_suffix(".json").and_then(Job::of);
        let answer = job.zip(serde_json::from_slice(&text).ok());
        Ok(Answered { name, answer })
    }

    /// Puts an answer away that was dealt with.
    ///
    /// # Errors
    /// When it can't be moved.
    pub fn put_away(&self, answered: &Answered) -> Result<(), GatewayError> {
        let dir = self.dir.join("answers");
        match fs::rename(dir.join(&answered.name), dir.join("done").join(&answered.name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(told("put an answer away")(error)),
            _ => Ok(()),
        }
    }
}

fn told(doing: &'static str) -> impl Fn(io::Error) -> GatewayError {
    move |source| GatewayError { doing, source }
}

/// Writes a file that is there as a whole or not at all, also after a loss of power.
fn write_whole(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), GatewayError> {
    let told = told("write a job");
    let mut file = tempfile::NamedTempFile::new_in(dir).map_err(&told)?;
    file.write_all(bytes).and_then(|()| file.as_file().sync_all()).map_err(&told)?;
    file.persist(dir.join(name)).map_err(|error| told(error.error))?;
    sync(dir)
}

fn sync(dir: &Path) -> Result<(), GatewayError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(told("write its directory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u32) -> Job {
        Job { delivery: "01980000-0000-7000-8000-000000000001".parse().unwrap(), number }
    }

    fn control(job: &Job) -> Control {
        let name = job.name();
        Control {
            form: 1,
            picture: format!("{name}.tif"),
            job: name,
            number: "15035550100".into(),
            pages: 1,
            bytes: 3,
            sha256: "0".repeat(64),
        }
    }

    #[test]
    fn a_job_is_handed_over_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(dir.path()).unwrap();
        let job = job(1);
        gateway.prepare(&job, &control(&job), b"one").unwrap();
        gateway.prepare(&job, &control(&job), b"two").unwrap();
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
        gateway.hand_over(&job).unwrap();
        let out = dir.path().join("out");
        assert_eq!(fs::read(out.join(format!("{}.tif", job.name()))).unwrap(), b"two");
        let told: Control =
            serde_json::from_slice(&fs::read(out.join(format!("{}.json", job.name()))).unwrap()).unwrap();
        assert_eq!(told, control(&job));
        // the gateway took it
        fs::remove_dir_all(&out).unwrap();
        fs::create_dir(&out).unwrap();
        gateway.hand_over(&job).unwrap();
        assert_eq!(fs::read_dir(&out).unwrap().count(), 0, "it is not sent twice");
    }

    #[test]
    fn what_is_withdrawn_never_goes_out() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(dir.path()).unwrap();
        gateway.prepare(&job(1), &control(&job(1)), b"one").unwrap();
        gateway.withdraw(&job(1)).unwrap();
        gateway.withdraw(&job(1)).unwrap();
        gateway.hand_over(&job(1)).unwrap();
        assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 0);
    }

    #[test]
    fn answers_are_read_once_and_what_is_none_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = Gateway::open(dir.path()).unwrap();
        let answers = dir.path().join("answers");
        let put = |name: String, text: &str| fs::write(answers.join(name), text).unwrap();
        put(format!("{}.json", job(1).name()), r#"{"outcome":"failed","at":"2026-11-20T15:00:00Z","reason":"busy"}"#);
        put(format!("{}.json", job(2).name()), r#"{"outcome":"sent","at":"2026-11-20T15:10:00Z","pages":2}"#);
        put(".half.json".into(), "{");
        put("readme.txt".into(), "hello");
        put("surprise.json".into(), r#"{"outcome":"sent","at":"2026-11-20T15:10:00Z"}"#);
        put(format!("{}.json", job(3).name()), &"x".repeat(100_000));
        let found = gateway.answers(10).unwrap();
        let read: Vec<_> =
            found.iter().map(|one| one.answer.as_ref().map(|(job, said)| (job.number, said.outcome))).collect();
        assert_eq!(read, [Some((1, Outcome::Failed)), Some((2, Outcome::Sent)), None, None]);
        for one in &found {
            gateway.put_away(one).unwrap();
            gateway.put_away(one).unwrap();
        }
        assert!(gateway.answers(10).unwrap().is_empty());
        assert_eq!(fs::read_dir(answers.join("done")).unwrap().count(), 4);
    }
}
