//! Which gateways a question has passed: how a gateway that asks itself finds out.
//!
//! Every request of a gateway carries the header [`PATH_HEADER`]: the ids of the gateways that the question has passed, the
//! asking one last. A gateway that finds its own id there refuses, and says with [`LOOP_HEADER`] that it is a loop and no
//! failure of a server.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use crate::error::{Error, ErrorKind};

/// Name of the header, and of the key in gRPC metadata.
pub const PATH_HEADER: &str = "quiver-via";
/// Name of the header of refusals that are loops; its value is `1`.
pub const LOOP_HEADER: &str = "quiver-loop";
/// More gateways one behind the other are taken for a loop in which somebody drops ids. Nobody stacks more than three.
const GATEWAYS_MAX: usize = 16;
/// An id is at most so long.
const ID_BYTES_MAX: usize = 64;

/// The name of one running gateway: random, so that it needs no configuration and no two share it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GatewayId(Arc<str>);

impl GatewayId {
    /// A new one, of 64 random bits.
    pub fn random() -> Self {
        // Each state has keys of its own, which come from the operating system.
        Self(format!("{:016x}", RandomState::new().hash_one(0)).into())
    }

    /// An id that somebody told; `None` where it could not stand in [`PATH_HEADER`].
    pub fn from_text(text: &str) -> Option<Self> {
        let is_fit = (1..=ID_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        is_fit.then(|| Self(text.into()))
    }

    /// As it stands in [`PATH_HEADER`].
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a request of this gateway carries whose client's request carried `values` in [`PATH_HEADER`].
    pub fn path_after<'v>(&self, values: impl Iterator<Item = &'v str>) -> String {
        let mut path: Vec<&str> = ids_of(values).take(GATEWAYS_MAX).collect();
        path.push(self.as_str());
        path.join(", ")
    }

    /// Refuses a request that has passed this gateway already, or too many, by the `values` of its [`PATH_HEADER`].
    pub fn check_path<'v>(&self, values: impl Iterator<Item = &'v str>) -> Result<(), Error> {
        let path: Vec<&str> = ids_of(values).take(GATEWAYS_MAX + 1).collect();
        if let Some(odd) = path.iter().find(|id| Self::from_text(id).is_none()) {
            let odd: String = odd.chars().take(ID_BYTES_MAX).collect();
            return Err(Error::bad_data(format!("header {PATH_HEADER}: {odd:?} is not the id of a gateway")));
        }
        let problem = if path.contains(&self.as_str()) {
            "this gateway asks itself: take its own address out of server_groups, here or in a gateway that it asks"
        } else if path.len() > GATEWAYS_MAX {
            "the question has passed too many gateways, at most 16 may stand one behind the other: look for a loop in their \
             server_groups"
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Loop,
            format!("{problem}; it came by way of gateways {}, to {self}", path.join(", ")),
        ))
    }
}

impl fmt::Display for GatewayId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn ids_of<'v>(values: impl Iterator<Item = &'v str>) -> impl Iterator<Item = &'v str> {
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> GatewayId {
        GatewayId::from_text(text).expect("fit")
    }

    #[test]
    fn no_two_gateways_share_an_id() {
        let ids: std::collections::BTreeSet<String> = (0..1_000).map(|_| GatewayId::random().to_string()).collect();
        assert_eq!(ids.len(), 1_000);
        assert!(ids.iter().all(|id| GatewayId::from_text(id).is_some()));
    }

    #[test]
    fn each_gateway_adds_itself_behind_the_others() {
        for (values, expected) in
            [(vec![], "c"), (vec!["a"], "a, c"), (vec!["a,b", " d "], "a, b, d, c"), (vec![" , "], "c")]
        {
            assert_eq!(id("c").path_after(values.into_iter()), expected);
        }
        // However long it was, it does not grow without end.
        let long = vec!["a"; 1_000].join(",");
        assert_eq!(id("c").path_after([long.as_str()].into_iter()).split(", ").count(), GATEWAYS_MAX + 1);
    }

    #[test]
    fn a_path_with_the_own_id_is_a_loop_and_so_is_a_long_one() {
        let hops = |count: usize| (0..count).map(|hop| format!("g{hop}")).collect::<Vec<_>>().join(",");
        for (path, refused) in [
            (String::new(), None),
            ("a, b".to_owned(), None),
            ("me".to_owned(), Some((ErrorKind::Loop, "this gateway asks itself: "))),
            ("a,me,b".to_owned(), Some((ErrorKind::Loop, "this gateway asks itself: "))),
            (hops(16), None),
            (hops(17), Some((ErrorKind::Loop, "the question has passed too many gateways"))),
            (hops(100_000), Some((ErrorKind::Loop, "the question has passed too many gateways"))),
            ("a b".to_owned(), Some((ErrorKind::BadData, "header quiver-via: \"a b\" is not the id of a gateway"))),
            ("é".repeat(99), Some((ErrorKind::BadData, "header quiver-via: \"éé"))),
        ] {
            let checked = id("me").check_path([path.as_str()].into_iter());
            let error = checked.as_ref().err().map(|error| (error.kind(), error.message()));
            assert_eq!(error.map(|(kind, _)| kind), refused.map(|(kind, _)| kind), "{path:.50}");
            let begins = |text: &str| refused.is_some_and(|(_, begin)| text.starts_with(begin));
            assert!(error.is_none_or(|(_, text)| begins(text) && text.len() < 1_500), "{error:?}");
        }
    }

    #[test]
    fn a_loop_names_its_gateways() {
        let error = id("me").check_path(["me, b"].into_iter()).expect_err("a loop");
        let expected = "this gateway asks itself: take its own address out of server_groups, here or in a gateway that it asks; \
                        it came by way of gateways me, b, to me";
        assert_eq!(error.message(), expected);
    }
}
