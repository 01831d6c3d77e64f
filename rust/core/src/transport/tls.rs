//! TLS: rustls with ring, Mozilla's roots unless the user names others, and what a handshake that failed means. There is
//! no switch that turns verification off.

use std::{io, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

use super::{answer::failure, stream::Io};
use crate::session::{ConnectFailure, ConnectFailureKind};

/// A setting that gives no usable trust store; the text says which and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(pub String);

impl std::fmt::Display for TlsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// The TLS settings of a gateway.
///
/// `ca_file`: PEM certificates that are trusted besides the roots. `native_roots`: the operating
/// system's roots instead of Mozilla's.
///
/// # Errors
/// Where the file cannot be read, holds no certificate, or the system gives no root.
pub fn client_config(ca_file: Option<&Path>, native_roots: bool) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    if native_roots {
        let native = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(native.certs);
        if roots.is_empty() {
            return Err(TlsError("native_roots=True, but the operating system gave no root certificate".to_owned()));
        }
    } else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = ca_file {
        let shown = path.display();
        let fail = |what: String| TlsError(format!("ca_file {shown}: {what}"));
        let certificates: Vec<CertificateDer<'static>> =
            CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|error| fail(error.to_string()))?;
        if certificates.is_empty() {
            return Err(fail("no PEM certificate in it".to_owned()));
        }
        for certificate in certificates {
            roots.add(certificate).map_err(|error| fail(error.to_string()))?;
        }
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// TLS over `stream` to `host`.
pub(super) async fn secure<S: Io + 'static>(
    stream: S,
    host: &str,
    tls: &Arc<rustls::ClientConfig>,
) -> Result<Box<dyn Io>, ConnectFailure> {
    let name = ServerName::try_from(host.to_owned())
        .map_err(|error| failure(ConnectFailureKind::Config, format!("{host}: {error}")))?;
    match TlsConnector::from(Arc::clone(tls)).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(tls_failure(host, &error)),
    }
}

fn tls_failure(host: &str, error: &io::Error) -> ConnectFailure {
    use rustls::{AlertDescription, Error, InvalidMessage};
    let Some(reason) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return failure(ConnectFailureKind::Unreachable, format!("TLS handshake with {host}: {error}"));
    };
    let (kind, advice) = match reason {
        Error::InvalidCertificate(wrong) => (ConnectFailureKind::Certificate, certificate_advice(wrong)),
        // What follows also comes from a load balancer in trouble: it is tried again.
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            (ConnectFailureKind::Handshake, "what answers does not speak TLS on this port; check the URL")
        }
        Error::AlertReceived(AlertDescription::ProtocolVersion) | Error::PeerIncompatible(_) => {
            (ConnectFailureKind::Handshake, "the server must speak TLS 1.2 or 1.3")
        }
        _ => (ConnectFailureKind::Handshake, ""),
    };
    let what = match kind {
        ConnectFailureKind::Certificate => "the certificate of",
        _ => "the TLS handshake with",
    };
    let colon = if advice.is_empty() { "" } else { ": " };
    failure(kind, format!("{what} {host} failed ({reason}){colon}{advice}"))
}

fn certificate_advice(wrong: &CertificateError) -> &'static str {
    use CertificateError as Wrong;
    match wrong {
        Wrong::Expired | Wrong::ExpiredContext { .. } => "it has expired, unless the clock of this machine is wrong",
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => {
            "it is not valid yet, unless the clock of this machine is wrong"
        }
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            "it belongs to another host; check the URL, and what stands between here and there"
        }
        Wrong::UnknownIssuer => {
            "nobody who is trusted has issued it; a private authority goes into ca_file=, \
             and native_roots=True trusts those of the operating system"
        }
        Wrong::Revoked => "it was revoked",
        _ => "it must not be trusted",
    }
}
