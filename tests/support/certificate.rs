//! A certificate that nobody vouches for.

use std::path::Path;
use std::process::Command;

/// Writes `key.pem` and `certificate.pem` of a server on 127.0.0.1.
pub fn make(folder: &Path) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "certificate.pem"])
        .args(["-subj", "/CN=server", "-addext", "subjectAltName=IP:127.0.0.1", "-addext"])
        .arg("basicConstraints=critical,CA:FALSE")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
