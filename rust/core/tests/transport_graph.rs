//! The files of the transport import each other in one direction: who reads one of them need not know those above it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// The files that a source names after `super::`, alone or as the first of a list in braces.
fn imports(source: &str, files: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in source.match_indices("super::") {
        let rest = &source[at + "super::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split_once("};").map_or(list, |(list, _)| list),
            None => rest.split_once([';', '(', ' ']).map_or(rest, |(path, _)| path),
        };
        let words = list.split(|character: char| !character.is_alphanumeric() && character != '_');
        found.extend(words.filter(|word| files.contains(*word)).map(str::to_owned));
    }
    found
}

#[test]
fn transport_files_import_each_other_in_one_direction() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/transport");
    let sources: BTreeMap<String, String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .filter(|(name, _)| name != "mod")
        .collect();
    let files: BTreeSet<String> = sources.keys().cloned().collect();
    let mut left: BTreeMap<&String, BTreeSet<String>> =
        sources.iter().map(|(name, source)| (name, imports(source, &files))).collect();
    let of = |name: &str| left.get(&name.to_owned()).unwrap().clone();
    assert!(
        of("dial").contains("proxies") && of("proxies").contains("proxy") && of("proxy").contains("tcp"),
        "{left:?}"
    );
    // Take away what imports nothing that is left, until nothing is left.
    while !left.is_empty() {
        let leaves: Vec<String> =
            left.iter().filter(|(_, imports)| imports.is_empty()).map(|(name, _)| (*name).clone()).collect();
        assert!(!leaves.is_empty(), "a circle: {left:?}");
        for leaf in &leaves {
            left.remove(leaf);
        }
        for imports in left.values_mut() {
            imports.retain(|import| !leaves.contains(import));
        }
    }
}
