//! The tree of a pattern as Rust's engine takes it.

use regex_syntax::hir::{self, Class, ClassUnicode, ClassUnicodeRange, Hir, Look};

use super::node::{LookAt, Node, Repeat};

/// A tree, anchored on both ends.
pub(super) fn anchored(node: Node) -> Hir {
    Hir::concat(vec![Hir::look(Look::Start), translate(node), Hir::look(Look::End)])
}

fn translate(node: Node) -> Hir {
    match node {
        Node::Empty => Hir::empty(),
        Node::Literal(text) => Hir::literal(text.into_bytes()),
        Node::Class(class) => Hir::class(Class::Unicode(class)),
        Node::AnyChar => any_char_but(None),
        Node::AnyCharButNewline => any_char_but(Some('\n')),
        Node::Look(look) => Hir::look(match look {
            LookAt::TextStart => Look::Start,
            LookAt::TextEnd => Look::End,
            LookAt::LineStart => Look::StartLF,
            LookAt::LineEnd => Look::EndLF,
            LookAt::WordBoundary => Look::WordAscii,
            LookAt::NoWordBoundary => Look::WordAsciiNegate,
        }),
        // Names stay with us: Go allows two groups of one name, Rust does not.
        Node::Group(index, sub) => Hir::capture(hir::Capture { index, name: None, sub: Box::new(translate(*sub)) }),
        Node::Repeat(repeat) => {
            let Repeat { min, max, greedy, sub } = *repeat;
            Hir::repetition(hir::Repetition { min, max, greedy, sub: Box::new(translate(sub)) })
        }
        Node::Concat(nodes) => Hir::concat(nodes.into_iter().map(translate).collect()),
        Node::Alternate(nodes) => Hir::alternation(nodes.into_iter().map(translate).collect()),
    }
}

fn any_char_but(excluded: Option<char>) -> Hir {
    let mut class = ClassUnicode::new(excluded.map(|character| ClassUnicodeRange::new(character, character)));
    class.negate();
    Hir::class(Class::Unicode(class))
}
