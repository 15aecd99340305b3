//! The loopback API: how the command line, and later the web app, talk to the running node.
//!
//! Only loopback, only with the bearer token from the data directory (one call has a token of its own: `found`), only
//! under a loopback `Host`, never with an `Origin`: no cookies, no CORS, so no page in a browser can reach it (DESIGN §9;
//! `docs/api.md`).

use std::{net::SocketAddr, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use subtle::ConstantTimeEq;

use crate::node::Node;

pub mod audit;
pub(crate) mod found;
mod ledger;
mod mail;
mod people;
mod proofs;
pub mod types;

use types::Problem;

/// Longest body of a call, in bytes: the longest text, escaped, and room.
const BODY_MAX_BYTES: usize = 512 * 1024;

/// Who may call: made once at start.
#[derive(Debug)]
pub struct Guard {
    token: String,
    hosts: [String; 3],
}

impl Guard {
    /// Accepts this token, under the names that a loopback address has.
    pub fn new(token: String, address: SocketAddr) -> Self {
        let port = address.port();
        Self { token, hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("[::1]:{port}")] }
    }

    fn admits(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        if !text(header::HOST).is_some_and(|host| self.hosts.iter().any(|own| own == host)) {
            return Err((StatusCode::FORBIDDEN, "call the API by its loopback address"));
        }
        if headers.contains_key(header::ORIGIN) {
            return Err((StatusCode::FORBIDDEN, "pages of other sites may not call the API"));
        }
        if bool::from(bearer(headers).as_bytes().ct_eq(self.token.as_bytes())) {
            Ok(())
        } else {
            Err((StatusCode::UNAUTHORIZED, "the API wants the token from the file api.token in the data directory"))
        }
    }
}

/// The token that a call carries; empty when it carries none.
fn bearer(headers: &HeaderMap) -> &str {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default()
}

/// Why a call was refused, in one sentence.
#[derive(Debug)]
pub struct Refusal(StatusCode, String);

impl Refusal {
    /// The caller asked for something that cannot be: exit code 1.
    pub fn unable(sentence: impl ToString) -> Self {
        Self(StatusCode::UNPROCESSABLE_ENTITY, sentence.to_string())
    }
    /// The caller asked in a wrong way: exit code 2.
    pub fn usage(sentence: impl ToString) -> Self {
        Self(StatusCode::BAD_REQUEST, sentence.to_string())
    }
    /// The node is in trouble: exit code 1.
    pub fn internal(sentence: impl ToString) -> Self {
        Self(StatusCode::INTERNAL_SERVER_ERROR, sentence.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(Problem { error: self.1 })).into_response()
    }
}

/// What a handler answers.
type Answer<T> = Result<Json<T>, Refusal>;

/// The routes.
pub fn router(node: Arc<Node>, guard: Arc<Guard>) -> Router {
    Router::new()
        .route("/v1/status", get(ledger::status))
        .route("/v1/peers", get(ledger::peers))
        .route("/v1/peers/refused", get(ledger::refused))
        .route("/v1/blocks/{which}", get(ledger::block))
        .route("/v1/transactions/{id}", get(ledger::transaction))
        .route("/v1/transactions/{id}/proof", get(proofs::proof))
        .route("/v1/transactions/{id}/disclosure", get(proofs::disclosure))
        .route("/v1/blocks/{which}/absence/{id}", get(proofs::absence))
        .route("/v1/checkpoints", get(audit::checkpoints))
        .route("/v1/compare/{peer}", get(audit::compare))
        .route("/v1/identity", get(people::identity))
        .route("/v1/identities", get(people::identities).post(people::add_identity))
        .route(
            "/v1/contacts",
            get(people::contacts)
                .post(people::add_contact)
                .patch(people::change_contact)
                .delete(people::remove_contact),
        )
        .route("/v1/contacts/verify", post(people::verify))
        .route("/v1/contacts/block", post(people::block))
        .route("/v1/contacts/blocked", get(people::blocked))
        .route("/v1/requests", get(people::requests).delete(people::decline))
        .route("/v1/messages", get(mail::inbox).post(mail::send))
        .route("/v1/history", get(mail::history))
        .route("/v1/outbox", get(mail::outbox))
        .fallback(|| async { Refusal(StatusCode::NOT_FOUND, "there is no such call; see docs/api.md".to_owned()) })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(middleware::from_fn_with_state(guard, admit))
        .with_state(Arc::clone(&node))
        // Behind the guard of the others: it has one of its own.
        .merge(found::router(node))
}

async fn admit(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.admits(request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, sentence)) => Refusal(status, sentence.to_owned()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn only_the_token_under_a_loopback_host_and_no_origin_is_admitted() {
        let guard = Guard::new("secret".to_owned(), "127.0.0.1:80".parse().unwrap());
        let good = [("host", "127.0.0.1:80"), ("authorization", "Bearer secret")];
        assert!(guard.admits(&headers(&good)).is_ok());
        for bad in [
            vec![("host", "127.0.0.1:80")],
            vec![("authorization", "Bearer secret")],
            vec![("host", "evil.example:80"), good[1]],
            vec![("host", "127.0.0.1:81"), good[1]],
            vec![good[0], ("authorization", "Bearer secre")],
            vec![good[0], ("authorization", "secret")],
            vec![good[0], good[1], ("origin", "http://127.0.0.1:80")],
        ] {
            assert!(guard.admits(&headers(&bad)).is_err(), "{bad:?}");
        }
    }
}
