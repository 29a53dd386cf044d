//! Which requests are gRPC calls, where both kinds come to one port.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use axum::response::Response;
use tower::{ServiceExt, service_fn};

/// Sends gRPC calls to `grpc` and all other requests to `http`. Each keeps its own layers: a call is never compressed as a page
/// is, and never counted twice.
pub(super) fn by_content_type(http: Router, grpc: Router) -> Router {
    Router::new().fallback_service(service_fn(move |request: Request| {
        let router = if is_grpc(request.headers()) { grpc.clone() } else { http.clone() };
        async move { router.oneshot(request).await.map(|response: Response| response) }
    }))
}

/// Is it `application/grpc`, alone or with `+proto` or the like? gRPC-Web is another protocol.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    let Some((name, rest)) = content_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    name.eq_ignore_ascii_case(GRPC) && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

const GRPC: &[u8] = b"application/grpc";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (content_type, is_call) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC; charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("application/grp", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().expect("a header"));
            assert_eq!(is_grpc(&headers), is_call, "{content_type:?}");
        }
        assert!(!is_grpc(&HeaderMap::new()));
    }
}
