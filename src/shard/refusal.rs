//! Refusals: the label under which each is counted, and the response to a connection that is
//! refused before anything is read from it. Pure. The text of each response is in
//! [`HttpError::text`].

use crate::telemetry::counters::ShardCounters;
use crate::telemetry::labels::{EndReason, RejectReason};
use crate::wire::http::{self, HttpError, RefusalCause, ResponseFraming};

/// The label under which a refused request is counted.
pub(super) fn reject_reason(error: HttpError) -> RejectReason {
    match error {
        HttpError::BadRequest(_) | HttpError::UnsupportedVersion => RejectReason::BadRequest,
        HttpError::HeadTooLarge | HttpError::TooManyFields => RejectReason::HeadTooLarge,
        HttpError::TargetTooLong => RejectReason::TargetTooLong,
        HttpError::HeadTimeout => RejectReason::HeadTimeout,
        HttpError::BodyRefused => RejectReason::BodyRefused,
        HttpError::MethodNotAllowed | HttpError::SessionMethodNotAllowed => {
            RejectReason::MethodNotAllowed
        }
        HttpError::NotFound => RejectReason::NotFound,
        HttpError::UpgradeRequired => RejectReason::UpgradeRequired,
        HttpError::UnsupportedWebSocketVersion => RejectReason::UnsupportedVersion,
        HttpError::BadProxyHeader => RejectReason::ProxyHeader,
        HttpError::OriginRefused => RejectReason::Origin,
        HttpError::Unavailable(RefusalCause::Connections) => RejectReason::ConnectionLimit,
        HttpError::Unavailable(RefusalCause::ConnectionsOfAddress) => RejectReason::AddressLimit,
        HttpError::Unavailable(RefusalCause::NewConnectionsOfAddress) => RejectReason::AddressRate,
        HttpError::Unavailable(RefusalCause::AdminConnections) => RejectReason::AdminLimit,
        HttpError::Unavailable(RefusalCause::Time) => RejectReason::Draining,
    }
}

/// Counts a connection that is refused before anything is read from it. Returns the response.
pub(super) fn refuse_unread(cause: RefusalCause, counters: &ShardCounters) -> Vec<u8> {
    let error = HttpError::Unavailable(cause);
    counters.accepted.increment();
    counters.closed.increment(EndReason::Refused);
    counters.rejected.increment(reject_reason(error));
    let mut response = Vec::new();
    let _closes = http::write_error(&mut response, error, ResponseFraming::LAST, None);
    response
}
