//! Reads a pattern as Go's `regexp/syntax` does with its Perl flags and dot-matches-newline, the flags of Prometheus.
//!
//! The rules and the order in which mistakes are found follow Go 1.26's documentation and behaviour; the parser keeps its open
//! groups on a stack of its own, so that no pattern can exhaust the machine's.

use regex_syntax::hir::ClassUnicode;

use super::class;
use super::error::{Fault, GoRegexError};
use super::escape::{consumed, parse_escape, take_char};
use super::node::{LookAt, Node, Parsed, Repeat};

/// At most so many levels may a tree have, as in Go.
pub(super) const HEIGHT_MAX: u32 = 1_000;
/// At most so many copies of the innermost thing may nested counted repeats ask for, as in Go.
const COPIES_MAX: u32 = 1_000;
/// At most so many ranges may all classes of a pattern have together: 8 MiB. One `\pL` has about 650. Go allows sixteen times as
/// many; the engine's own limit ends such patterns much earlier.
const CLASS_RANGES_MAX: usize = 1 << 20;

/// Reads a whole pattern. `keep_groups` false reads `(x)` as `(?:x)`, for those who only ask whether a text matches.
pub(super) fn parse(pattern: &str, keep_groups: bool) -> Result<Parsed, GoRegexError> {
    let mut parser = Parser {
        pattern,
        keep_groups,
        flags: Flags { dot_matches_newline: true, ..Flags::default() },
        open: Vec::new(),
        level: Level::default(),
        group_names: vec![None],
        class_ranges: 0,
    };
    parser.run()?;
    if !parser.open.is_empty() {
        return Err(Fault::MissingParen.at(pattern));
    }
    let level = std::mem::take(&mut parser.level);
    let part = parser.close_level(level)?;
    Ok(Parsed { node: part.node, height: part.height, group_names: parser.group_names })
}

/// What `(?ismU)` switches.
#[derive(Copy, Clone, Debug, Default)]
struct Flags {
    fold_case: bool,
    multi_line: bool,
    dot_matches_newline: bool,
    lazy_by_default: bool,
}

/// A finished piece of the tree.
#[derive(Debug)]
struct Part {
    node: Node,
    height: u32,
    /// Product of the nested counted repeats in it.
    copies: u32,
    /// A run of single characters, of which a repeat takes the last one only; a group is never that.
    is_run: bool,
}

/// What has been read since the last open parenthesis.
#[derive(Debug, Default)]
struct Level {
    branches: Vec<Part>,
    /// The branch that is being read.
    items: Vec<Part>,
}

/// A parenthesis that waits for its end.
#[derive(Debug)]
struct Open {
    outer: Level,
    outer_flags: Flags,
    group: Option<u32>,
}

struct Parser<'p> {
    pattern: &'p str,
    keep_groups: bool,
    flags: Flags,
    open: Vec<Open>,
    level: Level,
    group_names: Vec<Option<Box<str>>>,
    class_ranges: usize,
}

impl<'p> Parser<'p> {
    fn run(&mut self) -> Result<(), GoRegexError> {
        let mut rest = self.pattern;
        // Where the repeat operator began that was read last, if nothing came after it.
        let mut last_repeat: Option<&'p str> = None;
        while let Some(first) = rest.chars().next() {
            let before = rest;
            let tail = &rest[first.len_utf8()..];
            let mut this_repeat = None;
            rest = match first {
                '(' => self.open_paren(rest)?,
                ')' => {
                    self.close_paren()?;
                    tail
                }
                '|' => {
                    let branch = self.close_branch()?;
                    self.level.branches.push(branch);
                    tail
                }
                '^' => self.push_look(if self.flags.multi_line { LookAt::LineStart } else { LookAt::TextStart }, tail),
                '$' => self.push_look(if self.flags.multi_line { LookAt::LineEnd } else { LookAt::TextEnd }, tail),
                '.' => {
                    let any = self.flags.dot_matches_newline;
                    self.push(if any { Node::AnyChar } else { Node::AnyCharButNewline });
                    tail
                }
                '[' => {
                    let (class, rest) = class::parse_bracketed(rest, self.flags.fold_case)?;
                    self.push_class(class)?;
                    rest
                }
                '\\' => self.backslash(rest)?,
                '*' | '+' | '?' | '{' => match repeat_operator(rest)? {
                    None => {
                        self.push_char(first);
                        tail
                    }
                    Some((min, max, after)) => {
                        this_repeat = Some(before);
                        self.repeat(min, max, before, after, last_repeat)?
                    }
                },
                literal => {
                    self.push_char(literal);
                    tail
                }
            };
            last_repeat = this_repeat;
        }
        Ok(())
    }

    fn push(&mut self, node: Node) {
        self.level.items.push(Part { node, height: 1, copies: 1, is_run: false });
    }

    fn push_look(&mut self, look: LookAt, rest: &'p str) -> &'p str {
        self.push(Node::Look(look));
        rest
    }

    fn push_class(&mut self, class: ClassUnicode) -> Result<(), GoRegexError> {
        self.class_ranges += class.ranges().len();
        if self.class_ranges > CLASS_RANGES_MAX {
            return Err(Fault::TooLarge.at(self.pattern));
        }
        self.push(Node::Class(class));
        Ok(())
    }

    /// A character that stands for itself, or for its case variants.
    fn push_char(&mut self, character: char) {
        if self.flags.fold_case {
            let variants = class::single(character as u32, true);
            if variants.literal().is_none() {
                self.push(Node::Class(variants));
                return;
            }
        }
        if let Some(Part { node: Node::Literal(text), is_run: true, .. }) = self.level.items.last_mut() {
            text.push(character);
            return;
        }
        let node = Node::Literal(character.to_string());
        self.level.items.push(Part { node, height: 1, copies: 1, is_run: true });
    }

    fn push_code_point(&mut self, code: u32) {
        match char::from_u32(code) {
            Some(character) => self.push_char(character),
            // A surrogate: no text has it.
            None => self.push(Node::Class(ClassUnicode::empty())),
        }
    }

    fn backslash(&mut self, text: &'p str) -> Result<&'p str, GoRegexError> {
        let look = match text.as_bytes().get(1) {
            Some(b'A') => Some(LookAt::TextStart),
            Some(b'z') => Some(LookAt::TextEnd),
            Some(b'b') => Some(LookAt::WordBoundary),
            Some(b'B') => Some(LookAt::NoWordBoundary),
            Some(b'Q') => {
                let quoted = &text[2..];
                let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                literal.chars().for_each(|character| self.push_char(character));
                return Ok(rest);
            }
            _ => None,
        };
        if let Some(look) = look {
            return Ok(self.push_look(look, &text[2..]));
        }
        if let Some((class, rest)) = class::parse_escaped_group(text, self.flags.fold_case)? {
            self.push_class(class)?;
            return Ok(rest);
        }
        let (code, rest) = parse_escape(text)?;
        self.push_code_point(code);
        Ok(rest)
    }

    /// Makes the last item of the branch a repeat of itself; returns what follows the operator.
    fn repeat(
        &mut self,
        min: u32,
        max: Option<u32>,
        before: &'p str,
        after: &'p str,
        last_repeat: Option<&'p str>,
    ) -> Result<&'p str, GoRegexError> {
        let (lazy, after) = match after.strip_prefix('?') {
            Some(after) => (true, after),
            None => (false, after),
        };
        if let Some(last) = last_repeat {
            return Err(Fault::NestedRepeat.at(consumed(last, after)));
        }
        let operator = consumed(before, after);
        let Some(sub) = self.take_repeat_argument() else {
            return Err(Fault::MissingRepeatArgument.at(operator));
        };
        let is_counted = before.starts_with('{');
        let own_copies = if is_counted { max.unwrap_or(min).max(1) } else { 1 };
        let copies = if is_counted && max == Some(0) { 1 } else { own_copies.saturating_mul(sub.copies) };
        if is_counted && (min >= 2 || max >= Some(2)) && copies > COPIES_MAX {
            return Err(Fault::RepeatCount.at(operator));
        }
        let height = self.check_height(sub.height + 1)?;
        let greedy = lazy == self.flags.lazy_by_default;
        let node = Node::Repeat(Box::new(Repeat { min, max, greedy, sub: sub.node }));
        self.level.items.push(Part { node, height, copies, is_run: false });
        Ok(after)
    }

    fn take_repeat_argument(&mut self) -> Option<Part> {
        let last = self.level.items.last_mut()?;
        if let Part { node: Node::Literal(text), is_run: true, .. } = last {
            let character = text.pop()?;
            if text.is_empty() {
                self.level.items.pop();
            }
            return Some(Part { node: Node::Literal(character.to_string()), height: 1, copies: 1, is_run: false });
        }
        self.level.items.pop()
    }

    /// `(`, `(?:`, `(?i)`, `(?i:`, `(?P<name>`, `(?<name>`.
    fn open_paren(&mut self, text: &'p str) -> Result<&'p str, GoRegexError> {
        if !text.starts_with("(?") {
            self.open_group(None);
            return Ok(&text[1..]);
        }
        let name_start = if text.len() > 4 && text.starts_with("(?P<") {
            4
        } else if text.len() > 3 && text.starts_with("(?<") {
            3
        } else {
            return self.flags_or_plain_group(text);
        };
        let Some(end) = text.find('>') else {
            return Err(Fault::NamedCapture.at(text));
        };
        let name = &text[name_start..end];
        if name.is_empty() || !name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()) {
            return Err(Fault::NamedCapture.at(&text[..=end]));
        }
        self.open_group(Some(name));
        Ok(&text[end + 1..])
    }

    fn open_group(&mut self, name: Option<&str>) {
        let group = self.keep_groups.then(|| {
            self.group_names.push(name.map(Box::from));
            u32::try_from(self.group_names.len() - 1).unwrap_or(u32::MAX)
        });
        let outer = std::mem::take(&mut self.level);
        self.open.push(Open { outer, outer_flags: self.flags, group });
    }

    fn flags_or_plain_group(&mut self, text: &'p str) -> Result<&'p str, GoRegexError> {
        let mut rest = &text[2..];
        let mut flags = self.flags;
        let (mut setting, mut saw_flag) = (true, false);
        while let Some(character) = take_char(&mut rest) {
            let flag = match character {
                'i' => &mut flags.fold_case,
                'm' => &mut flags.multi_line,
                's' => &mut flags.dot_matches_newline,
                'U' => &mut flags.lazy_by_default,
                '-' if setting => {
                    (setting, saw_flag) = (false, false);
                    continue;
                }
                ':' | ')' if setting || saw_flag => {
                    if character == ':' {
                        let outer = std::mem::take(&mut self.level);
                        self.open.push(Open { outer, outer_flags: self.flags, group: None });
                    }
                    self.flags = flags;
                    return Ok(rest);
                }
                _ => break,
            };
            *flag = setting;
            saw_flag = true;
        }
        Err(Fault::PerlSyntax.at(consumed(text, rest)))
    }

    fn close_paren(&mut self) -> Result<(), GoRegexError> {
        let Some(open) = self.open.pop() else {
            return Err(Fault::UnexpectedParen.at(self.pattern));
        };
        let inner = std::mem::replace(&mut self.level, open.outer);
        let mut part = self.close_level(inner)?;
        self.flags = open.outer_flags;
        if let Some(number) = open.group {
            part.height = self.check_height(part.height + 1)?;
            part.node = Node::Group(number, Box::new(part.node));
        }
        part.is_run = false;
        self.level.items.push(part);
        Ok(())
    }

    fn close_branch(&mut self) -> Result<Part, GoRegexError> {
        let items = std::mem::take(&mut self.level.items);
        self.combine(items, Node::Concat)
    }

    fn close_level(&self, level: Level) -> Result<Part, GoRegexError> {
        let mut branches = level.branches;
        branches.push(self.combine(level.items, Node::Concat)?);
        self.combine(branches, Node::Alternate)
    }

    /// Many parts as one: none is the empty match, one is itself.
    fn combine(&self, mut parts: Vec<Part>, join: fn(Vec<Node>) -> Node) -> Result<Part, GoRegexError> {
        if parts.len() == 1 {
            return Ok(parts.swap_remove(0));
        }
        if parts.is_empty() {
            return Ok(Part { node: Node::Empty, height: 1, copies: 1, is_run: false });
        }
        let height = parts.iter().map(|part| part.height).max().unwrap_or(0);
        let copies = parts.iter().map(|part| part.copies).max().unwrap_or(1);
        let height = self.check_height(height + 1)?;
        let node = join(parts.into_iter().map(|part| part.node).collect());
        Ok(Part { node, height, copies, is_run: false })
    }

    fn check_height(&self, height: u32) -> Result<u32, GoRegexError> {
        if height > HEIGHT_MAX { Err(Fault::NestingDepth.at(self.pattern)) } else { Ok(height) }
    }
}

/// Least and most repeats, and what follows the operator.
type Counts<'p> = (u32, Option<u32>, &'p str);

/// Bounds of the repeat operator that `text` begins with, and what follows it; `None` where a brace stands for itself.
fn repeat_operator(text: &str) -> Result<Option<Counts<'_>>, GoRegexError> {
    let after = &text[1..];
    match text.as_bytes()[0] {
        b'*' => Ok(Some((0, None, after))),
        b'+' => Ok(Some((1, None, after))),
        b'?' => Ok(Some((0, Some(1), after))),
        _ => {
            let Some((min, max, after)) = braced_counts(after) else {
                return Ok(None);
            };
            if min > COPIES_MAX || max.is_some_and(|max| max > COPIES_MAX || min > max) {
                return Err(Fault::RepeatCount.at(consumed(text, after)));
            }
            Ok(Some((min, max, after)))
        }
    }
}

/// `2}`, `2,}` or `2,5}`.
fn braced_counts(text: &str) -> Option<Counts<'_>> {
    let (min, rest) = count(text)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, Some(min), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((min, None, rest));
    }
    let (max, rest) = count(rest)?;
    Some((min, Some(max), rest.strip_prefix('}')?))
}

/// A decimal number without leading zeros; one that is too large for us is too large for everyone.
fn count(text: &str) -> Option<(u32, &str)> {
    let digit_count = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(digit_count);
    if digits.is_empty() || (digit_count > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}
