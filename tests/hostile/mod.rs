//! Hostile, odd and good files, each made here in code, judged by the real program's child. The tables cite
//! the rows of the list of hostile inputs they prove.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test ends where its world can't be set up")]

mod archives;
pub(crate) mod build;
mod children;
mod documents;
mod good;
mod mutated;
mod pdfs;
mod pictures;
mod texts;

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;

use lettercase::intake::sniff::policy::SniffPolicy;
use lettercase::intake::sniff::{Sniffed, sniff};
use lettercase::outside::extract::{Extract, ExtractLimits};
use serde::Deserialize;

/// The tables of the policy as they are shipped.
#[derive(Deserialize)]
pub(crate) struct Shipped {
    pub(crate) sniff: SniffPolicy,
    pub(crate) extract: ExtractLimits,
}

/// The shipped policy; other tables of the file are other tests' business.
pub(crate) fn shipped() -> Shipped {
    toml::from_str(include_str!("../../pipelines/intake.toml")).unwrap()
}

/// Runs the real program's child with given limits.
pub(crate) fn extract(limits: ExtractLimits) -> Extract {
    Extract::new(env!("CARGO_BIN_EXE_lettercase").into(), std::env::temp_dir(), limits)
}

/// An unlinked file with these bytes.
pub(crate) fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

/// Judges bytes under a name with the shipped policy.
pub(crate) async fn judge(name: &str, bytes: &[u8]) -> Sniffed {
    let Shipped { sniff: policy, extract: limits } = shipped();
    sniff(&file(bytes), bytes.len() as u64, name, &policy, &extract(limits)).await.unwrap()
}

/// A judgement in a line: `accept pdf embedded_files`, `reject type_not_accepted rtf`, `hold macros`.
pub(crate) fn verdict(sniffed: &Sniffed) -> String {
    match sniffed {
        Sniffed::Accept { file_type, flags, .. } => {
            flags.iter().fold(format!("accept {file_type}"), |line, flag| format!("{line} {flag}"))
        }
        Sniffed::Reject { detected, reason } => {
            format!("reject {} {}", reason.code, detected.as_deref().unwrap_or("-"))
        }
        Sniffed::Hold { reason, .. } => format!("hold {}", reason.code),
    }
}

/// The bytes of the embedded files that were taken out.
pub(crate) fn taken_out(sniffed: &Sniffed) -> Vec<Vec<u8>> {
    let Sniffed::Accept { embedded, scratch, .. } = sniffed else { panic!("not accepted: {}", verdict(sniffed)) };
    let mut contents = vec![];
    for stretch in embedded {
        let mut bytes = vec![0; stretch.len as usize];
        scratch.as_ref().unwrap().read_exact_at(&mut bytes, stretch.offset).unwrap();
        contents.push(bytes);
    }
    contents
}

/// One line of a table: what it is, under which name, which bytes, and the verdict.
pub(crate) type Case = (&'static str, &'static str, Vec<u8>, &'static str);

/// Judges every case of a table, and says all that went wrong at once.
pub(crate) async fn check(cases: Vec<Case>) {
    let mut wrong = vec![];
    for (what, name, bytes, expected) in cases {
        let got = verdict(&judge(name, &bytes).await);
        if got != expected {
            wrong.push(format!("{what}: expected `{expected}`, got `{got}`"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
