//! The listening server: bounds on what comes before a handler sees anything, and TLS.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use thiserror::Error;

use super::api::{Api, router};

/// How long requests under way may take to end when the node stops.
const GRACE: Duration = Duration::from_secs(20);

/// Why the server can't run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The certificate or the key can't be used.
    #[error("can't use the certificate {certificate} with the key {key}: {source}")]
    Tls {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the server ended: {0}")]
    Listen(#[from] std::io::Error),
}

/// Reads the certificate.
///
/// # Errors
/// Names the files.
pub async fn read_tls(certificate: &Path, key: &Path) -> Result<RustlsConfig, ServeError> {
    RustlsConfig::from_pem_file(certificate, key).await.map_err(|source| ServeError::Tls {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// Serves the routes until `stop` ends; requests under way are finished.
///
/// # Errors
/// When the address can't be listened on.
pub async fn serve(
    listener: TcpListener,
    tls: Option<RustlsConfig>,
    api: Api,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let limits = api.plan.limits.clone();
    let handle = Handle::new();
    let stopping = handle.clone();
    tokio::spawn(async move {
        stop.await;
        stopping.graceful_shutdown(Some(GRACE));
    });
    let service = router(api).into_make_service_with_connect_info::<SocketAddr>();
    macro_rules! run {
        ($server:expr) => {{
            let mut server = $server.handle(handle).http1_only();
            server
                .http_builder()
                .http1()
                .timer(hyper_util::rt::TokioTimer::new())
                .header_read_timeout(Duration::from_secs(limits.header_timeout_s))
                .max_headers(limits.headers)
                .max_buf_size(limits.header_bytes);
            server.serve(service).await
        }};
    }
    listener.set_nonblocking(true)?;
    match tls {
        None => run!(axum_server::from_tcp(listener)?)?,
        Some(tls) => run!(axum_server::from_tcp_rustls(listener, tls)?)?,
    }
    Ok(())
}
