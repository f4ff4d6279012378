//! The heartbeat: has something looked at each second on every node.
//!
//! `tokio-cron-scheduler` beats, and nothing else: it forgets jobs with the process, keeps a fixed offset where the clocks
//! change, and drops jobs when many are due at once. So it has one job, which says that a second has passed; what is due is
//! in the rows, and a beat that is lost costs a second. One tick runs at a time: beats that come meanwhile are one.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

/// After so long without a beat, one is taken as come.
const LOST: Duration = Duration::from_secs(3);

/// Calls `tick` each second until `stopping` says so; a tick that has begun is waited for. What a tick does, also when it
/// panics, keeps no later one from being made.
pub async fn run<F, T>(mut stopping: watch::Receiver<bool>, tick: F)
where
    F: Fn() -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let (beat, mut beats) = mpsc::channel(1);
    let mut scheduler = match start(beat).await {
        Ok(scheduler) => Some(scheduler),
        Err(error) => {
            // slower, but what is due is not left undone
            tracing::error!(error = %error, "the heartbeat could not be started; a slower one goes on");
            None
        }
    };
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => break,
            _ = next(&mut beats) => {}
        }
        if let Err(error) = tokio::spawn(tick()).await {
            tracing::error!(error = %error, "a tick broke off");
        }
    }
    if let Some(scheduler) = &mut scheduler
        && let Err(error) = scheduler.shutdown().await
    {
        tracing::warn!(error = %error, "the heartbeat could not be ended");
    }
}

/// The next beat, or the time after which it is taken as come.
async fn next(beats: &mut mpsc::Receiver<()>) {
    if let Ok(None) = tokio::time::timeout(LOST, beats.recv()).await {
        // nothing beats any more
        tokio::time::sleep(LOST).await;
    }
}

async fn start(beat: mpsc::Sender<()>) -> Result<JobScheduler, JobSchedulerError> {
    let scheduler = JobScheduler::new().await?;
    let job = Job::new_async("* * * * * *", move |_, _| {
        let beat = beat.clone();
        Box::pin(async move {
            // one that waits already says the same
            let _ = beat.try_send(());
        })
    })?;
    scheduler.add(job).await?;
    scheduler.start().await?;
    Ok(scheduler)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn it_goes_on_over_ticks_that_break_off_never_has_two_at_once_and_ends_when_it_is_told_to() {
        let (stop, stopping) = watch::channel(false);
        let (made, under_way, most) =
            (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counts = (made.clone(), under_way.clone(), most.clone());
        let (told, mut ticks) = mpsc::channel(8);
        let running = tokio::spawn(run(stopping, move || {
            let ((made, under_way, most), told) = (counts.clone(), told.clone());
            async move {
                let tick = made.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                // longer than a beat: what comes meanwhile is not made up for
                tokio::time::sleep(Duration::from_millis(1_200)).await;
                under_way.fetch_sub(1, Ordering::SeqCst);
                let _ = told.send(tick).await;
                assert!(tick != 0, "the first tick breaks off");
            }
        }));
        for expected in 0..2 {
            let tick = tokio::time::timeout(Duration::from_secs(20), ticks.recv()).await;
            assert_eq!(tick, Ok(Some(expected)));
        }
        stop.send_replace(true);
        tokio::time::timeout(Duration::from_secs(20), running).await.unwrap().unwrap();
        assert_eq!(most.load(Ordering::SeqCst), 1);
        assert_eq!(under_way.load(Ordering::SeqCst), 0, "what had begun was waited for");
        assert_eq!(made.load(Ordering::SeqCst), u32::try_from(ticks.len()).unwrap() + 2);
    }
}
