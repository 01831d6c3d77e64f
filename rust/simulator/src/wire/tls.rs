//! Certificates made at start: a CA, a leaf for `localhost` and 127.0.0.1, and the leaves that a client must refuse.

use std::io;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::options::Certificate;

/// The certificate authority of one simulator.
pub(crate) struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    stranger: Issuer<'static, KeyPair>,
}

fn failed(error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("certificate: {error}"))
}

fn authority(name: &str) -> io::Result<(String, Issuer<'static, KeyPair>)> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().map_err(failed)?;
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok((certificate.pem(), Issuer::new(params, key)))
}

impl Authority {
    pub(crate) fn new() -> io::Result<Self> {
        let (pem, issuer) = authority("Propylon simulator CA")?;
        let (_, stranger) = authority("Somebody else's CA")?;
        Ok(Self { pem, issuer, stranger })
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// A TLS acceptor that shows the certificate of this kind.
    pub(crate) fn acceptor(&self, kind: Certificate) -> io::Result<TlsAcceptor> {
        let names = match kind {
            Certificate::WrongHost => vec!["gateway.example.net".to_owned()],
            _ => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        };
        let mut params = CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, "Propylon simulator");
        params.use_authority_key_identifier_extension = true;
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        let (from, to) = match kind {
            Certificate::Expired => (2020, 2021),
            Certificate::NotYetValid => (2090, 2091),
            _ => (2020, 2090),
        };
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(to, 1, 1);
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = match kind {
            Certificate::SelfSigned => params.self_signed(&key),
            Certificate::UnknownCa => params.signed_by(&key, &self.stranger),
            _ => params.signed_by(&key, &self.issuer),
        }
        .map_err(failed)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .map_err(failed)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
