//! The patterns that people write, matched without an automaton: one text, a list of texts, a prefix, a suffix, a part.
//!
//! | pattern | is |
//! |---|---|
//! | `` (empty), `api`, `^api$`, `(api)` | one text |
//! | `a\|b\|c`, `(a\|b)-[12]`, `https?` | a set of texts |
//! | `.*`, `.+`, `api-.*`, `.+-api`, `a.*b.*c` | pieces with gaps between them |
//! | `api-.*\|.*-web\|x` | one of a few of these |

use std::collections::VecDeque;

use hashbrown::HashSet;

use super::node::{LookAt, Node};

/// Up to so many texts are searched by halving; more are hashed.
const SORTED_TEXTS_MAX: usize = 16;
/// A set that a product such as `[a-f][a-f]` makes may have so many texts.
const PRODUCT_TEXTS_MAX: usize = 256;
/// What spelled-out texts may take: so many bytes for each byte of the pattern, and as many again for free. A list of texts takes
/// less than this however long it is; a list times a long text does not.
const BYTES_PER_PATTERN_BYTE: usize = 32;
const BYTES_FREE: usize = 64 << 10;
/// What a text takes beside its bytes.
const TEXT_OVERHEAD_BYTES: usize = std::mem::size_of::<String>();
/// A class is spelled out up to so many characters.
const CLASS_CHARS_MAX: usize = 32;
/// More alternatives with gaps than this are left to the automaton, which looks at the text once for all of them.
const GAPPED_ALTERNATIVES_MAX: usize = 16;

/// Matches whole texts.
#[derive(Debug, PartialEq)]
pub(super) enum TextMatcher {
    /// This text alone.
    Exact(Box<str>),
    /// One of these, sorted.
    Sorted(Box<[Box<str>]>),
    /// One of these.
    Hashed(HashSet<Box<str>>),
    /// Pieces with gaps.
    Gapped(Gapped),
    /// Any of these.
    AnyOf(Box<[TextMatcher]>),
}

/// `prefix`, then each piece after its gap, the last one at the end of the text.
#[derive(Debug, PartialEq)]
pub(super) struct Gapped {
    prefix: Box<str>,
    pieces: Box<[(Gap, Box<str>)]>,
}

/// How many characters may stand between two pieces.
#[derive(Copy, Clone, Debug, PartialEq)]
enum Gap {
    /// `.*`
    Any,
    /// `.+`
    AtLeastOne,
}

impl TextMatcher {
    /// The matcher of a pattern that needs no automaton.
    pub(super) fn try_new(node: &Node, pattern_bytes: usize) -> Option<Self> {
        let bytes_left = pattern_bytes.saturating_mul(BYTES_PER_PATTERN_BYTE).saturating_add(BYTES_FREE);
        let mut alternatives = Alternatives { texts: Vec::new(), gapped: Vec::new(), budget: Budget { bytes_left } };
        alternatives.add(node)?;
        Some(alternatives.finish())
    }

    /// Does the whole text match?
    pub(super) fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *text,
            Self::Sorted(texts) => texts.binary_search_by(|own| (**own).cmp(text)).is_ok(),
            Self::Hashed(texts) => texts.contains(text),
            Self::Gapped(gapped) => gapped.is_match(text),
            Self::AnyOf(matchers) => matchers.iter().any(|matcher| matcher.is_match(text)),
        }
    }
}

impl Gapped {
    /// Taking every piece at its first possible place leaves the most room for the rest, so no other place need be tried.
    fn is_match(&self, text: &str) -> bool {
        let Some(mut rest) = text.strip_prefix(&*self.prefix) else {
            return false;
        };
        let Some(((last_gap, last), middle)) = self.pieces.split_last() else {
            return rest.is_empty();
        };
        for (gap, piece) in middle {
            let Some(after_gap) = gap.skip(rest) else {
                return false;
            };
            let Some(found) = memchr::memmem::find(after_gap.as_bytes(), piece.as_bytes()) else {
                return false;
            };
            // A text found in a text starts and ends between characters.
            rest = &after_gap[found + piece.len()..];
        }
        last_gap.skip(rest).is_some_and(|rest| rest.ends_with(&**last))
    }
}

impl Gap {
    /// The text after the shortest gap.
    fn skip(self, text: &str) -> Option<&str> {
        match self {
            Self::Any => Some(text),
            Self::AtLeastOne => text.chars().next().map(|first| &text[first.len_utf8()..]),
        }
    }
}

/// What may still be spent on spelling out texts.
struct Budget {
    bytes_left: usize,
}

impl Budget {
    /// `None` once it is used up.
    fn spend(&mut self, text_count: usize, bytes: usize) -> Option<()> {
        let spent = text_count.checked_mul(TEXT_OVERHEAD_BYTES)?.checked_add(bytes)?;
        self.bytes_left = self.bytes_left.checked_sub(spent)?;
        Some(())
    }
}

/// The alternatives of a pattern as they are found.
struct Alternatives {
    texts: Vec<String>,
    gapped: Vec<Gapped>,
    budget: Budget,
}

impl Alternatives {
    /// Adds a node that has to match a whole text.
    fn add(&mut self, node: &Node) -> Option<()> {
        match node {
            Node::Group(_, sub) => self.add(sub),
            Node::Alternate(branches) => branches.iter().try_for_each(|branch| self.add(branch)),
            node => self.add_branch(node),
        }
    }

    fn add_branch(&mut self, node: &Node) -> Option<()> {
        let mut atoms = VecDeque::new();
        flatten(node, &mut atoms);
        // Where the whole text is matched, `^` in front and `$` behind say nothing.
        while atoms.front().is_some_and(|atom| matches!(atom, Node::Look(LookAt::TextStart))) {
            atoms.pop_front();
        }
        while atoms.back().is_some_and(|atom| matches!(atom, Node::Look(LookAt::TextEnd))) {
            atoms.pop_back();
        }
        if let Some(gapped) = gapped(&atoms) {
            if gapped.pieces.is_empty() {
                self.budget.spend(1, gapped.prefix.len())?;
                self.texts.push(gapped.prefix.into());
            } else {
                self.gapped.push(gapped);
            }
            return (self.gapped.len() <= GAPPED_ALTERNATIVES_MAX).then_some(());
        }
        let texts = self.budget.concat(atoms)?;
        self.texts.extend(texts);
        Some(())
    }

    fn finish(self) -> TextMatcher {
        let mut matchers: Vec<TextMatcher> = self.gapped.into_iter().map(TextMatcher::Gapped).collect();
        match self.texts.len() {
            0 => {}
            1 => matchers.extend(self.texts.into_iter().map(|text| TextMatcher::Exact(text.into()))),
            2..=SORTED_TEXTS_MAX => {
                let mut texts: Vec<Box<str>> = self.texts.into_iter().map(Box::from).collect();
                texts.sort_unstable();
                texts.dedup();
                matchers.push(TextMatcher::Sorted(texts.into()));
            }
            _ => matchers.push(TextMatcher::Hashed(self.texts.into_iter().map(Box::from).collect())),
        }
        if matchers.len() == 1 { matchers.swap_remove(0) } else { TextMatcher::AnyOf(matchers.into()) }
    }
}

/// Concatenations and groups laid out flat.
fn flatten<'n>(node: &'n Node, atoms: &mut VecDeque<&'n Node>) {
    match node {
        Node::Empty => {}
        Node::Group(_, sub) => flatten(sub, atoms),
        Node::Concat(nodes) => nodes.iter().for_each(|node| flatten(node, atoms)),
        node => atoms.push_back(node),
    }
}

/// Literals with `.*` and `.+` between them.
fn gapped(atoms: &VecDeque<&Node>) -> Option<Gapped> {
    let mut prefix = String::new();
    let mut pieces: Vec<(Gap, String)> = Vec::new();
    for atom in atoms {
        match atom {
            Node::Literal(text) => pieces.last_mut().map_or(&mut prefix, |(_, piece)| piece).push_str(text),
            Node::Repeat(repeat) => {
                let gap = match (&repeat.sub, repeat.min, repeat.max) {
                    (Node::AnyChar, 0, None) => Gap::Any,
                    (Node::AnyChar, 1, None) => Gap::AtLeastOne,
                    _ => return None,
                };
                match pieces.last_mut() {
                    // Two gaps side by side are one; two characters at least are left to the automaton.
                    Some((before, piece)) if piece.is_empty() => match (*before, gap) {
                        (Gap::AtLeastOne, Gap::AtLeastOne) => return None,
                        (Gap::Any, Gap::Any) => {}
                        _ => *before = Gap::AtLeastOne,
                    },
                    _ => pieces.push((gap, String::new())),
                }
            }
            _ => return None,
        }
    }
    let pieces = pieces.into_iter().map(|(gap, piece)| (gap, piece.into())).collect();
    Some(Gapped { prefix: prefix.into(), pieces })
}

/// Spelling out the texts that a node matches. `None` where these are too many or without end.
impl Budget {
    fn texts(&mut self, node: &Node) -> Option<Vec<String>> {
        match node {
            Node::Empty => Some(vec![String::new()]),
            Node::Literal(text) => {
                self.spend(1, text.len())?;
                Some(vec![text.clone()])
            }
            Node::Class(class) => {
                let count: usize = class.ranges().iter().map(|range| range.len()).sum();
                if count > CLASS_CHARS_MAX {
                    return None;
                }
                self.spend(count, count)?;
                let characters = class.ranges().iter().flat_map(|range| range.start()..=range.end());
                Some(characters.map(String::from).collect())
            }
            Node::Group(_, sub) => self.texts(sub),
            Node::Repeat(repeat) if (repeat.min, repeat.max) == (0, Some(1)) => {
                let mut texts = self.texts(&repeat.sub)?;
                texts.push(String::new());
                Some(texts)
            }
            Node::Concat(nodes) => self.concat(nodes),
            Node::Alternate(branches) => {
                let mut texts = Vec::with_capacity(branches.len());
                for branch in branches {
                    texts.extend(self.texts(branch)?);
                }
                Some(texts)
            }
            Node::AnyChar | Node::AnyCharButNewline | Node::Look(_) | Node::Repeat(_) => None,
        }
    }

    fn concat<'n>(&mut self, nodes: impl IntoIterator<Item = &'n Node>) -> Option<Vec<String>> {
        let mut heads = vec![String::new()];
        for node in nodes {
            let tails = self.texts(node)?;
            heads = self.product(heads, &tails)?;
        }
        Some(heads)
    }

    /// Every head followed by every tail.
    fn product(&mut self, mut heads: Vec<String>, tails: &[String]) -> Option<Vec<String>> {
        if let [only] = tails {
            self.spend(0, heads.len().checked_mul(only.len())?)?;
            heads.iter_mut().for_each(|head| head.push_str(only));
            return Some(heads);
        }
        let count = heads.len().checked_mul(tails.len())?;
        if heads.len() > 1 && count > PRODUCT_TEXTS_MAX {
            return None;
        }
        let head_bytes: usize = heads.iter().map(String::len).sum();
        let tail_bytes: usize = tails.iter().map(String::len).sum();
        let bytes = head_bytes.checked_mul(tails.len())?.checked_add(tail_bytes.checked_mul(heads.len())?)?;
        self.spend(count, bytes)?;
        Some(heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect())
    }
}

/// How many groups lie around the whole pattern, as the one of `(a|b)` does: each spans the whole text.
pub(super) fn groups_around(mut node: &Node) -> usize {
    let mut count = 0;
    while let Node::Group(_, sub) = node {
        count += 1;
        node = sub;
    }
    count
}
