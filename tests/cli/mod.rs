//! The command line, as a person or a script uses it: the program itself, what it prints, how it ends.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod admin;
mod bench;
mod demo;
mod inspect;
mod refusals;
mod submit;

use serde_json::Value;
use tokio::process::Command;

use crate::crash::site::Site;

/// What a run of the program came to.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

async fn ran(mut command: Command, args: &[&str]) -> Ran {
    let done = command.args(args).output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: done.status.code().unwrap(), out: text(done.stdout), err: text(done.stderr) }
}

pub(crate) async fn run(site: &Site, args: &[&str]) -> Ran {
    ran(site.command(), args).await
}

/// Runs what must end well.
pub(crate) async fn good(site: &Site, args: &[&str]) -> Ran {
    let ran = run(site, args).await;
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran
}
