//! Faults of the program, kept to where they happen: what is done again and again goes on after one that ended by a panic.

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;

/// What a pass came to. `None`: it ended by a fault of the program, which is logged and counted, and whose message the
/// panic has written itself. Like any future it ends where it stands when it is dropped.
pub async fn contained<T>(part: &'static str, pass: impl Future<Output = T>) -> Option<T> {
    let ended = AssertUnwindSafe(pass).catch_unwind().await;
    if ended.is_err() {
        tell_fault(part);
    }
    ended.ok()
}

/// Logs and counts that a part of the program ended by its own fault.
pub fn tell_fault(part: &str) {
    tracing::error!(part, "ended by a fault of the program");
    metrics::counter!("lettercase_program_faults_total").increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pass_that_panics_ends_alone() {
        assert_eq!(contained("a test", async { 3 }).await, Some(3));
        let broken: Option<()> = contained("a test", async {
            tokio::task::yield_now().await;
            panic!("as a fault of the program would");
        })
        .await;
        assert_eq!(broken, None);
    }
}
