//! Any text: the parser refuses it, or what it read survives printing.

use crate::syntax::{
    DurationExpr, DurationExprKind, Expr, ExprKind, Features, VectorSelector, parse, parse_collecting_errors, pretty,
    to_json, walk_mut,
};

/// All gated features of the grammar.
pub(super) const ALL_FEATURES: Features = Features {
    experimental_functions: true,
    extended_range_selectors: true,
    binop_fill_modifiers: true,
    delayed_name_removal: false,
    type_and_unit_labels: false,
    use_start_timestamps: false,
};

/// Parses the input as a query, with no gated feature and with all of them.
///
/// | the parser | so |
/// |---|---|
/// | refuses it | every error stands in the text, and the first one is the one that is told |
/// | accepts it without features | it means the same with all features |
/// | accepts it | the printed text, and the pretty one, are read back as the same tree, and it has a JSON |
pub fn parser(input: &[u8]) {
    let Ok(query) = std::str::from_utf8(input) else { return };
    let plain = check(query, &Features::default());
    let full = check(query, &ALL_FEATURES);
    if let Some(plain) = plain {
        let full = full.unwrap_or_else(|| panic!("accepted, but not with more features: {query}"));
        assert_eq!(format!("{plain:?}"), format!("{full:?}"), "features change the meaning of {query}");
    }
}

fn check(query: &str, features: &Features) -> Option<Expr> {
    let expr = match parse_collecting_errors(query, features) {
        Ok(expr) => expr,
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason: {query}");
            for error in &errors {
                let span = &error.span;
                assert!(span.start <= span.end && span.end <= query.len(), "{error:?} is not in {query}");
                assert!(error.render(query).contains(": parse error: "), "{error:?}");
            }
            assert_eq!(parse(query, features).err().as_ref(), errors.first(), "{query}");
            return None;
        }
    };
    let printed = expr.to_string();
    let tree = format!("{:?}", without_places(expr.clone()));
    for text in [printed.clone(), pretty(&expr)] {
        match parse(&text, features) {
            Ok(again) => {
                assert_eq!(again.to_string(), printed, "printed otherwise the second time: {query}");
                assert_eq!(format!("{:?}", without_places(again)), tree, "{query} is printed as {text}");
            }
            // A text that stands in the longest query may grow beyond it.
            Err(_) if text.len() > crate::syntax::QUERY_BYTES_MAX => {}
            Err(error) => panic!("{query} is printed as {text}, which is refused: {}", error.render(&text)),
        }
    }
    // Not read again: a reader of JSON gives up at far fewer levels than a query may have.
    assert!(to_json(&expr).is_object(), "{query}");
    Some(expr)
}

/// Without spans, and with matchers sorted as they are printed.
fn without_places(mut expr: Expr) -> Expr {
    walk_mut(&mut expr, &mut |expr| {
        expr.span = 0..0;
        match &mut expr.kind {
            ExprKind::VectorSelector(vector) => unplace_selector(vector),
            ExprKind::MatrixSelector(matrix) => {
                unplace_selector(&mut matrix.selector);
                matrix.selector_span = 0..0;
                unplace_duration(&mut matrix.range);
            }
            ExprKind::Subquery(subquery) => {
                unplace_duration(&mut subquery.range);
                subquery.step.iter_mut().chain(&mut subquery.offset).for_each(unplace_duration);
            }
            _ => {}
        }
    });
    expr
}

fn unplace_selector(selector: &mut VectorSelector) {
    selector.matchers.sort();
    selector.offset.iter_mut().for_each(unplace_duration);
}

fn unplace_duration(duration: &mut DurationExpr) {
    let mut waiting = vec![duration];
    while let Some(duration) = waiting.pop() {
        duration.span = 0..0;
        match &mut duration.kind {
            DurationExprKind::Literal(_) | DurationExprKind::Step | DurationExprKind::Range => {}
            DurationExprKind::Unary(_, inner) | DurationExprKind::Paren(inner) => waiting.push(inner),
            DurationExprKind::Binary(_, lhs, rhs)
            | DurationExprKind::MinOf(lhs, rhs)
            | DurationExprKind::MaxOf(lhs, rhs) => waiting.extend([lhs, rhs].map(|side| &mut **side)),
        }
    }
}
