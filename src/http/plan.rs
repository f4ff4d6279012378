//! The plan of the doors: `pipelines/doors.toml`.

use std::num::NonZeroU32;
use std::path::Path;

use serde::Deserialize;

use crate::engine::plan::{Loaded, PlanError, load};

const BUILT_IN: &str = include_str!("../../pipelines/doors.toml");

/// How much a caller may send.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes of a body that holds no file.
    pub json_bytes: usize,
    /// Bytes of a request's head.
    pub header_bytes: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Seconds until a request's head is complete.
    pub header_timeout_s: u64,
    /// Seconds that a request without a file may take.
    pub request_timeout_s: u64,
    /// Bytes of a file of reference data, users or entitlements.
    pub load_bytes: u64,
    /// Parts of a multipart body.
    pub multipart_parts: usize,
    /// Bytes of a part that is no file.
    pub field_bytes: usize,
    /// Bytes of a file name.
    pub file_name_bytes: usize,
    /// Uploads at once on a node.
    pub uploads_per_node: usize,
    /// Uploads at once of a caller on a node.
    pub uploads_per_caller: usize,
    /// Event streams at once of a caller on a node.
    pub streams_per_caller: usize,
    /// Entries of a page where the caller does not say.
    pub page_default: i64,
    /// Entries of a page at most.
    pub page_most: i64,
}

/// How often a caller may ask.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests a second, on average.
    pub requests_per_s: NonZeroU32,
    /// Requests in a row.
    pub burst: NonZeroU32,
    /// Requests of an address in a minute whose key or token was not valid.
    pub failed_logins_per_minute: NonZeroU32,
}

/// How long requests under an `Idempotency-Key` are remembered.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Idempotency {
    /// Hours.
    pub expiry_h: u64,
    /// Seconds after which the claim of a request whose node is gone counts as abandoned. As long as the request runs it is
    /// renewed.
    pub lease_s: u64,
}

/// Event streams.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// Milliseconds between two looks at the event log.
    pub poll_ms: u64,
}

/// Figures that are counted for `/metrics`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// Seconds after which ledger and queues are counted again, when somebody asks.
    pub count_every_s: u32,
    /// Milliseconds that the first answer waits for the first count.
    pub first_wait_ms: u64,
    /// Milliseconds after which what is needed counts as away.
    pub probe_timeout_ms: u64,
    /// Milliseconds for which what was found out about the node's readiness is answered again.
    pub ready_for_ms: u64,
}

/// The plan.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DoorsPlan {
    /// How much.
    pub limits: Limits,
    /// How often.
    pub rate: Rate,
    /// Repeated requests.
    pub idempotency: Idempotency,
    /// Event streams.
    pub stream: Streams,
    /// Metrics.
    pub metrics: Metrics,
}

impl DoorsPlan {
    /// Reads and checks the plan.
    ///
    /// # Errors
    /// Names the file, the table and the figure.
    pub fn load(config: Option<&Path>) -> Result<Loaded<Self>, PlanError> {
        let loaded: Loaded<Self> = load("doors.toml", BUILT_IN, config)?;
        loaded.plan.check()?;
        Ok(loaded)
    }

    fn check(&self) -> Result<(), PlanError> {
        let limits = &self.limits;
        let figures = [limits.json_bytes, limits.headers, limits.multipart_parts, limits.uploads_per_node];
        if figures.contains(&0)
            || limits.load_bytes == 0
            || limits.uploads_per_caller == 0
            || limits.streams_per_caller == 0
        {
            return Err(PlanError::Unusable("[limits] every figure must be at least 1".into()));
        }
        let most = [limits.uploads_per_node, limits.uploads_per_caller, limits.streams_per_caller];
        if most.iter().any(|figure| *figure > 1_000_000) || !(1..=3_600).contains(&limits.header_timeout_s) {
            let why = "[limits] uploads and streams must be at most 1000000, header_timeout_s 1 to 3600";
            return Err(PlanError::Unusable(why.into()));
        }
        // the server's own floor
        if limits.header_bytes < 8_192 {
            return Err(PlanError::Unusable("[limits] header_bytes must be at least 8192".into()));
        }
        if limits.page_default < 1 || limits.page_most < limits.page_default {
            return Err(PlanError::Unusable(
                "[limits] page_most must not be under page_default, nor that under 1".into(),
            ));
        }
        if self.metrics.count_every_s == 0 || self.metrics.probe_timeout_ms == 0 {
            return Err(PlanError::Unusable("[metrics] count_every_s and probe_timeout_ms must be at least 1".into()));
        }
        if self.stream.poll_ms == 0 || self.idempotency.lease_s == 0 {
            return Err(PlanError::Unusable("[stream] poll_ms and [idempotency] lease_s must be at least 1".into()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_that_is_built_in_is_whole() {
        assert!(DoorsPlan::load(None).is_ok());
    }
}
