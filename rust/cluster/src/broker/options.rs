//! How to reach NATS, and as whom.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use async_nats::{ConnectOptions, ServerAddr};

use super::error::{BrokerError, Result};

/// Where the servers are, and what they want to know.
#[derive(Clone)]
pub struct Options {
    /// `nats://host:port`, `tls://host:port` or `host:port`, without anything secret.
    pub servers: Vec<String>,
    /// What the connection is called in the server's lists.
    pub name: String,
    /// A user's name, with `password`.
    pub user: Option<String>,
    /// Of `user`.
    pub password: Option<String>,
    /// The token that all clients of the server share.
    pub token: Option<String>,
    /// The seed of an nkey: `SU...`.
    pub nkey: Option<String>,
    /// A file with a JWT and the seed of its key.
    pub creds: Option<PathBuf>,
    /// Certificates of those who may sign the server's, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// Of `cert_file`.
    pub key_file: Option<PathBuf>,
    /// How long the first connection may take, and every answer after it.
    pub timeout: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("servers", &self.servers)
            .field("name", &self.name)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The addresses, as the client wants them.
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>> {
        if self.servers.is_empty() {
            return Err(BrokerError::Invalid("no NATS server was named".into()));
        }
        let parse = |text: &String| {
            let address: ServerAddr = text.parse().map_err(|error| BrokerError::Invalid(format!("{error}")))?;
            if address.has_user_pass() || address.host().is_empty() {
                // Not shown: there may be a password in it.
                return Err(BrokerError::Invalid(
                    "an address of NATS is a host and a port, such as nats://host:4222".into(),
                ));
            }
            Ok(address)
        };
        self.servers.iter().map(parse).collect()
    }

    /// What the client is told, but for the addresses.
    pub(super) fn client(&self) -> Result<ConnectOptions> {
        let each = self.timeout / u32::try_from(self.servers.len().max(1)).unwrap_or(u32::MAX);
        let mut options = ConnectOptions::new()
            .name(&self.name)
            .connection_timeout(each)
            .request_timeout(Some(self.timeout))
            // A server that says nothing for two of these is gone.
            .ping_interval(Duration::from_secs(5))
            .max_reconnects(None);
        if let Some(user) = &self.user {
            options = options.user_and_password(user.clone(), self.password.clone().unwrap_or_default());
        }
        if let Some(token) = &self.token {
            options = options.token(token.clone());
        }
        if let Some(seed) = &self.nkey {
            options = options.nkey(seed.clone());
        }
        if let Some(path) = &self.creds {
            let text = fs::read_to_string(path).map_err(|error| BrokerError::File(path.clone(), error))?;
            options = options.credentials(&text).map_err(|_| {
                BrokerError::Invalid(format!("{}: it holds no JWT with the seed of its key", path.display()))
            })?;
        }
        if let Some(path) = &self.ca_file {
            options = options.add_root_certificates(readable(path)?).require_tls(true);
        }
        if let (Some(certificate), Some(key)) = (&self.cert_file, &self.key_file) {
            options = options.add_client_certificate(readable(certificate)?, readable(key)?).require_tls(true);
        }
        Ok(options)
    }
}

/// The path, where the file can be opened: the client itself would say no more than "TLS error".
fn readable(path: &Path) -> Result<PathBuf> {
    match fs::File::open(path) {
        Ok(_) => Ok(path.into()),
        Err(error) => Err(BrokerError::File(path.into(), error)),
    }
}
