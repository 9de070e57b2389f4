//! A text that is kept beside the tests and compared with what they find.
//!
//! Owns the form of the file: sections, each under a line of its own. Invariant: it is written only if `UPDATE_GOLDEN` is set. Must not
//! know what a section says.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

/// Tests of one program run side by side and write to one file.
static WRITING: Mutex<()> = Mutex::new(());

const MARK: &str = "######## ";

/// Compares a section of a golden file, or replaces it.
#[track_caller]
pub(crate) fn compare(file: &str, section: &str, found: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(file);
    let guard = WRITING.lock().unwrap();
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let mut sections: Vec<(String, String)> = kept
        .split(MARK)
        .filter_map(|text| text.split_once('\n'))
        .map(|(name, text)| (name.to_owned(), text.to_owned()))
        .collect();
    let place = sections.iter().position(|(name, _)| name == section);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let place = place.unwrap_or_else(|| {
            sections.push((section.to_owned(), String::new()));
            sections.len() - 1
        });
        found.clone_into(&mut sections[place].1);
        sections.sort();
        let text: String = sections.iter().map(|(name, text)| format!("{MARK}{name}\n{text}")).collect();
        fs::write(&path, text).unwrap();
        return;
    }
    drop(guard);
    let expected = place.map_or("", |place| sections[place].1.as_str());
    let differing = expected.lines().zip(found.lines()).position(|(kept, found)| kept != found);
    let at = differing.unwrap_or_else(|| expected.lines().count().min(found.lines().count()));
    let around =
        |text: &str| text.lines().skip(at.saturating_sub(6)).take(10).collect::<Vec<_>>().join("\n  ");
    assert!(
        expected == found,
        "{} differs in `{section}` at line {} of the section:\n  {}\nwas expected, found was\n  {}\n(UPDATE_GOLDEN=1 writes it anew)",
        path.display(),
        at + 1,
        around(expected),
        around(found)
    );
}
