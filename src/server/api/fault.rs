//! What a call is answered when it is not carried out: a code of a closed list, and words for a person.

use crate::engine::EngineError;
use crate::server::message::{Answer, RequestId};
use crate::store::StoreError;
use crate::workshop::Unequipped;

/// Why a call was not carried out. The list is closed: clients may rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The query, the path or the body is not as it must be.
    Invalid,
    /// No token, or a wrong one.
    Unauthorized,
    /// The token or the address may not do that.
    Forbidden,
    /// There is no such path, task, route, pass, delivery or parked item.
    NotFound,
    /// The path takes another method.
    MethodNotAllowed,
    /// The pair or the item is in a state in which that cannot be done.
    Conflict,
    /// The task has no issue.
    NotLinked,
    /// The route's filters, a tombstone or an announced creation keep the task alone.
    LeftAlone,
    /// The item waits for a person.
    Parked,
    /// A brake holds it.
    Braked,
    /// Somebody else is at work on it; try again soon.
    Busy,
    /// The body is too large.
    TooLarge,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The `Idempotency-Key` belongs to another call.
    KeyReused,
    /// A fault of this program; the log has it under the request's id.
    Internal,
    /// Asana or GitHub did not do it.
    ProviderFailed,
    /// The database cannot be written or read now, or the process is stopping.
    Unavailable,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Invalid,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Conflict,
        Self::NotLinked,
        Self::LeftAlone,
        Self::Parked,
        Self::Braked,
        Self::Busy,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::KeyReused,
        Self::Internal,
        Self::ProviderFailed,
        Self::Unavailable,
    ];

    /// The word for it in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::Conflict => "conflict",
            Self::NotLinked => "not_linked",
            Self::LeftAlone => "left_alone",
            Self::Parked => "parked",
            Self::Braked => "braked",
            Self::Busy => "busy",
            Self::TooLarge => "body_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::KeyReused => "key_reused",
            Self::Internal => "internal",
            Self::ProviderFailed => "provider_failed",
            Self::Unavailable => "unavailable",
        }
    }

    /// The status it is answered with.
    pub const fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Conflict | Self::NotLinked | Self::LeftAlone | Self::Parked | Self::Braked | Self::Busy => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::KeyReused => 422,
            Self::Internal => 500,
            Self::ProviderFailed => 502,
            Self::Unavailable => 503,
        }
    }

    /// Whether the same call may well succeed a little later.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Busy | Self::Internal | Self::ProviderFailed | Self::Unavailable)
    }
}

/// A call that is not carried out.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    /// For a person: what was found, what to do.
    pub(super) message: String,
    /// Further headers.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The reason under which it is counted, when somebody was turned away.
    pub(super) turned_away: Option<&'static str>,
    /// What happened inside; for the log only.
    inside: Option<String>,
}

/// Seconds after which a busy route or database is worth another try.
const RETRY_SECONDS: &str = "5";

impl Fault {
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), headers: Vec::new(), turned_away: None, inside: None }
    }

    /// With one more header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Counted among those turned away, for this reason.
    pub(super) fn counted(self, reason: &'static str) -> Self {
        Self { turned_away: Some(reason), ..self }
    }

    /// The same words for a path that is not there and for an API that is off; the listener's front has them too.
    pub(super) fn nothing_here() -> Self {
        Self::new(Code::NotFound, "there is nothing at this path")
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::Invalid, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Code::NotFound, message)
    }

    pub(super) fn busy(message: impl Into<String>) -> Self {
        Self::new(Code::Busy, message).with("Retry-After", RETRY_SECONDS)
    }

    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message).with("Retry-After", RETRY_SECONDS)
    }

    /// A fault of ours: the log has it, the answer only says so.
    pub(super) fn internal(inside: impl Into<String>) -> Self {
        let message = "this is a fault of the program; its log has more under the request's id";
        Self { inside: Some(inside.into()), ..Self::new(Code::Internal, message) }
    }

    pub(super) fn answer(&self, id: &RequestId) -> Answer {
        if let Some(inside) = &self.inside {
            log::error!(request = id.as_str(); "api: {inside} (request {id})");
        }
        let answer = Answer::error(self.code.status(), self.code.as_str(), &self.message, id);
        self.headers.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Locked { .. } => Self::unavailable("the database is locked; try again"),
            StoreError::ReadOnly { .. } => {
                let fault = Self::unavailable("the database cannot be written now; the log says why");
                Self { inside: Some(error.to_string()), ..fault }
            }
            StoreError::LostLease { .. } => Self::busy(error.to_string()),
            StoreError::AlreadyLinked { .. } | StoreError::Claimed { .. } => {
                Self::new(Code::Conflict, error.to_string())
            }
            StoreError::Open { .. }
            | StoreError::Newer { .. }
            | StoreError::Garbled { .. }
            | StoreError::Failed { .. } => Self::internal(error.to_string()),
        }
    }
}

impl From<EngineError> for Fault {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => error.into(),
            EngineError::Provider { .. } => Self::new(Code::ProviderFailed, error.to_string()),
            EngineError::Held { .. } => Self::busy(error.to_string()),
            EngineError::Stopped => Self::unavailable("the process is stopping"),
        }
    }
}

impl From<Unequipped> for Fault {
    fn from(error: Unequipped) -> Self {
        Self::internal(error.to_string())
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(format!("an answer has no form as JSON: {error}"))
    }
}
