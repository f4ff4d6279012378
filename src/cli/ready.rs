//! Whether the node on this machine can do its work: for health checks of containers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::CliError;
use crate::settings::Settings;

/// How long is waited for an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a node that listens there is reached from its own machine.
fn own(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}

/// Asks the node of these settings. Says no with its reasons, or when it does not answer.
pub(super) async fn run(settings: &Settings) -> Result<(), CliError> {
    let scheme = if settings.tls.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/ready", own(settings.listen));
    // nothing is sent, and what answers here is on this machine: its certificate is for the name that others use
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).danger_accept_invalid_certs(true).build();
    let unreachable =
        |error: reqwest::Error| CliError::Usage(format!("{url} does not answer: {}", error.without_url()));
    let answer = client.map_err(unreachable)?.get(&url).send().await.map_err(unreachable)?;
    let ready = answer.status().is_success();
    let told: Value = answer.json().await.unwrap_or_default();
    for reason in told["reasons"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        println!("{reason}");
    }
    if ready {
        println!("ready");
        Ok(())
    } else {
        Err(CliError::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_listens_everywhere_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:8750", "127.0.0.1:8750"),
            ("[::]:8750", "[::1]:8750"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("10.1.2.3:8750", "10.1.2.3:8750"),
        ] {
            assert_eq!(own(listen.parse().unwrap()), asked.parse().unwrap());
        }
    }
}
