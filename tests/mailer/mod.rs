//! Mail: relays and their faults, what messages hold, what comes back.

mod relay;
mod relays;
mod returned;
// mod texts;
