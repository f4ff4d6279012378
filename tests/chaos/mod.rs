//! Both journeys under load while nodes are killed, stand still or have a wrong clock: nothing is lost, and nothing
//! takes effect twice. `make chaos` runs these tests for longer.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod checks;
mod installation;
mod killed;
mod load;
mod nodes;
mod others;
mod scale;

/// A figure that the environment may change: `make chaos` does.
#[expect(clippy::disallowed_methods, reason = "how long a test runs is for its caller to say")]
fn figure(name: &str, usual: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number: {text}")))
}

/// The seed of what chance decides here; it is printed, and can be given. What the processes and the machine do
/// differs all the same.
fn seed(of: &str) -> u64 {
    let seed = figure("CHAOS_SEED", rand::random::<u32>().into());
    eprintln!("{of}: CHAOS_SEED={seed}");
    seed
}
