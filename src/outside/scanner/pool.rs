//! Which of several scanners is fit to be asked: each is checked by itself, and set aside while it fails.
//!
//! A scan is not repeated on the next endpoint when it fails on one: a file that brings a scanner down would
//! bring down all of them in a row. It is `NotRun`, and tried again by the stage's own retries.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Mutex, OnceCell, watch};
use tokio::time::Instant;
use tracing::{info, warn};

use super::canary::Canaries;
use super::policy::{Endpoint, Freshness, ScanPolicy};
use super::protocol::{self, Source};
use super::reply::Version;
use super::signatures::{SignatureSet, TEST_SIGNATURES};
use super::{EngineVersion, NotReady, Scanned, Standing, Verdict};

/// How soon a scanner that failed is checked again.
const RECHECK: Duration = Duration::from_secs(2);

/// Two zones' difference and an hour: how far in the future a sound build time may seem to lie.
const FUTURE: SignedDuration = SignedDuration::from_hours(27);

#[derive(Debug)]
enum Health {
    Unknown,
    Passed { loaded: Loaded, at: Instant },
    Failed { why: String, at: Instant },
}

/// What an endpoint has loaded, as far as it can be known.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Loaded {
    version: Version,
    local: Option<SignatureSet>,
}

#[derive(Debug)]
struct Station {
    endpoint: Endpoint,
    /// Held while it is checked, so that one check serves all who wait for it.
    health: Mutex<Health>,
}

/// The endpoints, their health, and by what rules they are judged.
#[derive(Debug)]
pub(super) struct Pool {
    stations: Vec<Station>,
    policy: ScanPolicy,
    freshness: Freshness,
    canaries: OnceCell<Canaries>,
    next: AtomicUsize,
    /// What our own clamd has loaded; `None` for one that others run.
    managed: Option<watch::Receiver<SignatureSet>>,
}

impl Pool {
    pub(super) fn new(
        endpoints: Vec<Endpoint>,
        policy: ScanPolicy,
        freshness: Freshness,
        managed: Option<watch::Receiver<SignatureSet>>,
    ) -> Self {
        let station = |endpoint| Station { endpoint, health: Mutex::new(Health::Unknown) };
        let stations = endpoints.into_iter().map(station).collect();
        Self { stations, policy, freshness, canaries: OnceCell::new(), next: AtomicUsize::new(0), managed }
    }

    /// The first that is fit, or why none is.
    pub(super) async fn ready(&self, now: Timestamp) -> Result<EngineVersion, NotReady> {
        let checks = self.stations.iter().map(|station| self.fit(station, now));
        let mut reasons = Vec::new();
        for (station, fit) in self.stations.iter().zip(futures::future::join_all(checks).await) {
            match fit {
                Ok(version) => return Ok(version),
                Err(why) => reasons.push(format!("scanner {}: {why}", station.endpoint)),
            }
        }
        Err(NotReady { why: reasons.join("; ") })
    }

    /// How each stands, by its last check; nobody is asked. One that is being checked now is left out.
    pub(super) fn standing(&self, now: Timestamp) -> Vec<Standing> {
        let known = self.stations.iter().filter_map(|station| {
            let health = station.health.try_lock().ok()?;
            let endpoint = station.endpoint.to_string();
            Some(match &*health {
                Health::Unknown => return None,
                Health::Failed { .. } => Standing { endpoint, is_fit: false, signature_age_s: None },
                Health::Passed { loaded, .. } => Standing {
                    endpoint,
                    is_fit: judge_age(loaded, self.freshness, self.policy.max_signature_age_h, now).is_ok(),
                    signature_age_s: built(loaded).map(|built| now.duration_since(built).as_secs_f64()),
                },
            })
        });
        known.collect()
    }

    /// Scans with one that is fit, each in its turn.
    pub(super) async fn scan(&self, now: Timestamp, source: Source) -> Scanned {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut reasons = Vec::new();
        for turn in 0..self.stations.len() {
            let station = &self.stations[first.wrapping_add(turn) % self.stations.len()];
            let by = match self.fit(station, now).await {
                Ok(by) => by,
                Err(why) => {
                    reasons.push(format!("scanner {}: {why}", station.endpoint));
                    continue;
                }
            };
            let verdict = protocol::scan(&station.endpoint, &self.policy, &source).await;
            if matches!(verdict, Verdict::NotRun { .. }) {
                // The file or the scanner: the canaries tell, before it is asked again.
                *station.health.lock().await = Health::Unknown;
            }
            return Scanned { verdict, by: Some(by) };
        }
        Scanned { verdict: Verdict::NotRun { why: reasons.join("; ") }, by: None }
    }

    /// By what this one would judge, if it is up, passed its canaries and is fresh enough.
    async fn fit(&self, station: &Station, now: Timestamp) -> Result<EngineVersion, String> {
        let loaded = self.checked(station).await?;
        judge_age(&loaded, self.freshness, self.policy.max_signature_age_h, now)?;
        Ok(describe(&loaded))
    }

    async fn checked(&self, station: &Station) -> Result<Loaded, String> {
        let mut health = station.health.lock().await;
        if let Health::Failed { why, at } = &*health
            && at.elapsed() < RECHECK
        {
            return Err(why.clone());
        }
        let checked = self.check(station, &health).await;
        match (&*health, &checked) {
            (Health::Failed { .. }, Ok(_)) => info!(scanner = %station.endpoint, "the scanner is fit again"),
            (Health::Failed { why: before, .. }, Err(why)) if before == why => {}
            (_, Err(why)) => warn!(scanner = %station.endpoint, why, "the scanner is not used"),
            _ => {}
        }
        match checked {
            Ok((loaded, at)) => {
                *health = Health::Passed { loaded: loaded.clone(), at };
                Ok(loaded)
            }
            Err(why) => {
                *health = Health::Failed { why: why.clone(), at: Instant::now() };
                Err(why)
            }
        }
    }

    /// Asks for the version each time, for a verdict belongs to one; runs the canaries where they were last
    /// passed too long ago or with other signatures.
    async fn check(&self, station: &Station, health: &Health) -> Result<(Loaded, Instant), String> {
        let local = self.managed.as_ref().map(|set| set.borrow().clone());
        let version = protocol::version(&station.endpoint, &self.policy).await?;
        let loaded = Loaded { version, local };
        if let Health::Passed { loaded: before, at } = health
            && *before == loaded
            && at.elapsed() < self.policy.canary_interval()
        {
            return Ok((loaded, *at));
        }
        let canaries = self.canaries.get_or_try_init(|| Canaries::make(&self.policy)).await?;
        canaries.run(&station.endpoint, &self.policy).await?;
        Ok((loaded, Instant::now()))
    }
}

/// When the newest signatures were built: the official ones' own date, else the youngest local file's.
fn built(loaded: &Loaded) -> Option<Timestamp> {
    match (&loaded.version.daily, &loaded.local) {
        (Some((_, built)), _) => Some(*built),
        (None, Some(set)) => set.newest,
        (None, None) => None,
    }
}

fn judge_age(loaded: &Loaded, freshness: Freshness, max_age_h: u32, now: Timestamp) -> Result<(), String> {
    let Some(built) = built(loaded) else {
        return match (freshness, &loaded.local) {
            (Freshness::TestSignaturesAllowed, _) => Ok(()),
            (Freshness::Required, Some(_)) => Err(
                "only test signatures are loaded, and they find no real virus: run freshclam (Debian: clamav-freshclam), \
                 or allow test signatures where this is a demonstration"
                    .to_owned(),
            ),
            (Freshness::Required, None) => Err(
                "it has no official signatures, so their age is not known and they may be only test signatures: run \
                 freshclam beside it"
                    .to_owned(),
            ),
        };
    };
    let age = now.duration_since(built);
    if age > SignedDuration::from_hours(i64::from(max_age_h)) {
        let hours = age.as_hours();
        return Err(format!(
            "its signatures are {hours} hours old, and the policy allows {max_age_h} (max_signature_age_h): see why freshclam does not run"
        ));
    }
    if age < -FUTURE {
        return Err("its signatures are dated in the future: set this machine's clock".to_owned());
    }
    Ok(())
}

fn describe(loaded: &Loaded) -> EngineVersion {
    let mut signatures = Vec::new();
    if let Some((number, built)) = &loaded.version.daily {
        signatures.push(format!("{number}/{}", built.strftime("%Y-%m-%d")));
    }
    if let Some(set) = &loaded.local {
        signatures.extend(set.local_digest.as_ref().map(|digest| format!("local-{digest}")));
        signatures.push(TEST_SIGNATURES.to_owned());
    }
    if signatures.is_empty() {
        signatures.push("undated".to_owned());
    }
    EngineVersion {
        engine: loaded.version.engine.clone(),
        signatures: signatures.join(" "),
        test_signatures_only: built(loaded).is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(daily: Option<&str>, local: Option<SignatureSet>) -> Loaded {
        let daily = daily.and_then(|built| Some((27812, built.parse().ok()?)));
        Loaded { version: Version { engine: "ClamAV 1.4.6".to_owned(), daily }, local }
    }

    fn judged(loaded: &Loaded, freshness: Freshness) -> Result<(), String> {
        judge_age(loaded, freshness, 72, Timestamp::constant(1_795_000_000, 0))
    }

    #[test]
    fn signatures_judge_only_while_they_are_fresh() {
        // 1_795_000_000 is 2026-11-18T11:06:40Z.
        let fresh = loaded(Some("2026-11-16T00:00:00Z"), None);
        assert_eq!(judged(&fresh, Freshness::Required), Ok(()));
        assert_eq!(describe(&fresh).signatures, "27812/2026-11-16");
        assert!(!describe(&fresh).test_signatures_only);
        let stale = loaded(Some("2026-11-15T11:00:00Z"), None);
        assert!(judged(&stale, Freshness::Required).is_err_and(|why| why.contains("72 hours old")));
        // Allowing test signatures does not make old ones fresh.
        assert!(judged(&stale, Freshness::TestSignaturesAllowed).is_err());
        let future = loaded(Some("2026-11-20T00:00:00Z"), None);
        assert!(judged(&future, Freshness::Required).is_err_and(|why| why.contains("clock")));
    }

    #[test]
    fn test_signatures_do_only_where_they_are_allowed() {
        let set = SignatureSet::default();
        for loaded in [loaded(None, Some(set)), loaded(None, None)] {
            assert!(describe(&loaded).test_signatures_only);
            assert_eq!(judged(&loaded, Freshness::TestSignaturesAllowed), Ok(()));
            assert!(judged(&loaded, Freshness::Required).is_err_and(|why| why.contains("only test signatures")));
        }
    }
}
