//! Tests that need a process of their own: for its memory or its environment. They run this binary again.

use std::process::Stdio;

use tokio::process::Command;

/// Runs the ignored test `name` (its path below `objects::`) with `environment` and gives what it printed.
pub(super) async fn run(name: &str, environment: &[(&str, &str)]) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("objects::{name}"), "--ignored", "--nocapture"])
        .envs(environment.iter().copied())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    let out = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success() && out.contains("1 passed"), "{out}");
    out
}

/// What [`run`] put into the environment.
pub(super) fn given(name: &str) -> String {
    std::env::vars().find(|(key, _)| key == name).unwrap_or_else(|| unreachable!("{name} is not given")).1
}
