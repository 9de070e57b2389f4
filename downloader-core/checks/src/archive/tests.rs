//! Archives of every kind: whole, in any pieces, damaged, cut, extended, empty, and larger than they look.

use std::fmt::Write as _;
use std::io::Write;
use std::sync::OnceLock;

use proptest::prelude::*;

use self::make::*;
use super::*;

mod make;

fn run(test: &ArchiveTest, content: &[u8], pieces: usize) -> Result<Evidence> {
    let mut check = test.start();
    for chunk in content.chunks(pieces.max(1)) {
        check.update(chunk)?;
    }
    check.finish()
}

fn test(kind: &str, content: &[u8]) -> Result<Evidence> {
    run(&ArchiveTest::new(kind.parse().unwrap()), content, 4096)
}

fn failure(kind: &str, content: &[u8]) -> String {
    let error = test(kind, content).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity, "{kind}: {error}");
    error.what().to_owned()
}

const COMPRESSIONS: [Compression; 4] =
    [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd];

fn text() -> Vec<u8> {
    let mut text = String::new();
    for line in 0..4000u32 {
        let _ = writeln!(text, "{line} {}", line.wrapping_mul(2_654_435_761));
    }
    text.into_bytes()
}

/// One of every kind, with the kind; made once.
fn samples() -> Vec<(String, Vec<u8>)> {
    static MADE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    MADE.get_or_init(make_samples).clone()
}

fn make_samples() -> Vec<(String, Vec<u8>)> {
    let tar = tar(&[("a", b"first"), ("folder/b", &text())]);
    let mut all =
        vec![("tar".to_owned(), tar.clone()), ("zip".to_owned(), zip(&[("a", &text()), ("b", b"")]))];
    for compression in COMPRESSIONS {
        all.push((compression.ending().to_owned(), compress(compression, &text())));
        all.push((format!("tar.{}", compression.ending()), compress(compression, &tar)));
    }
    all
}

// biomaj 49: plain bz2, xz and zst are really tested.
#[test]
fn whole_archives_pass_by_their_kind_and_by_content() {
    for (kind, content) in samples() {
        for pieces in [1, 977, content.len()] {
            let evidence = run(&ArchiveTest::new(kind.parse().unwrap()), &content, pieces).unwrap();
            assert_eq!(&*evidence.check, "archive");
            assert!(evidence.value.starts_with(&format!("{kind}: ")), "{kind}: {}", evidence.value);
            let by_content = run(&ArchiveTest::by_content(), &content, pieces).unwrap();
            assert_eq!(by_content.value, evidence.value);
        }
    }
    let evidence = test("tar.gz", &compress(Compression::Gzip, &tar(&[("a", b"x"), ("b", b"y")]))).unwrap();
    assert_eq!(&*evidence.value, "tar.gz: 2 entries, 3072 bytes");
}

// biomaj 47.
#[test]
fn what_is_cut_is_damaged_wherever() {
    for (kind, content) in samples() {
        for at in (0..content.len()).step_by(content.len() / 29 + 1) {
            // Of a tar the end mark has more zeros than are needed.
            if kind != "tar" || content[at..].iter().any(|byte| *byte != 0) {
                failure(&kind, &content[..at]);
            }
        }
        failure(&kind, &content[..content.len() - if kind == "tar" { 1024 } else { 1 }]);
    }
}

#[test]
fn nothing_at_all_is_no_archive() {
    for (kind, _) in samples() {
        assert!(failure(&kind, b"").contains("is empty"), "{kind}");
    }
    for compression in COMPRESSIONS {
        let nothing = compress(compression, b"");
        assert!(test(compression.ending(), &nothing).is_ok());
        assert!(failure(&format!("tar.{}", compression.ending()), &nothing).contains("tar: it is empty"));
    }
    assert_eq!(failure("zip", &zip(&[])), "archive: zip: it has no entry");
    assert_eq!(&*test("tar", &tar(&[])).unwrap().value, "tar: 0 entries, 1024 bytes");
    assert!(run(&ArchiveTest::by_content(), b"", 1).is_err());
}

#[test]
fn several_members_are_one_content() {
    for compression in COMPRESSIONS {
        let (a, b) = (compress(compression, b"first"), compress(compression, b"second"));
        let both = [a.clone(), b.clone()].concat();
        let evidence = test(compression.ending(), &both).unwrap();
        assert_eq!(&*evidence.value, format!("{}: 11 bytes", compression.ending()));
        // The second is as important as the first.
        let mut wrong = both.clone();
        let at = both.len() - 6;
        wrong[at] ^= 0x55;
        failure(compression.ending(), &wrong);
        failure(compression.ending(), &both[..both.len() - 3]);
    }
}

#[test]
fn behind_the_end_there_may_be_padding_only() {
    for (compression, zeros) in [(Compression::Gzip, 7), (Compression::Bzip2, 7), (Compression::Xz, 8)] {
        let whole = compress(compression, &text());
        assert!(test(compression.ending(), &[&whole[..], &vec![0; zeros]].concat()).is_ok());
        failure(compression.ending(), &[&whole[..], &vec![0; zeros], b"x"].concat());
    }
    for (kind, content) in samples().into_iter().filter(|(kind, _)| kind != "tar") {
        failure(&kind, &[&content[..], b"<html>"].concat());
    }
}

#[test]
fn what_is_of_another_kind_fails() {
    for (kind, content) in samples() {
        for (other, _) in samples() {
            let outer = |kind: &str| kind.rsplit('.').next().unwrap().to_owned();
            if outer(&kind) != outer(&other) {
                failure(&other, &content);
            }
        }
        failure(&kind, b"<html><body>Please sign in</body></html>");
    }
    let page = run(&ArchiveTest::by_content(), b"<html>", 2).unwrap_err();
    assert_eq!(page.what(), "archive: content: it begins like no archive that is known");
}

#[test]
fn a_name_without_a_kind_is_no_test_and_says_so() {
    let evidence = run(&ArchiveTest::named("a.txt"), b"anything", 3).unwrap();
    let warning = evidence.warning.unwrap();
    assert_eq!(warning.kind(), ErrorKind::Unsupported);
    assert!(warning.what().contains("no kind that can be tested"), "{warning}");
    assert!(run(&ArchiveTest::named("a.GZ"), b"anything", 3).is_err());
}

#[test]
fn bombs_go_off_within_their_limits() {
    for compression in COMPRESSIONS {
        let bomb = compress(compression, &vec![0; 10 << 20]).repeat(7);
        let error = test(compression.ending(), &bomb).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{compression:?}: {error}");
        assert_eq!(error.what(), "archive: it makes more than 250 times the bytes that came");
        let limits = Limits::default().bytes(1 << 20);
        let test = ArchiveTest::by_content().limits(limits);
        let error = run(&test, &bomb, 4096).unwrap_err();
        assert_eq!(error.what(), "archive: it makes more than 1048576 bytes");
    }
    let zeros = vec![0; 10 << 20];
    let bomb = zip(&["a", "b", "c", "d", "e", "f", "g"].map(|name| (name, &zeros[..])));
    assert_eq!(test("zip", &bomb).unwrap_err().kind(), ErrorKind::Refused);
    let many: Vec<_> = (0..20).map(|n| (n.to_string(), Vec::new())).collect();
    let many: Vec<_> = many.iter().map(|(name, content)| (name.as_str(), &content[..])).collect();
    for content in [tar(&many), zip(&many)] {
        let test = ArchiveTest::by_content().limits(Limits::default().entries(19));
        assert_eq!(run(&test, &content, 4096).unwrap_err().what(), "archive: more than 19 entries");
    }
    let mut deep = b"core".to_vec();
    for _ in 0..4 {
        deep = compress(Compression::Gzip, &deep);
    }
    let error = run(&ArchiveTest::by_content(), &deep, 100).unwrap_err();
    assert_eq!(error.what(), "archive: more than 3 compressions, one in the other");
    assert!(run(&ArchiveTest::by_content().limits(Limits::default().depth(4)), &deep, 100).is_ok());
}

#[test]
fn a_dictionary_beyond_the_limit_is_refused() {
    let content = text();
    for compression in [Compression::Xz, Compression::Zstd] {
        let test = ArchiveTest::by_content().limits(Limits::default().memory(1 << 10));
        let error = run(&test, &compress(compression, &content), 4096).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Refused, "{compression:?} {error}");
    }
}

#[test]
fn tars_of_other_writers() {
    // A long name, an extended header with a size, a sparse map, a hard link that says a size.
    let mut content = header("././@LongLink", 600, b'L');
    content.extend(block(&[b'n'; 600]));
    content.extend(header("short", 3, b'0'));
    content.extend(block(b"abc"));
    let told = b"13 size=1000\n";
    content.extend(header("pax", told.len() as u64, b'x'));
    content.extend(block(told));
    content.extend(header("large", 0, b'0'));
    content.extend(block(&[1; 1000]));
    content.extend(header("link", 4096, b'1'));
    content.extend(header("folder/", 0, b'5'));
    let mut sparse = header("sparse", 5, b'S');
    sparse[482] = 1;
    checksum(&mut sparse);
    content.extend(sparse);
    let mut map = vec![0; 512];
    map[504] = 0;
    content.extend(map);
    content.extend(block(b"12345"));
    // One block of zeros, and something that fills the record.
    content.extend([0; 512]);
    content.extend([7; 100]);
    let evidence = test("tar", &content).unwrap();
    assert_eq!(&*evidence.value, format!("tar: 5 entries, {} bytes", content.len()));
    content[600 + 512 + 512 + 3] ^= 1;
    failure("tar", &content);
}

#[test]
fn zips_of_other_writers() {
    let text = text();
    for form in [
        Form::Stored,
        Form::Descriptor,
        Form::DescriptorWithoutSignature,
        Form::Wide,
        Form::WideDescriptor,
        Form::Zstd,
        Form::Bzip2,
    ] {
        let content = zip_of(&[("a", &text), ("b/c", b"short")], form);
        for pieces in [1, 1000] {
            let evidence = run(&ArchiveTest::new(ArchiveKind::Zip), &content, pieces);
            let evidence = evidence.unwrap_or_else(|error| panic!("{form:?}: {error}"));
            assert_eq!(&*evidence.value, format!("zip: 2 entries, {} bytes", text.len() + 5), "{form:?}");
        }
        let mut wrong = content.clone();
        wrong[40] ^= 4;
        assert!(test("zip", &wrong).is_err(), "{form:?}");
    }
}

#[test]
fn what_cannot_be_tested_is_told_and_passes_only_if_asked_to() {
    for (form, what) in
        [(Form::Encrypted, "an entry is encrypted"), (Form::Unknown, "an entry has method 14")]
    {
        let content = zip_of(&[("a", b"secret"), ("b", b"more")], form);
        let error = test("zip", &content).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.what(), format!("archive: cannot be tested: zip: {what}"));
        let lenient = ArchiveTest::new(ArchiveKind::Zip).accept_untestable();
        let evidence = run(&lenient, &content, 5).unwrap();
        assert_eq!(evidence.warning.unwrap().what(), error.what());
        // What can be tested still is.
        let cut = &content[..content.len() - 1];
        assert_eq!(run(&lenient, cut, 5).unwrap_err().kind(), ErrorKind::Integrity);
    }
}

#[test]
fn a_directory_that_says_otherwise_is_found() {
    let content = zip(&[("a", b"first"), ("b", b"second")]);
    let at = content.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    for change in [at + 10, at + 16, at + 20, at + 24, at + 42, at + 46] {
        let mut wrong = content.clone();
        wrong[change] ^= 1;
        failure("zip", &wrong);
    }
    // A block of signatures in front of the directory, as Android packages have one.
    let mut signed = content[..at].to_vec();
    signed.extend(b"APK Sig Block 42");
    signed.extend(&content[at..]);
    // Behind it is a comment of seven bytes.
    let end = signed.len() - 29 + 16;
    signed[end..end + 4].copy_from_slice(&(at as u32 + 16).to_le_bytes());
    assert!(test("zip", &signed).is_ok(), "{:?}", test("zip", &signed));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn pieces_do_not_matter(sample in 0usize..10, cuts in proptest::collection::vec(1usize..3000, 1..40), flip in any::<Option<(prop::sample::Index, u8)>>()) {
        let (_, mut content) = samples().swap_remove(sample);
        if let Some((at, change)) = flip {
            let at = at.index(content.len());
            content[at] ^= change;
        }
        let whole = run(&ArchiveTest::by_content(), &content, content.len());
        let mut check = ArchiveTest::by_content().start();
        let (mut rest, mut cuts, mut failed) = (&content[..], cuts.iter().cycle(), None);
        while !rest.is_empty() && failed.is_none() {
            let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
            failed = check.update(now).err();
            rest = later;
        }
        let split = failed.map_or_else(|| check.finish(), Err);
        let shown = |verdict: Result<Evidence>| verdict.map(|evidence| evidence.value).map_err(|error| error.kind());
        prop_assert_eq!(shown(whole), shown(split));
    }

    /// Where there is a checksum, no change of the data passes; what passes decodes to the same.
    #[test]
    fn damage_never_passes(compression in 0usize..4, at in any::<prop::sample::Index>(), change in 1u8..) {
        let compression = COMPRESSIONS[compression];
        let (content, ending) = (text(), compression.ending());
        let mut wrong = compress(compression, &content);
        let at = at.index(wrong.len());
        wrong[at] ^= change;
        if test(ending, &wrong).is_ok() {
            prop_assert!(decompress(compression, &wrong) == content, "byte {at}");
        }
    }

    #[test]
    fn damage_of_a_zip_never_passes(at in any::<prop::sample::Index>(), change in 1u8..) {
        let content = zip(&[("a", &text())]);
        let mut wrong = content.clone();
        // Data only: dates and attributes have no checksum, nor have the bits that fill the last byte.
        let data = 31..content.windows(4).position(|window| window == b"PK\x01\x02").unwrap() - 1;
        let at = data.start + at.index(data.len());
        wrong[at] ^= change;
        prop_assert!(test("zip", &wrong).is_err(), "byte {at}");
    }
}

/// Nothing else than what it says is made of a content.
fn decompress(compression: Compression, content: &[u8]) -> Vec<u8> {
    let mut decoder = compression.decoder(&Limits::default());
    let (mut made, mut buffer, mut rest) = (Vec::new(), vec![0; 1 << 16], content);
    loop {
        let step = decoder.step(rest, &mut buffer).unwrap();
        rest = &rest[step.taken..];
        made.write_all(&buffer[..step.made]).unwrap();
        if step.taken == 0 && step.made == 0 {
            break;
        }
    }
    made
}
