//! YAML text to a tree that keeps every scalar as it is written, and where everything stands.
//!
//! A YAML reader that resolves types first turns `version: 1.10` into 1.1 and `zone: 007` into 7 before anybody has
//! asked for a text. Here a scalar is its text; who reads it decides what it means.

use std::collections::HashMap;
use std::fmt;

use granit_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};

/// Longest config file: a list of ten thousand targets is below one MiB.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most values in a file after its aliases are put in place. Stops "billion laughs" files.
const NODES_MAX: usize = 250_000;

/// Deepest nesting after aliases are put in place; the config has eight levels.
const DEPTH_MAX: usize = 32;

/// A place in the file, both counted from one; columns count characters.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Position {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is not a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct YamlError {
    /// Where.
    pub position: Position,
    /// What is wrong. Holds nothing of the file's text but keys: it may stand beside a secret.
    pub message: String,
}

/// One value and where it begins. Prints without its texts, which may be secrets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// First character of the value; of an empty value, the end of its key.
    pub position: Position,
    /// What it is.
    pub kind: NodeKind,
}

/// The shapes of YAML.
#[derive(Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// Nothing, `~` or `null`, unquoted.
    Null,
    /// Any other scalar: its text after quotes and escapes are taken off, and nothing else is.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file. Keys are unique; `<<` has been merged in.
    Map(Vec<Entry>),
}

impl fmt::Debug for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("Null"),
            Self::Scalar(_) => f.write_str("Scalar(<secret>)"),
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Map(entries) => f.debug_list().entries(entries).finish(),
        }
    }
}

impl Node {
    /// The item of a list at this index.
    pub fn item(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            NodeKind::List(items) => items.get(index),
            _ => None,
        }
    }
}

/// One pair of a mapping.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub position: Position,
    /// Its value.
    pub value: Node,
}

/// Reads one document. No document, or an empty one, is `Null`.
pub fn read_yaml(text: &str) -> Result<Node, YamlError> {
    if text.len() > FILE_BYTES_MAX {
        return fail(START, format!("the file has {} bytes, the limit is {FILE_BYTES_MAX}", text.len()));
    }
    let options = granit_parser::options! { flow_nesting_limit: DEPTH_MAX, block_nesting_limit: DEPTH_MAX };
    let mut reader =
        TreeReader { events: Parser::new_from_str_with_options(text, options), anchors: HashMap::new(), node_count: 0 };
    reader.read_document()
}

const START: Position = Position { line: 1, column: 1 };

fn fail<T>(position: Position, message: impl Into<String>) -> Result<T, YamlError> {
    Err(YamlError { position, message: message.into() })
}

struct TreeReader<'a> {
    events: Parser<'a, StrInput<'a>>,
    /// Finished anchored values, and how many nodes each holds and how deep it goes.
    anchors: HashMap<usize, (Node, Extent)>,
    node_count: usize,
}

#[derive(Copy, Clone)]
struct Extent {
    nodes: usize,
    depth: usize,
}

impl<'a> TreeReader<'a> {
    fn read_document(&mut self) -> Result<Node, YamlError> {
        let mut root = None;
        loop {
            let (event, position) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return fail(position, "a second YAML document begins here, only one is read");
                }
                Event::DocumentStart(..) => {
                    let (event, position) = self.next()?;
                    root = Some(self.read_node(event, position, 0)?);
                }
                Event::StreamEnd => return Ok(root.unwrap_or(Node { position: START, kind: NodeKind::Null })),
                _ => return fail(position, "invalid YAML: a value outside of a document"),
            }
        }
    }

    /// The next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'a>, Position), YamlError> {
        loop {
            match self.events.next_event() {
                Some(Ok((event, span))) if is_structure(&event) => return Ok((event, position_of(&span))),
                Some(Ok(_)) => {}
                Some(Err(error)) => {
                    let marker = error.marker();
                    let position = Position { line: marker.line().max(1), column: marker.col() + 1 };
                    return fail(position, format!("invalid YAML: {}", error.info()));
                }
                None => return fail(START, "invalid YAML: the text ends too early"),
            }
        }
    }

    /// The value that begins with `event`. The recursion is bounded by `DEPTH_MAX`.
    fn read_node(&mut self, event: Event<'a>, position: Position, depth: usize) -> Result<Node, YamlError> {
        self.count_nodes(1, position)?;
        if depth >= DEPTH_MAX {
            return fail(position, format!("nested deeper than {DEPTH_MAX} levels"));
        }
        let nodes_before = self.node_count;
        let (anchor, kind) = match event {
            Event::Alias(anchor) => return self.read_alias(anchor, position, depth),
            Event::Scalar(text, style, anchor, tag) => (anchor, read_scalar(&text, style, tag.as_deref(), position)?),
            Event::SequenceStart(_, anchor, tag) => {
                refuse_custom_tag(tag.as_deref(), position)?;
                (anchor, NodeKind::List(self.read_list(depth)?))
            }
            Event::MappingStart(_, anchor, tag) => {
                refuse_custom_tag(tag.as_deref(), position)?;
                (anchor, NodeKind::Map(self.read_map(depth)?))
            }
            _ => return fail(position, "invalid YAML: a value is missing here"),
        };
        let node = Node { position, kind };
        if anchor > 0 {
            let nodes = self.node_count - nodes_before + 1;
            // The kept copy takes memory too.
            self.count_nodes(nodes, position)?;
            self.anchors.insert(anchor, (node.clone(), Extent { nodes, depth: depth_of(&node) }));
        }
        Ok(node)
    }

    fn read_alias(&mut self, anchor: usize, position: Position, depth: usize) -> Result<Node, YamlError> {
        let Some(extent) = self.anchors.get(&anchor).map(|(_, extent)| *extent) else {
            return fail(position, "this alias stands inside the value that it repeats");
        };
        self.count_nodes(extent.nodes, position)?;
        if depth + extent.depth > DEPTH_MAX {
            return fail(position, format!("nested deeper than {DEPTH_MAX} levels"));
        }
        // An error in a repeated value is shown where the value is written.
        Ok(self.anchors[&anchor].0.clone())
    }

    fn read_list(&mut self, depth: usize) -> Result<Vec<Node>, YamlError> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, position) => items.push(self.read_node(event, position, depth + 1)?),
            }
        }
    }

    fn read_map(&mut self, depth: usize) -> Result<Vec<Entry>, YamlError> {
        let mut entries = Vec::new();
        let mut merged = Vec::new();
        let mut seen: HashMap<String, Position> = HashMap::new();
        loop {
            let (event, position) = match self.next()? {
                (Event::MappingEnd, _) => break,
                next => next,
            };
            let is_merge = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let key = self.read_key(event, position, depth)?;
            let (event, value_position) = self.next()?;
            let value = self.read_node(event, value_position, depth + 1)?;
            if is_merge {
                collect_merged(value, &mut merged)?;
                continue;
            }
            if let Some(first) = seen.get(&key) {
                return fail(
                    position,
                    format!("the key {key:?} stands twice in one section, first in line {}", first.line),
                );
            }
            seen.insert(key.clone(), position);
            entries.push(Entry { key, position, value });
        }
        for entry in merged {
            if !seen.contains_key(&entry.key) {
                seen.insert(entry.key.clone(), entry.position);
                entries.push(entry);
            }
        }
        Ok(entries)
    }

    fn read_key(&mut self, event: Event<'a>, position: Position, depth: usize) -> Result<String, YamlError> {
        match self.read_node(event, position, depth + 1)?.kind {
            NodeKind::Scalar(text) => Ok(text),
            NodeKind::Null => fail(position, "a key is empty"),
            NodeKind::List(_) | NodeKind::Map(_) => fail(position, "a key must be a text, not a list or a section"),
        }
    }

    fn count_nodes(&mut self, nodes: usize, position: Position) -> Result<(), YamlError> {
        self.node_count = self.node_count.saturating_add(nodes);
        if self.node_count > NODES_MAX {
            return fail(position, format!("the file holds more than {NODES_MAX} values (aliases count each time)"));
        }
        Ok(())
    }
}

fn is_structure(event: &Event<'_>) -> bool {
    matches!(
        event,
        Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Alias(_)
            | Event::Scalar(..)
            | Event::SequenceStart(..)
            | Event::SequenceEnd
            | Event::MappingStart(..)
            | Event::MappingEnd
    )
}

fn position_of(span: &Span) -> Position {
    Position { line: span.start.line().max(1), column: span.start.col() + 1 }
}

/// Levels below and with this node.
fn depth_of(node: &Node) -> usize {
    let below = match &node.kind {
        NodeKind::Null | NodeKind::Scalar(_) => 0,
        NodeKind::List(items) => items.iter().map(depth_of).max().unwrap_or(0),
        NodeKind::Map(entries) => entries.iter().map(|entry| depth_of(&entry.value)).max().unwrap_or(0),
    };
    below + 1
}

fn read_scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, position: Position) -> Result<NodeKind, YamlError> {
    refuse_custom_tag(tag, position)?;
    let is_null = style == ScalarStyle::Plain && tag.is_none() && matches!(text, "" | "~" | "null" | "Null" | "NULL");
    Ok(if is_null { NodeKind::Null } else { NodeKind::Scalar(text.to_owned()) })
}

/// Tags of YAML itself (`!!str`) add nothing to a text; others mean something that we do not know. The tag is not shown:
/// an unquoted password that begins with `!` looks like one.
fn refuse_custom_tag(tag: Option<&Tag>, position: Position) -> Result<(), YamlError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() => {
            fail(position, "a YAML tag has no meaning here: put a text that begins with \"!\" in quotes")
        }
        _ => Ok(()),
    }
}

/// The entries that `<<` brings in: of one mapping, or of a list of mappings of which the first that has a key wins.
fn collect_merged(value: Node, merged: &mut Vec<Entry>) -> Result<(), YamlError> {
    match value.kind {
        NodeKind::Map(entries) => merged.extend(entries),
        NodeKind::List(items) => {
            for item in items {
                match item.kind {
                    NodeKind::Map(entries) => merged.extend(entries),
                    _ => return fail(item.position, "\"<<\" can only merge sections"),
                }
            }
        }
        NodeKind::Null | NodeKind::Scalar(_) => return fail(value.position, "\"<<\" can only merge sections"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree without positions, as JSON would write it, but with every scalar as a text.
    fn show(node: &Node) -> String {
        match &node.kind {
            NodeKind::Null => "null".to_owned(),
            NodeKind::Scalar(text) => format!("{text:?}"),
            NodeKind::List(items) => format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(",")),
            NodeKind::Map(entries) => {
                let pairs: Vec<_> =
                    entries.iter().map(|entry| format!("{}:{}", entry.key, show(&entry.value))).collect();
                format!("{{{}}}", pairs.join(","))
            }
        }
    }

    fn read(text: &str) -> String {
        match read_yaml(text) {
            Ok(node) => show(&node),
            Err(error) => format!("{}: {}", error.position, error.message),
        }
    }

    #[test]
    fn scalars_stay_as_they_are_written() {
        for text in ["1.10", "007", "1e3", "0x1F", "yes", "True", "-0", "1_000", "2020-01-01", ".5", "0.0", "+Inf"] {
            assert_eq!(read(&format!("a: {text}")), format!("{{a:{text:?}}}"));
        }
        assert_eq!(read("a: '007'\nb: \"1\\n2\"\nc: !!str null"), r#"{a:"007",b:"1\n2",c:"null"}"#);
        assert_eq!(read("a: |\n  x\n  y\nb: >-\n  x\n  y\n"), r#"{a:"x\ny\n",b:"x y"}"#);
    }

    #[test]
    fn only_unquoted_nothing_is_null() {
        assert_eq!(
            read("[~, null, Null, NULL, '', 'null', \"~\", nil]"),
            r#"[null,null,null,null,"","null","~","nil"]"#
        );
        assert_eq!(read("a:\nb: 1"), r#"{a:null,b:"1"}"#);
        for empty in ["", "\n", "# a comment\n", "---\n", "\u{feff}"] {
            assert_eq!(read(empty), "null", "{empty:?}");
        }
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let Ok(Node { kind: NodeKind::Map(entries), .. }) = read_yaml("a: 1\nß: x\nb:\n  - ü: 2\n") else {
            panic!("no mapping");
        };
        let places: Vec<_> =
            entries.iter().map(|entry| format!("{} {}", entry.position, entry.value.position)).collect();
        assert_eq!(places, ["1:1 1:4", "2:1 2:4", "3:1 4:3"]);
    }

    #[test]
    fn aliases_and_merge_keys_are_put_in_place() {
        assert_eq!(read("a: &x {b: 1}\nc: *x"), r#"{a:{b:"1"},c:{b:"1"}}"#);
        assert_eq!(read("a: &x {b: 1, c: 2}\nd: {c: 3, <<: *x}"), r#"{a:{b:"1",c:"2"},d:{c:"3",b:"1"}}"#);
        assert_eq!(read("a: &x {b: 1}\nd: {<<: [*x, {b: 2, c: 3}]}"), r#"{a:{b:"1"},d:{b:"1",c:"3"}}"#);
        assert_eq!(read("a: {'<<': 1}"), r#"{a:{<<:"1"}}"#);
    }

    #[test]
    fn what_cannot_be_read_says_where_and_why() {
        for (text, error) in [
            ("a: 1\nb: 2\na: 3", "3:1: the key \"a\" stands twice in one section, first in line 1"),
            ("a: 1\n---\nb: 2", "2:1: a second YAML document begins here, only one is read"),
            ("{[a]: 1}", "1:2: a key must be a text, not a list or a section"),
            ("~: 1", "1:1: a key is empty"),
            ("a: !vault hunter2", "1:11: a YAML tag has no meaning here: put a text that begins with \"!\" in quotes"),
            ("a: &x [*x]", "1:8: this alias stands inside the value that it repeats"),
            ("a: {<<: 1}", "1:9: \"<<\" can only merge sections"),
            ("a: {<<: [1]}", "1:10: \"<<\" can only merge sections"),
            ("a: *x", "1:4: invalid YAML: while parsing node, found unknown anchor"),
            ("a: b: c", "1:5: invalid YAML: mapping values are not allowed in this context"),
        ] {
            assert_eq!(read(text), error, "{text:?}");
        }
    }

    #[test]
    fn bombs_and_towers_are_refused() {
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        assert!(read(&bomb).contains("more than 250000 values"), "{}", read(&bomb));

        let mut tower = "a0: &a0 [x]\n".to_owned();
        for level in 1..100 {
            tower.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        assert!(read(&tower).contains("nested deeper than 32 levels"), "{}", read(&tower));

        assert!(read(&"[".repeat(100_000)).contains("invalid YAML: recursion limit exceeded"));
        assert!(read(&"- ".repeat(100_000)).contains("invalid YAML: recursion limit exceeded"));
        assert!(read(&" ".repeat(FILE_BYTES_MAX + 1)).contains("the limit is 8388608"));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([a-c:\\[\\]{}&*!|>~<,'\"#%@?\n \t-]|<<: |\\*a|&a|- |: ){0,60}") {
            let _: Result<Node, YamlError> = read_yaml(&text);
        }
    }
}
