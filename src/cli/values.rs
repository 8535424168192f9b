//! How numbers and addresses are written on the command line, and what is said where they are not.

use std::net::SocketAddr;

/// A whole number within these bounds.
pub fn whole<T: TryFrom<u64>>(
    least: u64,
    most: u64,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static {
    move |text| {
        let number = text.parse().ok().filter(|number| (least..=most).contains(number));
        number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match most {
            u64::MAX => format!("expected a whole number of at least {least}"),
            most => format!("expected a whole number from {least} to {most}"),
        })
    }
}

/// Where to listen.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected an IP address and a port, such as 127.0.0.1:8600 or [::1]:8600".into())
}
