//! The handshake by which drivers trade a name and a password for a token.

use arrow_flight::HandshakeResponse;
use futures::stream::{self, StreamExt};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Response, Status};

use crate::serve::grpc::answer::Answer;

/// What drivers send from then on. It says nothing, as nobody asks who they are.
const TOKEN: &str = "quiver";

/// Answers a handshake: the token, as a message for clients that read messages and as a header for those that read headers.
pub(super) fn shake_hands(metadata: &MetadataMap) -> Result<Response<Answer<HandshakeResponse>>, Status> {
    let token = admit(metadata)?;
    let greeting = HandshakeResponse { protocol_version: 0, payload: token.into() };
    let mut response = Response::new(stream::iter([Ok(greeting)]).boxed());
    let bearer = MetadataValue::try_from(format!("Bearer {token}"));
    let bearer = bearer.map_err(|_| Status::internal("the token is no header value"))?;
    response.metadata_mut().insert("authorization", bearer);
    Ok(response)
}

/// Who may come in: everybody, whatever `authorization` says, for Quiver knows no users. This is the place that will check it.
fn admit(_metadata: &MetadataMap) -> Result<&'static str, Status> {
    Ok(TOKEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_token() {
        for authorization in [None, Some("Basic YTpi"), Some("Bearer whatever")] {
            let mut metadata = MetadataMap::new();
            if let Some(text) = authorization {
                metadata.insert("authorization", text.parse().expect("a header value"));
            }
            let response = shake_hands(&metadata).expect("everybody");
            assert_eq!(response.metadata().get("authorization").expect("a token"), "Bearer quiver");
        }
    }
}
