//! Cases that a way of the data cannot carry, line by line.
//!
//! The list is `excused_cases.txt` beside this file. `quiver test promql --print-excuses` writes its lines by this rule: a case
//! is listed if it fails on the way, and a selector of its query matches a series that has something which the way loses
//! ([`Route::loses`]). A failure of any other case is a defect and cannot be listed. A listed case that passes is reported:
//! the list says what is so, not what was.
//!
//! | column | example |
//! |---|---|
//! | route | `http` |
//! | layouts, with commas | `single,replicas` |
//! | mode | `exact` |
//! | file, from the folder above `promqltest` on | `conformance/promqltest/staleness.test` |
//! | what is lost | `stale-markers` |
//! | lines | `14 33 51` |

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::path::Path;

use super::super::Layout;
use super::report::{Outcome, Report};
use super::route::{Route, Trait, Way};
use crate::model::EvaluationMode;

const LIST: &str = include_str!("excused_cases.txt");

/// Which cases are excused on one way.
#[derive(Clone, Debug, Default)]
pub struct Excuses(HashMap<(String, usize), Trait>);

impl Excuses {
    /// Those of the list for a way.
    ///
    /// # Errors
    /// A line of the list that cannot be read.
    pub fn of_way(way: Way) -> Result<Self, String> {
        Self::parse(LIST, way)
    }

    fn parse(list: &str, way: Way) -> Result<Self, String> {
        let mut known = HashMap::new();
        for (at, line) in list.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bad = |what: &str| format!("excused_cases.txt:{}: {what}", at + 1);
            let mut words = line.split(' ');
            let mut column = |name: &str| words.next().ok_or_else(|| bad(&format!("no {name}")));
            let (route, layouts) = (column("route")?, column("layouts")?);
            let mode = column("mode")?.parse::<EvaluationMode>().map_err(|error| bad(&error.to_string()))?;
            let (file, lost) = (column("file")?, column("trait")?);
            let route = Route::ALL.into_iter().find(|known| known.name() == route);
            let route = route.ok_or_else(|| bad("no such route"))?;
            let lost = Trait::ALL.into_iter().find(|known| known.name() == lost);
            let lost = lost.ok_or_else(|| bad("no such trait"))?;
            if layouts.split(',').any(|name| Layout::ALL.iter().all(|known| known.name() != name)) {
                return Err(bad("no such layout"));
            }
            let is_on_way =
                way.route == route && way.mode == mode && layouts.split(',').any(|name| name == way.layout.name());
            for line in words {
                let line = line.parse().map_err(|_| bad("a line is no number"))?;
                if is_on_way {
                    known.insert((file.to_owned(), line), lost);
                }
            }
        }
        Ok(Self(known))
    }

    /// Why the case on this line of a file is excused.
    pub fn of_case(&self, path: &str, line: usize) -> Option<Trait> {
        self.0.get(&(listed_name(path), line)).copied()
    }
}

/// A file's name in the list: from the folder above `promqltest` on; the name alone where there is no such folder.
fn listed_name(path: &str) -> String {
    let parts: Vec<_> = Path::new(path).iter().map(|part| part.to_string_lossy()).collect();
    let from = match parts.iter().rposition(|part| part == "promqltest") {
        Some(folder) => folder.saturating_sub(1),
        None => parts.len().saturating_sub(1),
    };
    parts[from..].join("/")
}

/// The lines of the list that a report makes, and those that its rule does not allow are left out.
pub fn excuse_lines(report: &Report, way: Way) -> String {
    let mut found = BTreeMap::<(String, Trait), BTreeSet<usize>>::new();
    for file in &report.files {
        for case in &file.cases {
            let (Outcome::Failed(failure) | Outcome::Excused(failure)) = &case.outcome else { continue };
            if let Some(lost) = failure.lost {
                found.entry((listed_name(&file.path), lost)).or_default().insert(case.line);
            }
        }
    }
    let mut text = String::new();
    for ((file, lost), lines) in found {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        // Writing to a String does not fail.
        let (route, layout, mode) = (way.route.name(), way.layout, way.mode);
        let _ = writeln!(text, "{route} {layout} {mode} {file} {} {}", lost.name(), lines.join(" "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read_for_every_way() {
        for route in Route::ALL {
            for layout in Layout::ALL {
                let excuses = Excuses::of_way(Way { layout, route, ..Way::default() }).expect("well-formed");
                let lossy = Trait::ALL.into_iter().any(|lost| route.loses(lost));
                assert!(lossy || excuses.0.is_empty(), "{route:?} loses nothing");
                assert!(excuses.0.values().all(|lost| route.loses(*lost)));
            }
        }
    }

    #[test]
    fn a_case_is_excused_on_its_way_only() {
        let list =
            "# route layouts mode file trait lines\nhttp single,holes exact a/promqltest/x.test histograms 3 17\n";
        let of = |route, layout| Excuses::parse(list, Way { layout, route, ..Way::default() }).expect("well-formed");
        let excuses = of(Route::Http, Layout::Holes);
        for (path, line, expected) in [
            ("../shared/a/promqltest/x.test", 3, Some(Trait::Histograms)),
            ("a/promqltest/x.test", 17, Some(Trait::Histograms)),
            ("a/promqltest/x.test", 4, None),
            ("b/promqltest/x.test", 3, None),
            ("x.test", 3, None),
        ] {
            assert_eq!(excuses.of_case(path, line), expected, "{path}:{line}");
        }
        assert_eq!(of(Route::Http, Layout::Replicas).of_case("a/promqltest/x.test", 3), None);
        assert_eq!(of(Route::RemoteRead, Layout::Single).of_case("a/promqltest/x.test", 3), None);
    }

    #[test]
    fn a_list_that_says_nonsense_is_refused() {
        for (list, error) in [
            ("http", "excused_cases.txt:1: no layouts"),
            (
                "http single maybe x histograms 1",
                "excused_cases.txt:1: \"maybe\" is not a mode, write exact, pushdown, trust or auto",
            ),
            ("\nnosuch single exact x histograms 1", "excused_cases.txt:2: no such route"),
            ("http single,nosuch exact x histograms 1", "excused_cases.txt:1: no such layout"),
            ("http single exact x nosuch 1", "excused_cases.txt:1: no such trait"),
            ("http single exact x histograms one", "excused_cases.txt:1: a line is no number"),
        ] {
            assert_eq!(Excuses::parse(list, Way::default()).map(drop), Err(error.to_owned()), "{list}");
        }
    }

    #[test]
    fn names_in_the_list_begin_above_the_folder_of_the_files() {
        for (path, name) in [
            ("../shared/conformance/promqltest/x.test", "conformance/promqltest/x.test"),
            ("tests/promqltest/gated/x.test", "tests/promqltest/gated/x.test"),
            ("promqltest/x.test", "promqltest/x.test"),
            ("/tmp/x.test", "x.test"),
        ] {
            assert_eq!(listed_name(path), name);
        }
    }
}
