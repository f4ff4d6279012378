//! Mail: relays and their faults, what messages hold, what comes back.

pub(crate) mod relay;
mod relays;
mod returned;
mod texts;
