//! Questions on their way to the servers.

use super::label_origins::Origin;
use super::reverse_matcher::{Reversed, reverse_matcher};
use super::{LabelOrigins, Rewrites};
use crate::error::Error;
use crate::model::{CompiledMatchers, Labels, MatchOp, Matcher, MetadataRequest};

/// A selector as the servers are asked for it.
#[derive(Clone, Debug)]
pub(in super::super) struct Route {
    /// Never empty, and never without a matcher that the empty text fails: servers refuse such selectors.
    pub matchers: Vec<Matcher>,
    /// May the servers answer more series than were asked for?
    pub is_wider: bool,
    /// What the answer must match after its rewriting; `None` where what was asked for is all that can come.
    pub recheck: Option<CompiledMatchers>,
}

/// A question about series as the servers are asked it.
#[derive(Clone, Debug)]
pub(in super::super) struct RoutedMetadata {
    /// The question.
    pub request: MetadataRequest,
    /// May the servers know more series than were asked for? Then names and values have to be found by asking for series.
    pub is_wider: bool,
    /// Series of the answer match one of these after their rewriting; `None`: all of them do.
    pub recheck: Option<Vec<CompiledMatchers>>,
}

/// How the values of a label are found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in super::super) enum AskedValues {
    /// There are none.
    None,
    /// This one, if there is any series.
    Fixed(String),
    /// Those of a stored label; each is to go through [`Rewrites::rewrite_value`].
    Of(String),
}

impl Rewrites {
    /// What is left to ask for. `None`: no series can match.
    pub(in super::super) fn route(&self, matchers: &[Matcher]) -> Result<Option<Route>, Error> {
        let Some(mut asked) = self.reverse(matchers)? else { return Ok(None) };
        self.inject(&mut asked.matchers);
        if !selects_something(&asked.matchers)? {
            asked.matchers.push(Matcher::new("__name__", MatchOp::Regex, ".+"));
        }
        let recheck = self.has_rules.then(|| compile(matchers)).transpose()?;
        Ok(Some(Route { matchers: asked.matchers, is_wider: asked.is_wider, recheck }))
    }

    /// The same for a question about series: each selector is routed on its own. `None`: none of them can match.
    pub(in super::super) fn route_metadata(&self, request: &MetadataRequest) -> Result<Option<RoutedMetadata>, Error> {
        let (mut selectors, mut recheck) = (Vec::new(), Vec::new());
        let (mut is_everything, mut is_wider) = (request.selectors.is_empty(), false);
        for matchers in &request.selectors {
            let Some(asked) = self.reverse(matchers)? else { continue };
            // All that was asked is answered here: any series will do.
            is_everything |= asked.matchers.is_empty() && !asked.is_wider;
            let Some(route) = self.route(matchers)? else { continue };
            is_wider |= route.is_wider;
            selectors.push(route.matchers);
            recheck.extend(route.recheck);
        }
        if is_everything {
            // No selector at all asks for everything, without a look at a single label.
            selectors = if self.injected.is_empty() {
                Vec::new()
            } else {
                self.route(&[])?.map(|all| all.matchers).into_iter().collect()
            };
            (recheck, is_wider) = (Vec::new(), false);
        } else if selectors.is_empty() {
            return Ok(None);
        }
        // The first few stored ones need not become the first few of the answer.
        let limit = request.limit.filter(|_| !self.has_rules);
        let request = MetadataRequest { selectors, limit, ..request.clone() };
        let recheck = (!recheck.is_empty()).then_some(recheck);
        Ok(Some(RoutedMetadata { request, is_wider, recheck }))
    }

    /// How the values of a label of the answer are found.
    pub(in super::super) fn route_values(&self, name: &str) -> AskedValues {
        match self.origins.of(name) {
            Origin::Fixed(value) if value.is_empty() => AskedValues::None,
            Origin::Fixed(value) => AskedValues::Fixed(value),
            Origin::Stored(stored) => AskedValues::Of(stored.name),
        }
    }

    /// What a stored value, found by [`Rewrites::route_values`], becomes as a value of the label `name`.
    pub(in super::super) fn rewrite_value(&self, name: &str, value: String) -> String {
        match self.origins.of(name) {
            Origin::Stored(stored) if !stored.cases.is_empty() => stored.change(&value),
            _ => value,
        }
    }

    /// The label names of the answer, of those that the stored series have: in any order, each once. Without a stored name
    /// there is no series.
    pub(in super::super) fn rewrite_names(&self, stored: Vec<String>) -> Vec<String> {
        if stored.is_empty() {
            return stored;
        }
        let is_there = |(name, origin): (&str, &Origin)| {
            let is_there = match origin {
                Origin::Fixed(value) => !value.is_empty(),
                Origin::Stored(source) => stored.contains(&source.name),
            };
            is_there.then(|| name.to_owned())
        };
        let written: Vec<String> = self.origins.iter().filter_map(is_there).collect();
        let is_overwritten = |name: &String| self.origins.iter().any(|(own, _)| own == name.as_str());
        stored.into_iter().filter(|name| !is_overwritten(name)).chain(written).collect()
    }

    /// A label set of the answer.
    pub(in super::super) fn rewrite_labels(&self, stored: &Labels) -> Labels {
        self.origins.apply(stored)
    }

    /// The selectors that the servers are asked for, of a question that names none; empty: everything.
    pub(super) fn inject(&self, matchers: &mut Vec<Matcher>) {
        for injected in &*self.injected {
            if !matchers.contains(injected) {
                matchers.push(injected.clone());
            }
        }
    }

    /// Matchers on stored labels. `None`: no series can match.
    fn reverse(&self, matchers: &[Matcher]) -> Result<Option<AskedMatchers>, Error> {
        let mut asked = AskedMatchers { matchers: Vec::with_capacity(matchers.len()), is_wider: false };
        for matcher in matchers {
            match reverse_matcher(matcher, &LabelOrigins::of(&self.origins, &matcher.name))? {
                Reversed::Always => {}
                Reversed::Never => return Ok(None),
                Reversed::Matcher(matcher) => asked.matchers.push(matcher),
                Reversed::Unknown => asked.is_wider = true,
            }
        }
        Ok(Some(asked))
    }
}

struct AskedMatchers {
    matchers: Vec<Matcher>,
    is_wider: bool,
}

fn compile(matchers: &[Matcher]) -> Result<CompiledMatchers, Error> {
    CompiledMatchers::compile(matchers).map_err(|error| Error::bad_data(error.to_string()))
}

fn selects_something(matchers: &[Matcher]) -> Result<bool, Error> {
    Ok(compile(matchers)?.iter().any(|matcher| !matcher.matches("")))
}

#[cfg(test)]
mod tests {
    use super::super::tests::rewrites;
    use super::*;

    fn everything() -> Matcher {
        Matcher::new("__name__", MatchOp::Regex, ".+")
    }

    fn up() -> Matcher {
        Matcher::equal("__name__", "up")
    }

    fn routed(rewrites: &Rewrites, matchers: &[Matcher]) -> Option<Vec<Matcher>> {
        rewrites.route(matchers).expect("good patterns").map(|route| route.matchers)
    }

    #[test]
    fn matchers_on_added_labels_are_decided_here() {
        let eu = rewrites("sg=eu", "", &[]);
        let sg = |op, value: &str| Matcher::new("sg", op, value);
        for (matchers, rest) in [
            (vec![up()], Some(vec![up()])),
            (vec![up(), sg(MatchOp::Equal, "eu")], Some(vec![up()])),
            (vec![up(), sg(MatchOp::Equal, "us")], None),
            (vec![up(), sg(MatchOp::NotEqual, "eu")], None),
            (vec![up(), sg(MatchOp::Regex, "e.|us")], Some(vec![up()])),
            (vec![up(), sg(MatchOp::NotRegex, "e.")], None),
            (vec![up(), sg(MatchOp::Equal, "")], None),
            (vec![sg(MatchOp::Equal, "eu")], Some(vec![everything()])),
            // What is left matches series without the label too, and servers refuse to select everything so.
            (
                vec![sg(MatchOp::Equal, "eu"), Matcher::new("job", MatchOp::Regex, ".*")],
                Some(vec![Matcher::new("job", MatchOp::Regex, ".*"), everything()]),
            ),
        ] {
            assert_eq!(routed(&eu, &matchers), rest, "{matchers:?}");
            assert!(eu.route(&matchers).expect("good").is_none_or(|route| !route.is_wider && route.recheck.is_none()));
        }
    }

    #[test]
    fn rules_are_turned_round_before_added_labels_are_looked_at() {
        let own = rewrites("shard=s1", "replace shard part, labeldrop shard, replace dc zone, labeldrop replica", &[]);
        let matcher = Matcher::new;
        for (matchers, rest) in [
            (vec![up(), matcher("part", MatchOp::Regex, "s1|s2")], Some(vec![up()])),
            (vec![up(), matcher("part", MatchOp::Regex, "s2|s3")], None),
            (vec![up(), matcher("shard", MatchOp::Regex, "s1|s2")], None),
            (vec![up(), matcher("shard", MatchOp::Equal, "")], Some(vec![up()])),
            (
                vec![up(), matcher("zone", MatchOp::NotRegex, "a|b")],
                Some(vec![up(), matcher("dc", MatchOp::NotRegex, "a|b")]),
            ),
            (vec![up(), matcher("dc", MatchOp::Equal, "a")], Some(vec![up(), matcher("dc", MatchOp::Equal, "a")])),
            (vec![up(), matcher("replica", MatchOp::Equal, "a")], None),
            (vec![up(), matcher("replica", MatchOp::NotRegex, ".+")], Some(vec![up()])),
        ] {
            assert_eq!(routed(&own, &matchers), rest, "{matchers:?}");
        }
        let wider = rewrites("", "lowercase a b", &[]);
        let route = wider.route(&[up(), matcher("b", MatchOp::Regex, "[^A]")]).expect("good").expect("may match");
        assert_eq!((route.matchers, route.is_wider), (vec![up()], true));
        let recheck = route.recheck.expect("there are rules");
        let matches = |labels: [(&str, &str); 2]| recheck.match_labels(Labels::from_pairs(labels).encode().as_ref());
        assert!(matches([("__name__", "up"), ("b", "x")]) && !matches([("__name__", "up"), ("b", "A")]));
    }

    #[test]
    fn matchers_are_injected_once_and_last() {
        let (tenant, dev) = (Matcher::equal("tenant", "a"), Matcher::new("env", MatchOp::NotEqual, "dev"));
        let own = rewrites("sg=eu tenant=x", "", &[tenant.clone(), dev.clone()]);
        for (matchers, rest) in [
            (vec![up()], vec![up(), tenant.clone(), dev.clone()]),
            (vec![up(), dev.clone()], vec![up(), dev.clone(), tenant.clone()]),
            // It is about the stored label, not about the added one of the same name.
            (vec![Matcher::equal("tenant", "x")], vec![tenant.clone(), dev.clone()]),
        ] {
            assert_eq!(routed(&own, &matchers), Some(rest), "{matchers:?}");
        }
        let weak = rewrites("sg=eu", "", std::slice::from_ref(&dev));
        assert_eq!(routed(&weak, &[Matcher::equal("sg", "eu")]), Some(vec![dev, everything()]));
    }

    fn request(selectors: Vec<Vec<Matcher>>) -> MetadataRequest {
        MetadataRequest { selectors, start: None, end: None, limit: Some(3) }
    }

    #[test]
    fn selectors_of_metadata_are_routed_one_by_one() {
        let eu = rewrites("sg=eu", "", &[]);
        let (in_eu, in_us) = (Matcher::equal("sg", "eu"), Matcher::equal("sg", "us"));
        for (selectors, expected) in [
            (vec![], Some(vec![])),
            (vec![vec![up()]], Some(vec![vec![up()]])),
            (vec![vec![up(), in_us.clone()], vec![up(), in_eu.clone()]], Some(vec![vec![up()]])),
            (vec![vec![up()], vec![in_eu.clone()]], Some(vec![])),
            (vec![vec![in_us.clone()]], None),
        ] {
            let routed = eu.route_metadata(&request(selectors.clone())).expect("good patterns");
            assert_eq!(routed.as_ref().map(|routed| routed.request.clone()), expected.map(request), "{selectors:?}");
            assert!(routed.is_none_or(|routed| !routed.is_wider && routed.recheck.is_none()));
        }
    }

    #[test]
    fn metadata_of_everything_is_asked_with_the_injected_matchers() {
        let (tenant, in_eu) = (Matcher::equal("tenant", "a"), Matcher::equal("sg", "eu"));
        let own = rewrites("sg=eu", "", std::slice::from_ref(&tenant));
        for (selectors, expected) in [
            (vec![], vec![vec![tenant.clone()]]),
            (vec![vec![up()]], vec![vec![up(), tenant.clone()]]),
            (vec![vec![up()], vec![in_eu]], vec![vec![tenant.clone()]]),
        ] {
            let routed = own.route_metadata(&request(selectors.clone())).expect("good patterns").expect("may match");
            assert_eq!(routed.request.selectors, expected, "{selectors:?}");
        }
    }

    #[test]
    fn metadata_through_rules_is_asked_without_limit_and_checked_again() {
        let own = rewrites("", "lowercase a b, labeldrop c", &[]);
        let routed = |selectors| own.route_metadata(&request(selectors)).expect("good patterns");
        let exact = routed(vec![vec![Matcher::equal("b", "x")], vec![Matcher::equal("c", "x")]]).expect("may match");
        assert_eq!(exact.request.selectors, [vec![Matcher::new("a", MatchOp::Regex, "[Xx]")]]);
        assert_eq!((exact.is_wider, exact.request.limit, exact.recheck.map(|all| all.len())), (false, None, Some(1)));
        let wider = routed(vec![vec![Matcher::new("b", MatchOp::Regex, "[^A]")]]).expect("may match");
        assert_eq!((wider.request.selectors, wider.is_wider), (vec![vec![everything()]], true));
        assert!(routed(vec![vec![Matcher::equal("c", "x")]]).is_none());
    }

    #[test]
    fn names_and_values_follow_the_labels() {
        let names = |added: &str, rules: &str, stored: &[&str]| {
            let mut names =
                rewrites(added, rules, &[]).rewrite_names(stored.iter().map(|name| (*name).to_owned()).collect());
            names.sort();
            names.join(" ")
        };
        for (added, rules, stored, expected) in [
            ("sg=eu", "", &["__name__", "a"][..], "__name__ a sg"),
            ("sg=eu", "", &["__name__", "sg"], "__name__ sg"),
            ("sg=eu", "", &[], ""),
            ("", "replace a b", &["a"], "a b"),
            ("", "replace a b", &["b", "x"], "x"),
            ("", "replace a b, labeldrop a", &["a", "b"], "b"),
            ("", "labeldrop a", &["a", "b"], "b"),
            ("sg=eu", "lowercase sg cluster, labeldrop sg", &["a", "sg"], "a cluster"),
        ] {
            assert_eq!(names(added, rules, stored), expected, "{rules} {stored:?}");
        }
        let own = rewrites("sg=eu", "replace a b, lowercase a c, labeldrop a", &[]);
        for (name, asked, value) in [
            ("sg", AskedValues::Fixed("eu".to_owned()), "X"),
            ("a", AskedValues::None, "X"),
            ("b", AskedValues::Of("a".to_owned()), "X"),
            ("c", AskedValues::Of("a".to_owned()), "x"),
            ("d", AskedValues::Of("d".to_owned()), "X"),
        ] {
            assert_eq!(own.route_values(name), asked, "{name}");
            assert_eq!(own.rewrite_value(name, "X".to_owned()), value, "{name}");
        }
    }
}
