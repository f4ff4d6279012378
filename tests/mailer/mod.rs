//! Mail: relays and their faults, what messages hold, what comes back.

pub(crate) mod relay;
mod relays;
pub(crate) mod returned;
mod texts;
