//! The pages of every server, whole, cut and damaged, and pages that are none of theirs.

use downloader_core::SafeUrl;
use downloader_core::listing::Precision;
use downloader_core::listing::calendar::Civil;
use proptest::prelude::*;

use super::*;

fn parse(page: &[u8], piece: usize) -> (Vec<Line>, Result<()>) {
    let directory: SafeUrl = "http://h/pub/d/".parse().unwrap();
    let (mut html, mut lines) = (Html::new(&directory), Vec::new());
    for piece in page.chunks(piece) {
        if let Err(error) = html.push(piece, &mut lines) {
            return (lines, Err(error));
        }
    }
    let ended = html.finish(&mut lines);
    (lines, ended)
}

fn whole(page: &[u8]) -> Vec<Entry> {
    let (lines, ended) = parse(page, 1000);
    ended.unwrap();
    lines.into_iter().map(|line| line.into_entry().unwrap()).collect()
}

const SAMPLES: [(&str, &[u8]); 7] = [
    ("Apache, fancy", include_bytes!("../samples/apache_fancy.html")),
    ("Apache, table", include_bytes!("../samples/apache_table.html")),
    ("Apache, plain", include_bytes!("../samples/apache_plain.html")),
    ("nginx", include_bytes!("../samples/nginx.html")),
    ("lighttpd", include_bytes!("../samples/lighttpd.html")),
    ("Caddy", include_bytes!("../samples/caddy.html")),
    ("Go", include_bytes!("../samples/go.html")),
];

#[test]
fn the_index_of_every_server_is_read() {
    for (server, page) in SAMPLES {
        let mut entries = whole(page);
        entries.sort_by(|a, b| a.raw_name().cmp(b.raw_name()));
        let shown: Vec<_> = entries.iter().map(|entry| (entry.name(), entry.kind)).collect();
        assert_eq!(
            shown.iter().map(|(name, kind)| (&**name, *kind)).collect::<Vec<_>>(),
            [
                ("a b#c?d%.txt", EntryKind::File),
                ("deep", EntryKind::Directory),
                ("large.gz", EntryKind::File),
                ("quote\"&'.txt", EntryKind::File),
            ],
            "{server}"
        );
        let directory = "http://h/pub/d/".parse().unwrap();
        let url = |at: usize| entries[at].url(&directory).unwrap();
        assert!(url(0).path().eq_ignore_ascii_case("/pub/d/a%20b%23c%3Fd%25.txt"), "{server}: {}", url(0));
        assert_eq!(url(1).path(), "/pub/d/deep/", "{server}");
    }
}

#[test]
fn sizes_and_times_are_as_exact_as_they_were_told() {
    let at = Civil::day(2024, 1, 2).at(15, 4, 0);
    let minute = |zoned| Modified { time: at.time().unwrap(), precision: Precision::Minute, zoned };
    let second =
        |zoned| Modified { time: at.at(15, 4, 5).time().unwrap(), precision: Precision::Second, zoned };
    for (server, page) in SAMPLES {
        let entries = whole(page);
        let large = entries.iter().find(|entry| entry.name() == "large.gz").unwrap();
        let (size, is_rounded, modified) = match server {
            "Apache, plain" | "Go" => (None, false, None),
            "Apache, fancy" | "Apache, table" => (Some(1200), true, Some(minute(false))),
            "nginx" => (Some(1234), false, Some(minute(false))),
            "lighttpd" => (Some(1200), true, Some(second(false))),
            _ => (Some(1234), false, Some(second(true))),
        };
        assert_eq!(
            (large.size, large.size_is_rounded, large.modified),
            (size, is_rounded, modified),
            "{server}"
        );
        let deep = entries.iter().find(|entry| entry.name() == "deep").unwrap();
        assert_eq!((deep.size, deep.modified), (None, modified), "{server}");
    }
}

#[test]
fn a_page_that_is_cut_anywhere_is_not_whole() {
    for (server, page) in SAMPLES {
        let all = parse(page, 1000).0;
        // What closes the body is the end; behind it comes nothing that counts.
        let end = [&b"</body>"[..], b"</pre>\n"].into_iter().find_map(|tag| {
            page.windows(tag.len())
                .rposition(|window| window == tag)
                .map(|at| at + tag.trim_ascii_end().len())
        });
        for cut in 1..end.unwrap() {
            let (lines, ended) = parse(&page[..cut], 100);
            let ended = ended.err().unwrap_or_else(|| panic!("{server}: cut at byte {cut}"));
            assert!(all.starts_with(&lines), "{server}: {cut}");
            assert!(
                matches!(ended.kind(), ErrorKind::Truncated | ErrorKind::Protocol),
                "{server}: {ended:?}"
            );
        }
    }
}

#[test]
fn what_is_no_index_is_an_error() {
    let page = |body: &str| format!("<html><head><title>Not here</title></head><body>{body}</body></html>");
    for (page, why) in [
        (include_str!("../samples/login.html").to_owned(), "password"),
        (page("<h1>404 Not Found</h1> <a href=\"home\">home</a>"), "no index"),
        (page("nothing at all"), "no index"),
        (page(&"<a href=x>x</a><a href=y>y</a>".repeat(900)), "no index"),
        ("<?xml version=\"1.0\"?><ListBucketResult></ListBucketResult>".to_owned(), "no index"),
        (page("<h1>Index of /pub/d</h1><a href='/pub/d/q/x'>x</a>"), "slash missing"),
    ] {
        let (lines, ended) = parse(page.as_bytes(), 50);
        let error = ended.unwrap_err();
        assert!(error.kind() == ErrorKind::Protocol && error.what().contains(why), "{error}: {page}");
        assert_eq!(lines, [], "{page}");
    }
    // An index without entries is one.
    assert_eq!(whole(page("<h1>Index of /pub/d</h1>").as_bytes()), []);
    assert_eq!(whole(b"<pre>\n</pre>\n"), []);
}

#[test]
fn what_cannot_be_read_is_reported() {
    let page = format!(
        "<html><h1>Index of /</h1><a href=\"a%2fb\">x</a><a href=\"{}\">y</a> <a href=ok>ok</a></html>",
        "z".repeat(20_000)
    );
    let (lines, ended) = parse(page.as_bytes(), 7);
    ended.unwrap();
    let kinds: Vec<_> = lines.iter().map(|line| matches!(line, Line::Unreadable(_))).collect();
    assert_eq!(kinds, [true, true, false]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Pieces of any size give the same lines and the same end.
    #[test]
    fn pieces_do_not_matter(which in 0..SAMPLES.len(), piece in 1_usize..200, flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut page = SAMPLES[which].1.to_vec();
        for (at, byte) in flips {
            let at = at.index(page.len());
            page[at] = byte;
        }
        let ((one, end_of_one), (other, end_of_other)) = (parse(&page, piece), parse(&page, usize::MAX));
        let kind = |ended: Result<()>| ended.map_err(|error| error.kind());
        prop_assert_eq!(kind(end_of_one), kind(end_of_other));
        prop_assert_eq!(one, other);
    }
}
