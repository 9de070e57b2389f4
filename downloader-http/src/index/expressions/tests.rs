//! Pages read by expressions: the defaults of BioMAJ, groups and formats of dates, pages longer than a window.

use std::time::SystemTime;

use downloader_core::listing::Precision;
use downloader_core::listing::calendar::Civil;

use super::*;

fn parse(settings: &IndexExpressions, page: &[u8], piece: usize) -> Result<Vec<Line>> {
    let directory: SafeUrl = "http://h/pub/d/".parse().unwrap();
    let (mut matcher, mut lines) = (Matcher::new(settings.clone(), &directory), Vec::new());
    for piece in page.chunks(piece) {
        matcher.push(piece, &mut lines)?;
    }
    matcher.finish(&mut lines)?;
    Ok(lines)
}

/// Name, kind, size, whether that is rounded, time.
type Row = (String, EntryKind, Option<u64>, bool, Option<Modified>);

fn entries(settings: &IndexExpressions, page: &str) -> Vec<Row> {
    let one = parse(settings, page.as_bytes(), 1).unwrap();
    assert_eq!(one, parse(settings, page.as_bytes(), usize::MAX).unwrap(), "pieces do not matter");
    let told = |line: Line| {
        let entry = line.into_entry().unwrap();
        (entry.name().into_owned(), entry.kind, entry.size, entry.size_is_rounded, entry.modified)
    };
    one.into_iter().map(told).collect()
}

/// A fancy index as Apache 2.2 wrote it.
const FANCY: &str = r#"<html><head><title>Index of /pub/d</title></head><body>
<pre><img src="/icons/back.gif" alt="[DIR]"> <a href="/pub/">Parent Directory</a>                             -
<img src="/icons/folder.gif" alt="[DIR]"> <a href="deep/">deep/</a>      02-Jan-2024 15:04    -
<img src="/icons/unknown.gif" alt="[   ]"> <a href="a%20b.gz">a b.gz</a>     02-Jan-2024 15:04  1.2K
<img src="/icons/unknown.gif" alt="[   ]"> <a href="exact">exact</a>         02-Jan-2024 15:04   17
<img src="/icons/unknown.gif" alt="[   ]"> <a href="unknown">unknown</a>     02-Jan-2024 15:04    -
<img src="/icons/text.gif" alt="[TXT]"> <a href="README">README</a>          02-Jan-2024 15:04    5
</pre></body></html>
"#;

fn at(precision: Precision) -> Option<Modified> {
    let day = Civil::day(2024, 1, 2);
    let at = if precision == Precision::Day { day } else { day.at(15, 4, 0) };
    Some(Modified::local(at.time().unwrap(), precision))
}

/// biomaj 11, 12 and 15: rows with a blank icon are files, others are not; `1.2K` is 1200, `-` is not known.
#[test]
fn biomaj_11_12_and_15_the_default_expressions() {
    let minute = at(Precision::Minute);
    assert_eq!(
        entries(&IndexExpressions::new(), FANCY),
        [
            ("deep".into(), EntryKind::Directory, None, false, minute),
            ("a b.gz".into(), EntryKind::File, Some(1200), true, minute),
            ("exact".into(), EntryKind::File, Some(17), false, minute),
            ("unknown".into(), EntryKind::File, None, false, minute),
        ]
    );
}

/// biomaj 13 and 14: groups that are not there, and a format of one's own.
#[test]
fn biomaj_13_and_14_groups_and_formats() {
    let page = "<a href='x'>x</a> size 5, 2024/01/02\n<a href='y'>y</a> size 1.5M, 2024/99/02\n";
    let settings = IndexExpressions::new()
        .file_line(r"href='(\w+)'.*?size (\S+), (\S+)")
        .unwrap()
        .file_groups(1, Some(3), Some(2))
        .file_date_format("%%Y/%%m/%%d")
        .unwrap();
    assert_eq!(
        entries(&settings, page),
        [
            ("x".into(), EntryKind::File, Some(5), false, at(Precision::Day)),
            ("y".into(), EntryKind::File, Some(1_500_000), true, None),
        ]
    );
    let without = settings.file_groups(1, None, None);
    assert_eq!(entries(&without, page)[0], ("x".into(), EntryKind::File, None, false, None));
    let (name, _, size, _, modified) = entries(&without.fill_in(), page).remove(0);
    let age = SystemTime::now().duration_since(modified.unwrap().time).unwrap();
    assert_eq!((&*name, size, age.as_secs() < 2 * 86_400), ("x", Some(0), true));
}

#[test]
fn a_page_without_a_match_or_without_its_end_is_no_listing() {
    let settings = IndexExpressions::new();
    let kind = |page: &str| parse(&settings, page.as_bytes(), 10).unwrap_err().kind();
    assert_eq!(kind("<html>sign in</html>"), ErrorKind::Protocol);
    assert_eq!(kind(&FANCY[..FANCY.len() - 20]), ErrorKind::Truncated);
    // A name that is missing from a match is reported.
    let settings = settings.file_line("(a)|b").unwrap().file_groups(1, None, None);
    assert!(matches!(parse(&settings, b"b\n", 1).unwrap()[..], [Line::Unreadable(_)]));
    assert!(IndexExpressions::new().directory_line("(").is_err());
}

/// Longer than a window: every row once, whatever the pieces, and no more held than a window.
#[test]
fn a_long_page_is_gone_through_in_windows() {
    let rows: Vec<_> = (0..20_000)
        .map(|row| format!("<a\nhref=\"f{row:05}\">é</a> some text to fill the row with\n"))
        .collect();
    let page = rows.concat();
    assert!(page.len() > 3 * WINDOW);
    let settings =
        IndexExpressions::new().file_line("<a\\s+href=\"([^\"]+)\"").unwrap().file_groups(1, None, None);
    let directory: SafeUrl = "http://h/pub/d/".parse().unwrap();
    for piece in [777, 100_000] {
        let (mut matcher, mut lines) = (Matcher::new(settings.clone(), &directory), Vec::new());
        for piece in page.as_bytes().chunks(piece) {
            matcher.push(piece, &mut lines).unwrap();
            assert!(matcher.window.len() <= WINDOW + LONGEST_MATCH);
        }
        matcher.finish(&mut lines).unwrap();
        let names: Vec<_> =
            lines.into_iter().map(|line| line.into_entry().unwrap().name().into_owned()).collect();
        assert!(names.iter().enumerate().all(|(row, name)| *name == format!("f{row:05}")));
        assert_eq!(names.len(), 20_000);
    }
}
