//! The one call that is not for the owner of the node: hands over what was found with a scan key, to whoever has its token.
//!
//! The token stands in the scan key file and opens nothing else of the API; the API's own token does not open this. The `Host`
//! may have any port, since the caller may come through a tunnel that ends at another one; it must be a loopback name all
//! the same, and there must be no `Origin`: no page in a browser gets here.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    routing::get,
};
use serde::Deserialize;

use super::{Answer, Refusal, bearer, types};
use crate::{finder::Finder, node::Node};

/// The route, which has a guard of its own.
pub(super) fn router(node: Arc<Node>) -> Router {
    Router::new().route("/v1/found", get(found)).with_state(node)
}

#[derive(Deserialize)]
struct Which {
    after: Option<String>,
}

async fn found(State(node): State<Arc<Node>>, headers: HeaderMap, Query(which): Query<Which>) -> Answer<types::Found> {
    let finder = Arc::clone(admitted(node.finders(), &headers)?);
    let after = which.after.as_deref().map_or(Some(0), read_cursor);
    let after =
        after.ok_or_else(|| Refusal::usage("`after` is what an earlier answer gave as `next`, or is left out"))?;
    let page = tokio::task::spawn_blocking(move || finder.page(after)).await.map_err(Refusal::internal)?;
    let page = page.map_err(Refusal::internal)?;
    Ok(Json(types::Found {
        transactions: page.transactions.iter().map(hex::encode).collect(),
        next: format!("{:016x}", page.next),
        more: page.more,
        missing: page.missing,
    }))
}

/// A cursor from its 16 hexadecimal digits.
pub(crate) fn read_cursor(text: &str) -> Option<u64> {
    let mut bytes = [0; 8];
    hex::decode_to_slice(text, &mut bytes).ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// Whose token the caller has. All are compared, each in constant time.
fn admitted<'a>(finders: &'a [Arc<Finder>], headers: &HeaderMap) -> Result<&'a Arc<Finder>, Refusal> {
    check_place(headers)?;
    let token = hex::decode(bearer(headers)).unwrap_or_default();
    let found = finders.iter().fold(None, |found, finder| if finder.admits(&token) { Some(finder) } else { found });
    found.ok_or_else(|| {
        let sentence = "this wants the token of a scan key file that the node finds for; run it with --find-for";
        Refusal(StatusCode::UNAUTHORIZED, sentence.to_owned())
    })
}

fn check_place(headers: &HeaderMap) -> Result<(), Refusal> {
    let refuse = |sentence: &str| Err(Refusal(StatusCode::FORBIDDEN, sentence.to_owned()));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_loopback(host) {
        return refuse("call the API by its loopback address");
    }
    if headers.contains_key(header::ORIGIN) {
        return refuse("pages of other sites may not call the API");
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let named = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
    matches!(named.map_or(host, |(name, _)| name), "127.0.0.1" | "localhost" | "[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_names_and_no_origin_get_to_the_token() {
        let headers = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
            pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
        };
        for host in ["127.0.0.1:80", "127.0.0.1", "localhost:9101", "localhost", "[::1]:7", "[::1]"] {
            assert!(check_place(&headers(&[("host", host)])).is_ok(), "{host}");
        }
        for host in
            ["", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1:99999", "localhost:", "::1", "127.0.0.2:1"]
        {
            assert!(check_place(&headers(&[("host", host)])).is_err(), "{host}");
        }
        assert!(check_place(&headers(&[])).is_err());
        assert!(check_place(&headers(&[("host", "localhost"), ("origin", "http://localhost")])).is_err());
        assert!(admitted(&[], &headers(&[("host", "localhost"), ("authorization", "Bearer ")])).is_err());
    }

    #[test]
    fn cursors_are_sixteen_digits() {
        assert_eq!(read_cursor("00000001000000ff"), Some(0x1_0000_00ff));
        assert!(["", "1", "0000000100000 ff", "00000001000000ff0"].iter().all(|text| read_cursor(text).is_none()));
    }
}
