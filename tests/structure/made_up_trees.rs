//! The rules and the parser are tested on trees that are made up here.

use std::collections::BTreeMap;

use super::rules::{
    MAX_COLUMNS, MAX_FILE_LINES, circles, columns_by_number, long_files, long_lines, private_words, types_of_one_name,
    upward_uses,
};
use super::source_tree::{SourceTree, Uses};

fn uses(files: &[(&str, &str)]) -> Uses {
    let texts = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    SourceTree::parse(&texts).uses()
}

fn names(used: &BTreeMap<String, String>) -> Vec<&str> {
    used.keys().map(String::as_str).collect()
}

#[test]
fn a_circle_is_found() {
    let uses = uses(&[
        ("src/lib.rs", "pub mod store; pub mod domain;"),
        ("src/store/mod.rs", "mod a; mod b; pub use a::A;"),
        ("src/store/a.rs", "use super::b::B; pub struct A(B);"),
        ("src/store/b.rs", "pub struct B; fn f() { let _ = crate::store::A; }"),
        ("src/domain.rs", ""),
    ]);
    let found = circles(&uses);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("src/store/a.rs uses store::b::B of src/store/b.rs"), "{found:?}");
    assert!(found[0].contains("src/store/b.rs uses store::A of src/store/a.rs"), "{found:?}");
}

#[test]
fn a_child_that_imports_from_its_parent_makes_a_circle() {
    let uses = uses(&[
        ("src/lib.rs", "mod store;"),
        ("src/store/mod.rs", "mod a; pub struct Shared; fn f() { a::run() }"),
        ("src/store/a.rs", "use super::Shared; pub fn run() { let _ = Shared; }"),
    ]);
    assert_eq!(circles(&uses).len(), 1);
}

#[test]
fn re_exports_are_followed_to_the_file_of_the_item() {
    let uses = uses(&[
        ("src/lib.rs", "mod store; mod domain;"),
        ("src/store/mod.rs", "use crate::domain::{self, deep::*, Renamed as R}; fn f() { domain::plain(); Deep; R; }"),
        ("src/domain/mod.rs", "mod one; pub mod deep; pub use one::{Original as Renamed, plain};"),
        ("src/domain/one.rs", "pub struct Original; pub fn plain() {}"),
        ("src/domain/deep.rs", "pub use super::two::Two; pub struct Deep;"),
    ]);
    assert_eq!(names(&uses["src/store/mod.rs"]), ["src/domain/deep.rs", "src/domain/one.rs"]);
    assert_eq!(names(&uses["src/domain/mod.rs"]), ["src/domain/one.rs"]);
    assert!(circles(&uses).is_empty());
}

#[test]
fn macros_attributes_and_function_bodies_count_and_tests_and_comments_do_not() {
    let uses = uses(&[
        ("src/lib.rs", "mod a; mod b; mod c; mod d; mod e; #[cfg(test)] mod only_tests;"),
        (
            "src/a.rs",
            "use crate::c as seed;
             /// See [`crate::e::E`].
             #[derive(Debug)] #[arg(value_parser = seed::parse())] struct A;
             fn f() { println!(\"{}\", crate::b::B); { use crate::d::D; } }
             #[cfg(test)] mod tests { use crate::e::E; }",
        ),
        ("src/b.rs", "pub struct B;"),
        ("src/c.rs", "pub fn parse() {}"),
        ("src/d.rs", "pub struct D;"),
        ("src/e.rs", "pub struct E;"),
        ("src/only_tests.rs", "use crate::a::A;"),
    ]);
    assert_eq!(names(&uses["src/a.rs"]), ["src/b.rs", "src/c.rs", "src/d.rs"]);
    assert!(!uses.contains_key("src/only_tests.rs"));
}

#[test]
fn a_use_that_points_up_is_found() {
    let uses = uses(&[
        ("src/lib.rs", "mod store; mod resolver; mod verify; mod bench; mod cellar;"),
        ("src/store/mod.rs", "use crate::resolver::R;"),
        ("src/resolver.rs", "use crate::store; pub struct R; fn f() { super::store::g() }"),
        ("src/verify.rs", "use crate::bench::B;"),
        ("src/bench.rs", "pub struct B;"),
        ("src/cellar.rs", ""),
    ]);
    let found = upward_uses(&uses);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[0].contains("src/cellar.rs: its module is not in LAYERS"), "{found:?}");
    assert!(found[1].starts_with("src/store/mod.rs uses resolver::R of src/resolver.rs"), "{found:?}");
    assert!(found[2].starts_with("src/verify.rs uses bench::B of src/bench.rs"), "{found:?}");
}

#[test]
fn long_files_long_lines_and_private_words_are_found() {
    let long = "a".repeat(MAX_COLUMNS + 1);
    let texts = BTreeMap::from([
        ("src/long.rs".to_owned(), "\n".repeat(MAX_FILE_LINES + 1)),
        ("tests/long.rs".to_owned(), "\n".repeat(MAX_FILE_LINES + 2)),
        ("src/wide.rs".to_owned(), format!("{}\n{}", "ä".repeat(MAX_COLUMNS), long)),
        ("README.md".to_owned(), "An outdoor path; the same, of it.\nThe Door, open_doors.\nAs  far as.".to_owned()),
        ("docs/wide.md".to_owned(), format!("{long}\n```\n{long}\n```\n|{long}\n{long}")),
    ]);
    assert_eq!(long_files(&texts), ["src/long.rs: 401 lines", "tests/long.rs: 402 lines"]);
    assert_eq!(
        long_lines(&texts),
        ["docs/wide.md:1: 121 columns", "docs/wide.md:6: 121 columns", "src/wide.rs:2: 121 columns"]
    );
    assert_eq!(private_words(&texts), ["README.md:2: door", "README.md:3: as far as"]);
}

#[test]
fn two_visible_types_of_one_name_in_a_folder_are_found() {
    let texts = [
        ("src/store/a.rs", "pub struct Row; pub(super) enum Kind {} struct Private; pub fn f() {} pub use x::Used;"),
        ("src/store/deep/b.rs", "pub(in crate::store) type Row = u8; struct Private; // pub enum Kind {}"),
        ("src/store/deep/c.rs", "pub(crate) trait Kind {} pub struct Used; pub struct Model; "),
        ("src/store/d.rs", "pub struct Model;"),
        ("src/domain.rs", "pub struct Row;"),
    ];
    let texts = texts.map(|(path, text)| (path.to_owned(), text.to_owned())).into();
    assert_eq!(
        types_of_one_name(&texts),
        ["Kind: src/store/a.rs, src/store/deep/c.rs", "Row: src/store/a.rs, src/store/deep/b.rs"]
    );
}

#[test]
fn a_column_that_is_read_by_a_number_is_found() {
    let found = |text: &str| columns_by_number(&[("src/store/a.rs".to_owned(), text.to_owned())].into());
    assert_eq!(found("fn f() { row.try_get_by_index(1)? }"), ["src/store/a.rs: try_get_by_index of column 1"]);
    assert_eq!(found("fn f() { row.try_get_by_index::<Option<(i64, u8)>>(12)? }").len(), 1);
    assert_eq!(found("fn f() { moment(&row, first + 2)? }").len(), 1);
    assert_eq!(found("fn f() { check_is_primary(engine, row, 3)?; row.try_get(2) }").len(), 2);
    for text in [
        "fn f() { row.try_get_by_index(0)? }",
        "fn f() { row.try_get_by_index::<i64>(Column::Id as usize)? == 1 }",
        "fn f() { moment(row, first + Column::Now as usize)?; other(7) }",
        "use rows::moment; fn moment(text: &str) -> u8 { 7 }",
    ] {
        assert!(found(text).is_empty(), "{text}");
    }
}
