//! Reads a merged config value by value, and says of every wrong one where it stands and what is wrong.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;
use std::time::Duration;

use config::{Value, ValueKind};

use super::duration::{parse_duration_ms, parse_duration_ns};
use super::known_keys::{KeyState, KeyTable};
use super::problem::{Place, Problem, Problems, quote};
use super::source::is_from_environment;
use super::yaml::{Entry, Node, NodeKind, Position};
use crate::model::DurationMs;

/// Most errors, and most warnings, that are kept: nobody reads more, and a hostile file could make very many.
const PROBLEMS_MAX: usize = 1000;

/// What places are named after.
#[derive(Debug)]
pub(super) struct Origin {
    /// The file, as it was named to us.
    pub(super) file: String,
    /// Environment variables by the path that they set.
    pub(super) variables: BTreeMap<String, String>,
}

/// One value: what it is after all layers, and where it stands in the file.
#[derive(Clone)]
pub(super) struct Item<'a> {
    value: &'a Value,
    node: Option<&'a Node>,
    key_position: Option<Position>,
    /// `promxy.server_groups[0].timeout`.
    path: String,
    /// The last step of the path as it is written.
    key: String,
    origin: &'a Origin,
}

impl<'a> Item<'a> {
    /// The whole config.
    pub(super) fn root(value: &'a Value, node: &'a Node, origin: &'a Origin) -> Self {
        Self { value, node: Some(node), key_position: None, path: String::new(), key: String::new(), origin }
    }

    /// The key of this value in its section.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Nothing, `~` or `null`: for most keys the same as leaving them out.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.value.kind, ValueKind::Nil)
    }

    fn place(&self) -> Place {
        if is_from_environment(self.value) {
            let variable = self.origin.variables.get(&self.path).cloned().unwrap_or_default();
            return Place::Environment { variable };
        }
        let own = self.node.filter(|node| matches!(node.kind, NodeKind::Scalar(_))).map(|node| node.position);
        // Sections begin in a later line than their key, and an empty value has no place at all: there the key is shown.
        let position = own.or(self.key_position).or(self.node.map(|node| node.position));
        Place::File { file: self.origin.file.clone(), position }
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem { place: self.place(), path: self.path.clone(), message: message.into() }
    }

    /// Records that this value is wrong.
    pub(super) fn error(&self, problems: &mut Problems, message: impl Into<String>) {
        if problems.errors.len() < PROBLEMS_MAX {
            problems.errors.push(self.problem(message));
        }
    }

    /// Records that this value is odd.
    pub(super) fn warn(&self, problems: &mut Problems, message: impl Into<String>) {
        if problems.warnings.len() < PROBLEMS_MAX {
            problems.warnings.push(self.problem(message));
        }
    }

    /// The text, exactly as it is written.
    pub(super) fn text(&self, problems: &mut Problems) -> Option<String> {
        self.scalar("a text", problems)
    }

    fn scalar(&self, expected: &str, problems: &mut Problems) -> Option<String> {
        match &self.value.kind {
            ValueKind::String(text) => Some(text.clone()),
            kind => {
                self.error(problems, format!("expected {expected}, found {}", shape(kind)));
                None
            }
        }
    }

    /// `true` or `false`, in the spellings of YAML 1.1.
    pub(super) fn truth(&self, problems: &mut Problems) -> Option<bool> {
        let text = self.scalar("true or false", problems)?;
        match text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => Some(false),
            _ => {
                self.error(problems, format!("{} is neither true nor false", quote(&text)));
                None
            }
        }
    }

    /// A whole number from zero up.
    pub(super) fn count(&self, problems: &mut Problems) -> Option<usize> {
        let text = self.scalar("a whole number", problems)?;
        let parsed = text.parse::<usize>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        if parsed.is_none() {
            self.error(problems, format!("{} is not a whole number from 0 up", quote(&text)));
        }
        parsed
    }

    /// A length of time in whole milliseconds, from zero up.
    pub(super) fn duration_ms(&self, problems: &mut Problems) -> Option<DurationMs> {
        let text = self.scalar("a duration", problems)?;
        parse_duration_ms(&text).map_err(|message| self.error(problems, message)).ok()
    }

    /// A length of time from zero up.
    pub(super) fn duration(&self, problems: &mut Problems) -> Option<Duration> {
        let text = self.scalar("a duration", problems)?;
        match parse_duration_ns(&text).map(u64::try_from) {
            Ok(Ok(ns)) => Some(Duration::from_nanos(ns)),
            Ok(Err(_)) => {
                self.error(problems, format!("{} is negative", quote(&text)));
                None
            }
            Err(message) => {
                self.error(problems, message);
                None
            }
        }
    }

    /// The items of a list; null is the empty list.
    pub(super) fn items(&self, problems: &mut Problems) -> Vec<Item<'a>> {
        match &self.value.kind {
            ValueKind::Nil => Vec::new(),
            ValueKind::Array(values) => values
                .iter()
                .enumerate()
                .map(|(index, value)| Item {
                    value,
                    node: self.node.and_then(|node| node.item(index)),
                    key_position: None,
                    path: format!("{}[{index}]", self.path),
                    key: String::new(),
                    origin: self.origin,
                })
                .collect(),
            kind => {
                self.error(problems, format!("expected a list, found {}", shape(kind)));
                Vec::new()
            }
        }
    }

    /// The pairs of a mapping in the order of the file, those of the environment last; null is the empty mapping.
    pub(super) fn entries(&self, problems: &mut Problems) -> Vec<Item<'a>> {
        let table = match (&self.value.kind, self.node.map(|node| &node.kind)) {
            (ValueKind::Nil, _) => return Vec::new(),
            (ValueKind::Table(table), None | Some(NodeKind::Map(_) | NodeKind::Null)) => table,
            (kind, node) => {
                let found = node.map_or_else(|| shape(kind), node_shape);
                self.error(problems, format!("expected a section of keys, found {found}"));
                return Vec::new();
            }
        };
        let own = match self.node {
            Some(Node { kind: NodeKind::Map(own), .. }) => own.as_slice(),
            _ => &[],
        };
        let known: HashSet<&str> = own.iter().map(|entry| entry.key.as_str()).collect();
        let mut added: Vec<&str> = table.keys().map(String::as_str).filter(|key| !known.contains(key)).collect();
        added.sort_unstable();
        let of_file = own.iter().map(|entry| self.entry(table, &entry.key, Some(entry)));
        of_file.chain(added.into_iter().map(|key| self.entry(table, key, None))).collect()
    }

    fn entry(&self, table: &'a config::Map<String, Value>, key: &str, entry: Option<&'a Entry>) -> Item<'a> {
        // Only an odd top-level key is in the file but not in the table: see `source`.
        static ABSENT: LazyLock<Value> = LazyLock::new(|| Value::new(None, ValueKind::Nil));
        Item {
            value: table.get(key).unwrap_or(&ABSENT),
            node: entry.map(|entry| &entry.value),
            key_position: entry.map(|entry| entry.position),
            path: join_path(&self.path, key),
            key: key.to_owned(),
            origin: self.origin,
        }
    }

    /// Does this value of a key that is not built ask for nothing: off, empty, zero?
    fn asks_for_nothing(&self) -> bool {
        is_off(self.value)
    }
}

/// A key is quoted where it would not read as one word.
fn join_path(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let key = if plain && key.len() <= 64 { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn is_off(value: &Value) -> bool {
    match &value.kind {
        ValueKind::Nil => true,
        ValueKind::String(text) => {
            matches!(text.to_ascii_lowercase().as_str(), "" | "false" | "no" | "off" | "n" | "0" | "0s")
        }
        ValueKind::Table(table) => table.values().all(is_off),
        ValueKind::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn shape(kind: &ValueKind) -> &'static str {
    match kind {
        ValueKind::Nil => "nothing",
        ValueKind::Table(_) => "a section of keys",
        ValueKind::Array(_) => "a list",
        _ => "a text",
    }
}

fn node_shape(kind: &NodeKind) -> &'static str {
    match kind {
        NodeKind::Null => "nothing",
        NodeKind::Scalar(_) => "a text",
        NodeKind::List(_) => "a list",
        NodeKind::Map(_) => "a section of keys",
    }
}

/// A section with the keys of its table; null keys count as absent.
pub(super) struct Section<'a> {
    entries: Vec<Item<'a>>,
}

impl<'a> Section<'a> {
    /// Opens a section: everything in it that is not in the table is reported here, so that nobody reads it by mistake.
    /// `elsewhere` are tables in which an unknown key may belong.
    pub(super) fn open(
        item: &Item<'a>,
        table: &'static KeyTable,
        elsewhere: &[&'static KeyTable],
        problems: &mut Problems,
    ) -> Self {
        let mut entries = item.entries(problems);
        entries.retain(|entry| match table.state(entry.key()) {
            Some(KeyState::Known) => !entry.is_null(),
            Some(KeyState::NotBuilt(instead)) => {
                if !entry.asks_for_nothing() {
                    entry.at_key().error(problems, not_built(instead));
                }
                false
            }
            Some(KeyState::Inert(why)) => {
                if !entry.is_null() {
                    entry.at_key().warn(problems, format!("has no effect: {why}"));
                }
                false
            }
            None => {
                // Finding the key that was meant costs time, so not for what nobody will see.
                if problems.errors.len() < PROBLEMS_MAX {
                    entry.at_key().error(problems, unknown_key(entry.key(), table, elsewhere));
                }
                false
            }
        });
        Self { entries }
    }

    /// The value of a key, if it is there.
    pub(super) fn get(&self, key: &str) -> Option<&Item<'a>> {
        self.entries.iter().find(|entry| entry.key() == key)
    }
}

impl Item<'_> {
    /// The same, placed at its key: what is wrong is the key, not the value.
    fn at_key(&self) -> Self {
        let mut item = self.clone();
        if self.key_position.is_some() {
            item.node = None;
        }
        item
    }
}

/// The text for a key that is not built yet.
fn not_built(instead: &str) -> String {
    let comma = if instead.is_empty() { "" } else { ", " };
    format!("is not built yet in this version of Quiver{comma}{instead}")
}

fn unknown_key(key: &str, table: &KeyTable, elsewhere: &[&'static KeyTable]) -> String {
    if let Some(other) = elsewhere.iter().find(|other| other.state(key).is_some()) {
        return format!("is not a key of this section, it belongs under {}", other.title);
    }
    match table.nearest(key) {
        Some(nearest) => format!("unknown key, did you mean {nearest:?}?"),
        None => {
            let known: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
            format!("unknown key, known here: {}", known.join(", "))
        }
    }
}
