//! The house keeps its layers: who may import whom, and which crates only one room may name.
//!
//! The rules are the table in ARCHITECTURE.md; this test reads them from there. Tests inside of modules are left out: they may
//! use fixtures of `testing`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What a row of the table says about one module.
#[derive(Clone, Debug, Default)]
struct Room {
    layer: u32,
    /// Everything, of ours and of others.
    is_free: bool,
    modules: Vec<String>,
    crates: Vec<String>,
}

/// The rooms by name.
type House = BTreeMap<String, Room>;

/// Reads the rows `| L3 | \`module\` … | ≤ L2, \`module\` … | \`crate\` … |`; layer `–` stands above all others.
fn read_table(page: &str) -> House {
    let rows: Vec<Vec<&str>> = page
        .lines()
        .map(|line| line.trim().trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.len() == 4 && (cells[0] == "–" || layer_of(cells[0]).is_some()))
        .collect();
    let names = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let mut house = House::new();
    for cells in &rows {
        for module in names(cells[1]) {
            let layer = layer_of(cells[0]).unwrap_or(u32::MAX);
            let room = Room { layer, is_free: cells[2] == "all", modules: names(cells[2]), crates: names(cells[3]) };
            assert!(house.insert(module.clone(), room).is_none(), "{module} is in two rows");
        }
    }
    let below = house.clone();
    for (module, room) in &mut house {
        let cell = rows.iter().find(|cells| names(cells[1]).contains(module)).expect("its row")[2];
        if let Some(highest) =
            cell.split_once('≤').and_then(|(_, rest)| layer_of(rest.trim().split([',', ' ']).next()?))
        {
            let lower = below.iter().filter(|(_, other)| other.layer <= highest);
            room.modules.extend(lower.map(|(name, _)| name.clone()));
        }
    }
    house
}

fn layer_of(text: &str) -> Option<u32> {
    text.strip_prefix('L')?.parse().ok()
}

/// Every import that the house does not allow, as `file:line: …`.
fn violations(house: &House, files: &[(PathBuf, String)]) -> Vec<String> {
    let fenced: Vec<&String> = house.values().flat_map(|room| &room.crates).collect();
    let mut found = Vec::new();
    for (path, text) in files {
        let module = module_of(path);
        if module == "lib" {
            continue;
        }
        let Some(room) = house.get(&module) else {
            found.push(format!("{}:1: `{module}` is not in the table", path.display()));
            continue;
        };
        if room.is_free {
            continue;
        }
        for Import { line, name, is_ours } in imports(path, text) {
            let (is_allowed, allowed) = if is_ours {
                (name == module || room.modules.contains(&name), &room.modules)
            } else {
                (!fenced.contains(&&name) || room.crates.contains(&name), &room.crates)
            };
            if !is_allowed {
                let mut message = String::new();
                write!(message, "{}:{line}: `{module}` (L{}) may not name ", path.display(), room.layer)
                    .expect("a String takes everything");
                let what = if is_ours { "modules" } else { "fenced crates" };
                let prefix = if is_ours { "crate::" } else { "" };
                write!(message, "`{prefix}{name}`; {what} it may name: {allowed:?}").expect("as above");
                found.push(message);
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

/// `src/serve/http/mod.rs` belongs to `serve`.
fn module_of(path: &Path) -> String {
    let first = path.components().nth(1).expect("src/ has files").as_os_str().to_string_lossy();
    first.strip_suffix(".rs").unwrap_or(&first).to_owned()
}

#[derive(Debug, PartialEq)]
struct Import {
    line: usize,
    name: String,
    is_ours: bool,
}

/// Every path that begins with `crate::`, climbs to it by `super::`, or begins with the name of a crate.
fn imports(path: &Path, text: &str) -> Vec<Import> {
    let code = shipped_code(text);
    let depth = path.with_extension("").iter().skip(1).filter(|part| *part != "mod").count();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("::") {
        let head_start = code[..at].rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |before| before + 1);
        let head = &code[head_start..at];
        let line = code[..at].matches('\n').count() + 1;
        let is_continued = code[..head_start].ends_with("::");
        let ours = |names: Vec<&str>| -> Vec<Import> {
            let names = names.into_iter().map(str::to_owned);
            names.map(|name| Import { line, name, is_ours: true }).collect()
        };
        match head {
            "crate" | "quiver" if !is_continued => found.extend(ours(names_after(&code[at + 2..]))),
            "super" if code[..at + 2].ends_with(&"super::".repeat(depth)) => {
                found.extend(ours(names_after(&code[at + 2..])));
            }
            "" | "self" | "super" => {}
            name if !is_continued && !is_own_module(&code, name) => {
                found.push(Import { line, name: name.to_owned(), is_ours: false })
            }
            _ => {}
        }
    }
    found
}

/// Is `name::` in this file a module of ours that has the name of a crate?
fn is_own_module(code: &str, name: &str) -> bool {
    let forms = ["use crate::NAME;", "use crate::NAME::{self", "use super::NAME;", "mod NAME;"];
    forms.iter().any(|form| code.contains(&form.replace("NAME", name)))
}

/// The first words of what follows `crate::`: one, or those of a list in braces. Items of the crate's root have capitals.
fn names_after(text: &str) -> Vec<&str> {
    let word = |text: &'_ str| text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let Some(list) = text.strip_prefix('{') else {
        return vec![&text[..word(text)]].into_iter().filter(|name| *name != "super" && !name.is_empty()).collect();
    };
    let (mut names, mut depth, mut item_start) = (Vec::new(), 0, 0);
    for (at, character) in list.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' | ',' if depth == 0 => {
                let item = list[item_start..at].trim();
                names.extend((!item.is_empty()).then(|| &item[..word(item)]));
                item_start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// The text without comments and without the tests at its end; lines stay where they are.
fn shipped_code(text: &str) -> String {
    let is_test_module = |(at, mark): &(usize, &str)| {
        let declared = text[at + mark.len()..].lines().next().unwrap_or("");
        declared.contains("mod ") && declared.ends_with('{')
    };
    let end = text.match_indices(TEST_MARK).find(is_test_module).map_or(text.len(), |(at, _)| at);
    let lines = text[..end].lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.map(|line| line.split(" // ").next().unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

const TEST_MARK: &str = "#[cfg(test)]\n";

/// The files, without those of modules that are declared for tests only.
fn shipped_files(files: Vec<(PathBuf, String)>) -> Vec<(PathBuf, String)> {
    let mut test_modules: Vec<PathBuf> = Vec::new();
    for (path, text) in &files {
        let is_folder = path.file_stem().is_some_and(|stem| stem == "mod" || stem == "lib" || stem == "main");
        let folder = if is_folder { path.parent().expect("a folder").to_owned() } else { path.with_extension("") };
        for declared in text.split(TEST_MARK).skip(1).filter_map(|rest| rest.lines().next()) {
            test_modules
                .extend(declared.split_once("mod ").and_then(|(_, name)| Some(folder.join(name.strip_suffix(';')?))));
        }
    }
    let is_shipped = |path: &Path| !test_modules.iter().any(|module| path.with_extension("").starts_with(module));
    files.into_iter().filter(|(path, _)| is_shipped(path)).collect()
}

fn source_files(folder: &Path, files: &mut Vec<(PathBuf, String)>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(root.join(folder)).expect("a folder of sources") {
        let entry = entry.expect("an entry");
        let path = folder.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            source_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push((path.clone(), std::fs::read_to_string(root.join(&path)).expect("a source file")));
        }
    }
}

fn architecture() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    std::fs::read_to_string(page).expect("ARCHITECTURE.md")
}

#[test]
fn every_room_imports_only_what_the_table_allows() {
    let house = read_table(&architecture());
    let mut files = Vec::new();
    source_files(Path::new("src"), &mut files);
    let files = shipped_files(files);
    assert!(files.len() > 100, "only {} files were read", files.len());
    let found = violations(&house, &files);
    assert!(found.is_empty(), "the table in ARCHITECTURE.md does not allow this:\n{}", found.join("\n"));
}

const MADE_UP: &str = "
| layer | modules | may import | crates |
|---|---|---|---|
| – | `testing` | all | – |
| L2 | `serve` | ≤ L1 | `axum` `arrow_swap` |
| L1 | `decode` | ≤ L0 | `flate2` |
| L1 | `merge` | ≤ L0 | – |
| L0 | `model` | `error` | – |
| L0 | `error` | – | – |
";

#[test]
fn a_made_up_violation_is_found() {
    let house = read_table(MADE_UP);
    let check = |path: &str, text: &str| violations(&house, &[(PathBuf::from(path), text.to_owned())]);
    let allowed: Vec<(&str, &str)> = vec![
        (
            "src/serve/http/mod.rs",
            "use crate::decode::Json;\nuse axum::Router;\nuse crate::serve::http;\nuse std::fmt;",
        ),
        ("src/model/labels.rs", "use crate::error::Error;\nuse super::selector::x;\n// use crate::serve::Y;"),
        ("src/merge/mod.rs", "fn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::testing::Store;\n}"),
        ("src/decode/mod.rs", "use flate2::Decompress;\nuse anything_not_fenced::X;\nlet a = self::axum::X;"),
        ("src/testing/mod.rs", "use crate::serve::X;\nuse axum::Y;"),
        ("src/serve/mod.rs", "use crate::decode::X;\nmod flate2;\nuse flate2::X;"),
        ("src/serve/http/v1/query.rs", "use super::super::respond;"),
    ];
    for (path, text) in allowed {
        assert_eq!(check(path, text), Vec::<String>::new(), "{text}");
    }
    for (path, text, line, name) in [
        ("src/model/labels.rs", "\nuse crate::decode::X;", 2, "crate::decode"),
        ("src/error.rs", "use crate::model::X;", 1, "crate::model"),
        ("src/merge/mod.rs", "use crate::decode::X;", 1, "crate::decode"),
        ("src/merge/mod.rs", "use crate::{\n    error::Error,\n    decode::{Json, Gzip},\n};", 1, "crate::decode"),
        ("src/merge/deep/file.rs", "fn f() { crate::serve::x() }", 1, "crate::serve"),
        ("src/merge/deep/file.rs", "use super::super::super::serve::X;", 1, "crate::serve"),
        ("src/merge/mod.rs", "pub use super::decode::X;", 1, "crate::decode"),
        ("src/decode/mod.rs", "let r = axum::Router::new();", 1, "axum"),
        ("src/serve/mod.rs", "use flate2::Compress;", 1, "flate2"),
        ("src/serve/mod.rs", "use crate::testing::Store;", 1, "crate::testing"),
    ] {
        let found = check(path, text);
        let start = format!("{path}:{line}: `");
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&start) && found[0].contains(&format!("`{name}`")), "{text}: {found:?}");
    }
    assert_eq!(check("src/cellar/mod.rs", ""), ["src/cellar/mod.rs:1: `cellar` is not in the table"]);
}

#[test]
fn modules_for_tests_are_left_out() {
    let file = |path: &str, text: &str| (PathBuf::from(path), text.to_owned());
    let files = vec![
        file("src/a/mod.rs", "#[cfg(test)]\nmod only_for_tests;\nmod shipped;"),
        file("src/a/only_for_tests.rs", ""),
        file("src/a/only_for_tests/deep.rs", ""),
        file("src/a/shipped.rs", "#[cfg(test)]\nmod tests;"),
        file("src/a/shipped/tests.rs", ""),
        file("src/a/tests.rs", ""),
    ];
    let left: Vec<PathBuf> = shipped_files(files).into_iter().map(|(path, _)| path).collect();
    assert_eq!(left, ["src/a/mod.rs", "src/a/shipped.rs", "src/a/tests.rs"].map(PathBuf::from));
    assert_eq!(
        shipped_code("a\n#[cfg(test)]\nuse b;\n#[cfg(test)]\npub(crate) mod tests {\n c"),
        "a\n#[cfg(test)]\nuse b;"
    );
}
