//! Connections to brokers: TCP, and TLS over it with what the target says of certificates. Why one failed is worded here, for all of them.

use super::address::Address;
use super::{Failure, Target, read, within, words};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use std::error::Error;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Bytes that go both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Duplex for T {}

/// Says at once that it has read something: a broker that holds small answers back for more to come (Nagle) waits for that, which
/// otherwise takes 40 ms.
struct Prompt(TcpStream);

impl AsyncRead for Prompt {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.0).poll_read(context, into);
        // It holds for a while only.
        #[cfg(target_os = "linux")]
        if read.is_ready() {
            self.0.set_quickack(true).ok();
        }
        read
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// A connection to the first host of the address.
pub async fn connect(address: &Address, target: &Target, with_tls: bool) -> Result<Box<dyn Duplex>, Failure> {
    let (host, port) = address.host().map_err(Failure::Away)?;
    let away = |error: &(dyn Error + 'static)| address.away(why(error, target));
    let connected = async {
        let stream = TcpStream::connect((host, port)).await.map_err(|error| away(&error))?;
        // Small packets are not held back for more to come.
        stream.set_nodelay(true).map_err(|error| away(&error))?;
        let stream = Prompt(stream);
        if !with_tls {
            return Ok(Box::new(stream) as Box<dyn Duplex>);
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|error| away(&error))?;
        let connector = TlsConnector::from(Arc::new(tls(target)?));
        let stream = connector.connect(name, stream).await.map_err(|error| away(&error))?;
        Ok(Box::new(stream) as Box<dyn Duplex>)
    };
    let silent = || address.away(format!("no connection {}", within(target.timeout)));
    tokio::time::timeout(target.timeout, connected).await.unwrap_or_else(|_| Err(silent()))
}

/// Whom to trust, and as whom to come.
pub fn tls(target: &Target) -> Result<ClientConfig, Failure> {
    let mut roots = RootCertStore::empty();
    match &target.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| in_file(path, error))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = versions.map_err(|error| Failure::Away(words(error)))?.with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&target.cert, &target.key) else { return Ok(config.with_no_client_auth()) };
    let chain = certificates(cert)?;
    let own = PrivateKeyDer::from_pem_slice(&read(key)?)
        .map_err(|error| in_file(key, format!("it holds no key: {error}")))?;
    config.with_client_auth_cert(chain, own).map_err(|error| in_file(cert, error))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let bytes = read(path)?;
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(&bytes).collect::<Result<_, _>>().map_err(|error| in_file(path, error))?;
    match found.is_empty() {
        true => Err(in_file(path, "it holds no certificate (expected PEM)")),
        false => Ok(found),
    }
}

fn in_file(path: &Path, wrong: impl std::fmt::Display) -> Failure {
    Failure::Away(format!("{}: {}", path.display(), words(wrong)))
}

/// Why a connection failed or ended, in words; by the first error below that says what there is to do.
pub fn why(error: &(dyn Error + 'static), target: &Target) -> String {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(said) = error.downcast_ref().and_then(|error| in_handshake(error, target)) {
            return said;
        }
        // What these two hold is no source of theirs.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let held = held.map(|held| held as &(dyn Error + 'static));
        let shared =
            error.downcast_ref::<Arc<dyn Error + Send + Sync>>().map(|shared| &**shared as &(dyn Error + 'static));
        next = held.or(shared).or_else(|| error.source());
    }
    words(error)
}

fn in_handshake(error: &rustls::Error, target: &Target) -> Option<String> {
    let file = |path: &Option<std::path::PathBuf>, other: &str| {
        path.as_ref().map_or_else(|| other.to_owned(), |path| path.display().to_string())
    };
    match error {
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Some(format!(
            "its certificate is vouched for by nobody in {}; name a file with its authority's certificate as ca",
            file(&target.ca, "the system's list")
        )),
        rustls::Error::InvalidCertificate(wrong) => Some(format!("its certificate does not hold: {}", words(wrong))),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied,
        ) => Some(format!(
            "it does not take the client's certificate ({}); name one that it takes as cert, and its key",
            file(&target.cert, "there is none")
        )),
        rustls::Error::InvalidMessage(_) => Some("it does not speak TLS".to_owned()),
        _ => None,
    }
}
