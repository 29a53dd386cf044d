//! The scanner against serde_json: the same documents, the same values, the same refusals, however the bytes are cut.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// Builds the document that the decoder itself never builds.
#[derive(Default)]
struct TreeBuilder {
    open: Vec<(Value, Option<String>)>,
    key: Option<String>,
    done: Option<Value>,
}

impl TreeBuilder {
    fn add(&mut self, value: Value) {
        match self.open.last_mut() {
            None => self.done = Some(value),
            Some((Value::Array(values), _)) => values.push(value),
            Some((Value::Object(fields), _)) => {
                fields.insert(self.key.take().expect("a key came before its value"), value);
            }
            Some(_) => unreachable!("only containers are open"),
        }
    }
}

impl JsonEvents for TreeBuilder {
    fn text_bytes_max(&self, _is_key: bool) -> usize {
        usize::MAX
    }
    fn key(&mut self, text: RawText<'_>) -> Result<(), Problem> {
        self.key = Some(text.read(&mut String::new())?.to_owned());
        Ok(())
    }
    fn begin(&mut self, container: Container) -> Result<(), Problem> {
        let value = match container {
            Container::Object => Value::Object(serde_json::Map::new()),
            Container::Array => Value::Array(Vec::new()),
        };
        self.open.push((value, self.key.take()));
        Ok(())
    }
    fn end(&mut self) -> Result<(), Problem> {
        let (value, key) = self.open.pop().expect("an end has a beginning");
        self.key = key;
        self.add(value);
        Ok(())
    }
    fn text(&mut self, text: RawText<'_>) -> Result<(), Problem> {
        let text = text.read(&mut String::new())?.to_owned();
        self.add(Value::String(text));
        Ok(())
    }
    fn literal(&mut self, literal: Literal<'_>) -> Result<(), Problem> {
        self.add(match literal {
            Literal::Null => Value::Null,
            Literal::Bool(value) => Value::Bool(value),
            Literal::Number(number) => {
                serde_json::from_slice(number).map_err(|error| Problem::Invalid(error.to_string()))?
            }
        });
        Ok(())
    }
    fn take_items(&mut self, _bytes: &[u8]) -> Taken {
        Taken::default()
    }
    fn place(&self) -> String {
        String::new()
    }
}

fn scan(pieces: &[&[u8]]) -> Result<Value, DecodeError> {
    let mut scanner = JsonScanner::new(100);
    let mut tree = TreeBuilder::default();
    for piece in pieces {
        scanner.feed(piece, &mut tree)?;
    }
    scanner.finish()?;
    Ok(tree.done.expect("a complete document has a value"))
}

fn document() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let tree = leaf.prop_recursive(5, 50, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    });
    // A bare number at the top has no end that a stream could show: documents are containers.
    tree.prop_map(|value| Value::Array(vec![value]))
}

/// Bytes that are nearly JSON: pieces of tokens in any order.
fn near_document() -> impl Strategy<Value = Vec<u8>> {
    let token = prop::sample::select(vec![
        "{", "}", "[", "]", ":", ",", "\"a\"", "\"", "\\", "\\u00", "41", "1", "-", "0", ".5", "e+7", "true", "null",
        "nul", " ", "\n", "\u{1}", "é", "\"b\":1",
    ]);
    prop::collection::vec(token, 0..12).prop_map(|tokens| format!("[{}]", tokens.concat()).into_bytes())
}

proptest! {
    #[test]
    fn documents_are_read_as_serde_reads_them(value in document(), pretty in any::<bool>(), cut in 0.0f64..1.0) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.expect("a document");
        let bytes = text.as_bytes();
        let expected: Value = serde_json::from_slice(bytes).expect("its own output");
        prop_assert_eq!(scan(&[bytes]), Ok(expected.clone()));
        let (front, back) = bytes.split_at((cut * bytes.len() as f64) as usize);
        prop_assert_eq!(scan(&[front, back]), Ok(expected.clone()));
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(scan(&single), Ok(expected));
    }

    #[test]
    fn documents_are_refused_as_serde_refuses_them(bytes in near_document()) {
        let expected = serde_json::from_slice::<Value>(&bytes).ok();
        prop_assert_eq!(scan(&[&bytes]).ok(), expected.clone());
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(scan(&single).ok(), expected);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), cut in 0usize..100) {
        let (front, back) = bytes.split_at(cut.min(bytes.len()));
        let scanned = scan(&[front, back]);
        if scanned.is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&bytes).is_ok());
        }
    }
}

#[test]
fn levels_and_numbers_are_bounded() {
    let deep = "[".repeat(101);
    assert_eq!(
        scan(&[deep.as_bytes()]).map_err(|error| error.to_string()),
        Err("more than 100 levels at byte 100".to_owned())
    );
    let long = format!("[{}]", "1".repeat(2_000));
    assert!(scan(&[long.as_bytes()]).is_err());
    let pieces: Vec<&[u8]> = long.as_bytes().chunks(100).collect();
    assert!(scan(&pieces).is_err());
}

#[test]
fn errors_say_what_was_expected_where() {
    for (document, message) in [
        ("", "body ends after 0 bytes, expected a JSON document"),
        ("[1,", "body ends after 3 bytes, expected a value"),
        ("[1", "body ends after 2 bytes, expected the end of a number"),
        ("[\"a", "body ends after 3 bytes, expected the end of a string"),
        ("{\"a\"", "body ends after 4 bytes, expected \":\""),
        ("[1 2]", "expected \",\" or \"]\" at byte 3, found '2'"),
        ("{1:2}", "expected a key or \"}\" at byte 1, found '1'"),
        ("[01]", "expected a value or \"]\" at byte 1, found \"01\""),
        ("[]]", "expected the end of the body at byte 2, found ']'"),
        ("<html>", "expected a JSON document at byte 0, found '<'"),
        ("[\"\u{1}\"]", "bad string at byte 2"),
    ] {
        assert_eq!(
            scan(&[document.as_bytes()]).map_err(|error| error.to_string()),
            Err(message.to_owned()),
            "{document}"
        );
    }
}
