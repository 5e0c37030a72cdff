//! Why an endpoint cannot be bound, and why connections do not come about.
//!
//! Every text says what failed, where, and, where the reader can do something, what. Must never
//! hold an error of a connection that was established.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use isochrone_protocol::{EncodeError, PROTOCOL_VERSION, PreambleError, Version};
use rustls::AlertDescription;

use crate::link::{Closing, close_reason};
use crate::peer_identity::{IdentityParseError, PeerIdentity, Role};
use crate::tls::{self, ServerCheck};
use crate::{CloseCode, CloseReason};

/// Why an endpoint cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had: in use, not this machine's, or not permitted.
    #[error("cannot listen on {address} (UDP); choose another address or port")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is no tokio runtime in the calling thread.
    #[error("an endpoint needs a tokio runtime")]
    NoRuntime,
    /// TLS cannot be set up with the identity.
    #[error("TLS cannot be set up with this identity")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What is wrong with a certificate in a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// None was presented.
    #[error("no certificate was presented; have one issued by the farm's authority")]
    Missing,
    /// It was issued by another authority.
    #[error("it was issued by another authority; use one that this farm's authority issued")]
    OtherAuthority,
    /// It has expired or is not valid yet.
    #[error("it has expired or is not valid yet; renew it, or set the clocks")]
    OutOfTime,
    /// It is for another role or purpose (a client's or admin's cannot accept connections).
    #[error("it is for another role or purpose")]
    OtherPurpose,
    /// It is malformed, or was refused for another reason.
    #[error("it is not acceptable")]
    Unacceptable,
}

/// The alert of a peer that knows none of the offered application protocols.
const NO_APPLICATION_PROTOCOL: u8 = 120;

impl CertificateFault {
    /// What a check found.
    pub(crate) fn of(error: &rustls::CertificateError) -> Self {
        if tls::is_out_of_time(error) {
            Self::OutOfTime
        } else if tls::is_other_purpose(error) {
            Self::OtherPurpose
        } else if matches!(
            error,
            rustls::CertificateError::UnknownIssuer | rustls::CertificateError::BadSignature
        ) {
            Self::OtherAuthority
        } else {
            Self::Unacceptable
        }
    }

    /// What a TLS alert says about a certificate, if it is about one.
    fn from_alert(alert: u8) -> Option<Self> {
        match AlertDescription::from(alert) {
            AlertDescription::CertificateRequired | AlertDescription::NoCertificate => Some(Self::Missing),
            AlertDescription::UnknownCA | AlertDescription::DecryptError => Some(Self::OtherAuthority),
            AlertDescription::CertificateExpired => Some(Self::OutOfTime),
            AlertDescription::UnsupportedCertificate => Some(Self::OtherPurpose),
            AlertDescription::BadCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::AccessDenied => Some(Self::Unacceptable),
            _ => None,
        }
    }
}

/// The TLS alert in a QUIC error code, if it is one.
fn alert(code: quinn::TransportErrorCode) -> Option<u8> {
    let code = u64::from(code);
    // RFC 9001, section 4.8: 0x100 plus the alert.
    u8::try_from(code.checked_sub(0x100)?).ok()
}

/// Why dialling did not lead to a connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The address cannot be reached from here: no route, or another family than the endpoint's.
    #[error("{address} cannot be reached from this machine; check the address and the network")]
    Unreachable {
        /// Where to.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// QUIC cannot even start (port 0, or the endpoint is closed).
    #[error("cannot dial {address}")]
    Dial {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: quinn::ConnectError,
    },
    /// TLS cannot be set up for dialling.
    #[error("TLS cannot be set up for dialling {address}")]
    Tls {
        /// Where to.
        address: SocketAddr,
        /// Why not.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A first message cannot be encoded.
    #[error("a first message for {address} cannot be sent")]
    Message {
        /// Where to.
        address: SocketAddr,
        /// What is wrong with it.
        source: EncodeError,
    },
    /// Nobody answered, or not to the end.
    #[error("{address} did not answer within {after:?}; check that it runs there and that UDP passes")]
    TimedOut {
        /// Where to.
        address: SocketAddr,
        /// The time that was given.
        after: Duration,
    },
    /// The process there takes no connections (now).
    #[error("{address} takes no connections now; try again later")]
    Refused {
        /// Where to.
        address: SocketAddr,
    },
    /// Something else than Isochrone answers there.
    #[error("{address} does not speak the Isochrone protocol; check address and port")]
    NotIsochrone {
        /// Where to.
        address: SocketAddr,
    },
    /// The other side refused this process's certificate.
    #[error("{address} refused this process's certificate: {fault}")]
    OurCertificate {
        /// Where to.
        address: SocketAddr,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The certificate that was presented there is refused.
    #[error("the certificate of {address} is refused: {fault}")]
    TheirCertificate {
        /// Where to.
        address: SocketAddr,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The certificate that was presented there states no identity.
    #[error("the certificate of {address} is refused")]
    TheirIdentity {
        /// Where to.
        address: SocketAddr,
        /// What is wrong with it.
        source: IdentityParseError,
    },
    /// A process of another role answers there.
    #[error("{address} is {found}, expected was role {expected}; check address and port")]
    WrongRole {
        /// Where to.
        address: SocketAddr,
        /// The role that was expected.
        expected: Role,
        /// Who answered.
        found: PeerIdentity,
    },
    /// A process of the right role and another name answers there.
    #[error("{address} is {found}, expected was the name {expected:?}; check address and port")]
    WrongName {
        /// Where to.
        address: SocketAddr,
        /// The name that was expected.
        expected: String,
        /// Who answered.
        found: PeerIdentity,
    },
    /// This process's role is not served there.
    #[error("{address} does not serve role {role}: {reason}")]
    RoleRefused {
        /// Where to.
        address: SocketAddr,
        /// This process's role.
        role: Role,
        /// What the other side said.
        reason: String,
    },
    /// The process there speaks an incompatible version.
    #[error("{address} speaks protocol version {theirs}, this process {ours}; use builds of one version")]
    VersionMismatch {
        /// Where to.
        address: SocketAddr,
        /// This build's version.
        ours: Version,
        /// The other side's version.
        theirs: Version,
    },
    /// The connection ended before it was established.
    #[error("{address} ended the connection")]
    Closed {
        /// Where to.
        address: SocketAddr,
        /// How.
        source: CloseReason,
    },
}

/// What an error of a dialled connection is told apart with.
pub(crate) struct DialContext<'a> {
    pub(crate) address: SocketAddr,
    pub(crate) our_role: Role,
    pub(crate) expected_role: Role,
    pub(crate) expected_name: Option<&'a str>,
    pub(crate) timeout: Duration,
    pub(crate) check: &'a ServerCheck,
    pub(crate) closing: &'a Closing,
}

impl ConnectError {
    /// The error for a connection that ended with `error` before it was established.
    pub(crate) fn new(context: &DialContext<'_>, error: quinn::ConnectionError) -> Self {
        let address = context.address;
        match &error {
            quinn::ConnectionError::TimedOut => {
                return Self::TimedOut { address, after: context.timeout };
            }
            quinn::ConnectionError::TransportError(ours) => {
                if let Some(error) = Self::refused_by_us(context, ours.code) {
                    return error;
                }
            }
            quinn::ConnectionError::ConnectionClosed(theirs) => {
                if let Some(error) = Self::refused_by_them(address, theirs.error_code) {
                    return error;
                }
            }
            quinn::ConnectionError::VersionMismatch => return Self::NotIsochrone { address },
            quinn::ConnectionError::ApplicationClosed(_)
            | quinn::ConnectionError::Reset
            | quinn::ConnectionError::LocallyClosed
            | quinn::ConnectionError::CidsExhausted => {}
        }
        Self::closed(context, close_reason(error, context.closing.get()))
    }

    fn refused_by_us(context: &DialContext<'_>, code: quinn::TransportErrorCode) -> Option<Self> {
        let address = context.address;
        if let Some(refused) = context.check.refused() {
            let fault = if tls::is_other_name(&refused.error) {
                if let Some(found) = refused.identity
                    && found.role != context.expected_role
                {
                    return Some(Self::WrongRole { address, expected: context.expected_role, found });
                }
                CertificateFault::OtherPurpose
            } else {
                CertificateFault::of(&refused.error)
            };
            return Some(Self::TheirCertificate { address, fault });
        }
        if alert(code)? == NO_APPLICATION_PROTOCOL {
            return Some(Self::NotIsochrone { address });
        }
        CertificateFault::from_alert(alert(code)?).map(|fault| Self::TheirCertificate { address, fault })
    }

    fn refused_by_them(address: SocketAddr, code: quinn::TransportErrorCode) -> Option<Self> {
        if code == quinn::TransportErrorCode::CONNECTION_REFUSED {
            return Some(Self::Refused { address });
        }
        if alert(code)? == NO_APPLICATION_PROTOCOL {
            return Some(Self::NotIsochrone { address });
        }
        CertificateFault::from_alert(alert(code)?).map(|fault| Self::OurCertificate { address, fault })
    }

    fn closed(context: &DialContext<'_>, reason: CloseReason) -> Self {
        let address = context.address;
        if let CloseReason::Peer { code, reason } = &reason {
            if *code == CloseCode::RoleRefused {
                return Self::RoleRefused { address, role: context.our_role, reason: reason.clone() };
            }
            if *code == CloseCode::VersionMismatch
                && let Ok(theirs) = reason.parse()
            {
                return Self::VersionMismatch { address, ours: PROTOCOL_VERSION, theirs };
            }
        }
        Self::Closed { address, source: reason }
    }

    /// The error for a preamble that is refused.
    pub(crate) fn preamble(address: SocketAddr, error: PreambleError) -> Self {
        match error {
            PreambleError::NotIsochrone { .. } => Self::NotIsochrone { address },
            PreambleError::OtherMajor { ours, theirs } => Self::VersionMismatch { address, ours, theirs },
        }
    }
}

/// Why an incoming connection was not established.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The dialling side's certificate is refused.
    #[error("the certificate of {address} is refused: {fault}")]
    TheirCertificate {
        /// Where it came from.
        address: SocketAddr,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The dialling side refused this process's certificate.
    #[error("{address} refused this process's certificate: {fault}")]
    OurCertificate {
        /// Where it came from.
        address: SocketAddr,
        /// What is wrong with it.
        fault: CertificateFault,
    },
    /// The dialling side's certificate states no identity.
    #[error("the certificate of {address} is refused")]
    TheirIdentity {
        /// Where it came from.
        address: SocketAddr,
        /// What is wrong with it.
        source: IdentityParseError,
    },
    /// The dialling side's role is not served here.
    #[error("{identity} at {address} is refused: this process does not serve that role")]
    RoleRefused {
        /// Where it came from.
        address: SocketAddr,
        /// Who it is.
        identity: PeerIdentity,
    },
    /// The dialling side's preamble is refused: another version, or no preamble.
    #[error("{address} is refused")]
    Preamble {
        /// Where it came from.
        address: SocketAddr,
        /// What is wrong with it; names both versions.
        source: PreambleError,
    },
    /// The dialling side broke off the preamble, or took too long.
    #[error("{address} did not complete the handshake within {after:?}")]
    TimedOut {
        /// Where it came from.
        address: SocketAddr,
        /// The time that was given.
        after: Duration,
    },
    /// The dialling side ended the preamble before it was complete.
    #[error("{address} did not send a whole preamble")]
    Truncated {
        /// Where it came from.
        address: SocketAddr,
    },
    /// The connection ended before it was established.
    #[error("the connection of {address} ended before it was established")]
    Closed {
        /// Where it came from.
        address: SocketAddr,
        /// How.
        source: CloseReason,
    },
}

impl AcceptError {
    /// The error for a connection that ended with `error` before it was established.
    pub(crate) fn new(address: SocketAddr, error: quinn::ConnectionError, closing: &Closing) -> Self {
        match &error {
            quinn::ConnectionError::TransportError(ours) => {
                if let Some(fault) = alert(ours.code).and_then(CertificateFault::from_alert) {
                    return Self::TheirCertificate { address, fault };
                }
            }
            quinn::ConnectionError::ConnectionClosed(theirs) => {
                if let Some(fault) = alert(theirs.error_code).and_then(CertificateFault::from_alert) {
                    return Self::OurCertificate { address, fault };
                }
            }
            quinn::ConnectionError::TimedOut
            | quinn::ConnectionError::VersionMismatch
            | quinn::ConnectionError::ApplicationClosed(_)
            | quinn::ConnectionError::Reset
            | quinn::ConnectionError::LocallyClosed
            | quinn::ConnectionError::CidsExhausted => {}
        }
        Self::Closed { address, source: close_reason(error, closing.get()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_told_apart() {
        let address = SocketAddr::from(([127, 0, 0, 1], 9));
        for (alert, expected) in [
            (116, CertificateFault::Missing),
            (48, CertificateFault::OtherAuthority),
            (51, CertificateFault::OtherAuthority),
            (45, CertificateFault::OutOfTime),
            (43, CertificateFault::OtherPurpose),
            (42, CertificateFault::Unacceptable),
        ] {
            let code = quinn::TransportErrorCode::crypto(alert);
            let error = ConnectError::refused_by_them(address, code).expect("about a certificate");
            assert!(
                matches!(error, ConnectError::OurCertificate { fault, .. } if fault == expected),
                "{alert}: {error}"
            );
        }
        let code = quinn::TransportErrorCode::crypto(120);
        assert!(matches!(
            ConnectError::refused_by_them(address, code),
            Some(ConnectError::NotIsochrone { .. })
        ));
        assert!(ConnectError::refused_by_them(address, quinn::TransportErrorCode::NO_ERROR).is_none());
        assert!(matches!(
            ConnectError::refused_by_them(address, quinn::TransportErrorCode::CONNECTION_REFUSED),
            Some(ConnectError::Refused { .. })
        ));
    }
}
