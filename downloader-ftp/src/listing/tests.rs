//! Listings of many systems, as they were seen; and what must hold of any bytes.

use std::time::{Duration, UNIX_EPOCH};

use downloader_core::listing::{Modified, Precision};
use proptest::prelude::*;

use super::*;
use crate::time;

/// 2023-11-14 22:13:20 UTC.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn lines(mlsd: bool, text: &[u8]) -> Vec<Line> {
    let mut parser = Parser::new(mlsd, FtpEncoding::Utf8, now());
    let mut out = Vec::new();
    parser.push(text, &mut out).unwrap();
    parser.finish(&mut out).unwrap();
    out
}

/// The only entry of a listing.
fn one(text: &str) -> Entry {
    let mut lines = lines(false, text.as_bytes());
    assert_eq!(lines.len(), 1, "{text}: {lines:?}");
    lines.remove(0).into_entry().unwrap_or_else(|| panic!("{text} was not read"))
}

fn at(date: (i64, u32, u32), clock: (u32, u32, u32)) -> SystemTime {
    time::moment(date, clock).unwrap()
}

#[track_caller]
fn is(text: &str, name: &str, kind: EntryKind, size: Option<u64>, when: Option<Modified>) -> Entry {
    let entry = one(text);
    assert_eq!(entry.name(), name, "{text}");
    assert_eq!((entry.kind, entry.size), (kind, size), "{text}");
    assert_eq!(entry.modified, when, "{text}");
    entry
}

fn day(year: i64, month: u32, day: u32) -> Option<Modified> {
    Some(Modified::local(at((year, month, day), (0, 0, 0)), Precision::Day))
}

fn minute(date: (i64, u32, u32), hour: u32, minute: u32) -> Option<Modified> {
    Some(Modified::local(at(date, (hour, minute, 0)), Precision::Minute))
}

fn second(date: (i64, u32, u32), clock: (u32, u32, u32)) -> Option<Modified> {
    Some(Modified::local(at(date, clock), Precision::Second))
}

use EntryKind::{Directory, File, Link, Other};

/// biomaj 1, 2, 7, 8, 10.
#[test]
fn biomaj_1_lines_of_unix() {
    let entry = is(
        "-rw-r--r--    1 1001     users        1234 Feb 03  2019 a file.txt",
        "a file.txt",
        File,
        Some(1234),
        day(2019, 2, 3),
    );
    assert_eq!(entry.permissions().as_deref(), Some("-rw-r--r--"));
    assert_eq!((entry.owner.as_deref(), entry.group.as_deref()), (Some("1001"), Some("users")));
    let entry =
        is("drwxr-xr-x 2 root 4096 Oct 11 10:49 bin", "bin", Directory, None, minute((2023, 10, 11), 10, 49));
    assert_eq!((entry.owner.as_deref(), entry.group.as_deref()), (None, Some("root")), "biomaj 2");
    let entry = is("lrwxrwxrwx 1 a b 10 Jan 01  2020 lnk -> target/x", "lnk", Link, None, day(2020, 1, 1));
    assert_eq!(entry.target.as_deref(), Some(&b"target/x"[..]), "biomaj 8");
    for mark in ["+", ".", "@"] {
        let line = format!("-rwsr-x--T{mark} 1 a b 5 Jan 01  2020 f");
        assert_eq!(is(&line, "f", File, Some(5), day(2020, 1, 1)).mode, Some(0o5750), "biomaj 10");
    }
    is("-rw-r--r-- 1 a b 5 2015-01-31 10:00 f", "f", File, Some(5), minute((2015, 1, 31), 10, 0));
    is(
        "-rw-r--r-- 1 a b 5 2015-01-31 10:00:01.000000000 +0100 f",
        "f",
        File,
        Some(5),
        second((2015, 1, 31), (10, 0, 1)),
    );
    is("-rw-r--r-- 1 a b 5 31 Jan 2015 f", "f", File, Some(5), day(2015, 1, 31));
    is("  1234  8 -rw-r--r-- 1 a b 5 Jan 31  2015 f", "f", File, Some(5), day(2015, 1, 31));
    is("crw-rw-rw- 1 root root 1, 3 Jan 31  2015 null", "null", Other, None, day(2015, 1, 31));
    is("-rw-r--r-- 1 a domain users 5 Jan 31  2015 f", "f", File, Some(5), day(2015, 1, 31));
    is("-rw-r--r-- 1 a b 5 Jan 31  2015  two blanks ", " two blanks ", File, Some(5), day(2015, 1, 31));
    is("-rw-r--r-- 1 a b 5 Jan 31  2015 Jan 31  2015", "Jan 31  2015", File, Some(5), day(2015, 1, 31));
    is("-r-------- a 5 Jan 31  2015 f", "f", File, Some(5), day(2015, 1, 31));
    is(
        "d [R----F--] supervisor 512 Jan 16 18:53 login",
        "login",
        Directory,
        None,
        minute((2023, 1, 16), 18, 53),
    );
    is(
        "- [RWCEAFMS] rhesus 214059 Oct 20 15:27 cx.exe",
        "cx.exe",
        File,
        Some(214_059),
        minute((2023, 10, 20), 15, 27),
    );
    is("drwxrwx--- None 2 a 512 Jan 16  2020 d", "d", Directory, None, day(2020, 1, 16));
}

/// biomaj 3, 4: the year of a time without one.
#[test]
fn biomaj_3_the_year_that_is_not_told() {
    let when = |text: &str| one(&format!("-rw-r--r-- 1 a b 5 {text} f")).modified.unwrap().time;
    assert_eq!(when("Nov 14 22:13"), at((2023, 11, 14), (22, 13, 0)));
    // Two minutes ahead, and half a day, in another zone.
    assert_eq!(when("Nov 14 22:15"), at((2023, 11, 14), (22, 15, 0)));
    assert_eq!(when("Nov 15 11:00"), at((2023, 11, 15), (11, 0, 0)));
    assert_eq!(when("Nov 16 10:00"), at((2022, 11, 16), (10, 0, 0)));
    assert_eq!(when("Dec 31 23:59"), at((2022, 12, 31), (23, 59, 0)));
    assert_eq!(when("Feb 29 10:00"), at((2020, 2, 29), (10, 0, 0)));
}

/// biomaj 5, 6.
#[test]
fn biomaj_5_lines_of_windows() {
    is("10-23-12  03:25PM       <DIR>          X", "X", Directory, None, minute((2012, 10, 23), 15, 25));
    is(
        "07-17-2009  12:08AM                  0 empty file.txt",
        "empty file.txt",
        File,
        Some(0),
        minute((2009, 7, 17), 0, 8),
    );
    is("01-05-70  12:00PM 1,234,567 f", "f", File, Some(1_234_567), minute((1970, 1, 5), 12, 0));
    is("2015-01-31  23:59    12 f", "f", File, Some(12), minute((2015, 1, 31), 23, 59));
    let link = is("10-23-12 03:25 PM <SYMLINKD> l [C:\\x]", "l", Link, None, minute((2012, 10, 23), 15, 25));
    assert_eq!(link.target.as_deref(), Some(&b"C:\\x"[..]));
    is(
        "     0           DIR   04-11-95   16:26  ADDRESS",
        "ADDRESS",
        Directory,
        None,
        minute((1995, 4, 11), 16, 26),
    );
    is(
        " 36611      A    04-23-103   10:57  OS2 test1.file",
        "OS2 test1.file",
        File,
        Some(36_611),
        minute((2003, 4, 23), 10, 57),
    );
    is(
        "     512    Jan-01-1980    01:00:00   DIR1          <DIR>",
        "DIR1",
        Directory,
        None,
        second((1980, 1, 1), (1, 0, 0)),
    );
    is("     3    Jan-02-1980    01:00:00   f", "f", File, Some(3), second((1980, 1, 2), (1, 0, 0)));
}

#[test]
fn lines_of_other_families() {
    let eplf = is(
        "+i8388621.29609,m824255902,r,s280,up644,\tdjb.html",
        "djb.html",
        File,
        Some(280),
        Some(Modified::exactly(UNIX_EPOCH + Duration::from_secs(824_255_902), Precision::Second)),
    );
    assert_eq!(eplf.mode, Some(0o644));
    let vms = is(
        "CORE.DIR;1          1/3  8-SEP-1996 16:09:34  [GROUP,SYSTEM] (RWE,RWE,RE,RE)",
        "CORE",
        Directory,
        None,
        second((1996, 9, 8), (16, 9, 34)),
    );
    assert_eq!((vms.owner.as_deref(), vms.group.as_deref()), (Some("SYSTEM"), Some("GROUP")));
    let vms = is(
        "A-VERY-LONG-NAME.TXT;12\r\n   213  29-JAN-1996 03:33 [X] (RWED,RWED,RE,)",
        "A-VERY-LONG-NAME.TXT",
        File,
        Some(213 * 512),
        minute((1996, 1, 29), 3, 33),
    );
    assert!(vms.size_is_rounded);
    is(
        "PEP   36864 04/24/07 13:22:12 *FILE  ELECTIC.FILE",
        "ELECTIC.FILE",
        File,
        Some(36_864),
        second((2007, 4, 24), (13, 22, 12)),
    );
    is(
        "QSYS  77824 02/23/00 15:09:55 *DIR   QOpenSys/",
        "QOpenSys",
        Directory,
        None,
        second((2000, 2, 23), (15, 9, 55)),
    );
    is("PEP *MEM FILE.MBR", "FILE.MBR", File, None, None);
    let zos = "Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname\r\n\
               WYOSPT 3420   2003/05/21  1  200  FB      80  8053  PS  48-MVS.FILE\r\n\
               STRP   3390   2013/10/28  1   15  U     4096 27998  PO  LOAD.LIB\r\n\
               Migrated                                                'SYS1.OLD'\r\n";
    let names: Vec<_> =
        lines(false, zos.as_bytes()).into_iter().map(|line| line.into_entry().unwrap()).collect();
    assert_eq!(
        names.iter().map(|entry| entry.name().into_owned()).collect::<Vec<_>>(),
        ["48-MVS.FILE", "LOAD.LIB", "SYS1.OLD"]
    );
    assert_eq!((names[0].modified, names[1].kind), (day(2003, 5, 21), Directory));
    let members = " Name     VV.MM   Created       Changed      Size  Init   Mod   Id\n\
                    BBSPTP   01.15 2002/05/21 2002/06/03 14:26   12    11     0 USER\n\
                    TBTOOL\n";
    let names: Vec<_> =
        lines(false, members.as_bytes()).into_iter().map(|line| line.into_entry().unwrap()).collect();
    assert_eq!((names[0].name(), names[0].modified), ("BBSPTP".into(), minute((2002, 6, 3), 14, 26)));
    assert_eq!(names[1].name(), "TBTOOL");
    let tandem = "File         Code             EOF  Last Modification    Owner  RWEP\n\
                  IOPFILE       101            8704  24-Jul-03 09:53:22 255,255 \"oooo\"\n";
    is(tandem, "IOPFILE", File, Some(8704), second((2003, 7, 24), (9, 53, 22)));
}

/// biomaj 9: a sum is skipped, a line that cannot be read is told, and the others stay.
#[test]
fn biomaj_9_what_cannot_be_read_is_told() {
    let text = "total 23\r\n\
                drwxr-xr-x 2 a b 4096 Jan 01  2020 .\r\n\
                drwxr-xr-x 2 a b 4096 Jan 01  2020 ..\r\n\
                -rw-r--r-- 1 a b 5 Foo 99  2020 odd\r\n\
                \r\n\
                Welcome to this server\r\n\
                -rw-r--r-- 1 a b 5 Jan 01  2020 a/b\r\n\
                -rw-r--r-- 1 a b 5 Jan 01  2020 f";
    let read = lines(false, text.as_bytes());
    let unread = read.iter().filter(|line| matches!(line, Line::Unreadable(_))).count();
    assert_eq!((read.len(), unread), (4, 3), "{read:?}");
    assert_eq!(read[3].clone().into_entry().unwrap().name(), "f");
    let long = format!("-rw-r--r-- 1 a b 5 Jan 01  2020 {}\nx", "n".repeat(LONGEST_LINE));
    assert_eq!(lines(false, long.as_bytes()).len(), 2);
}

#[test]
fn lines_for_programs() {
    let text = "type=cdir;modify=20200101000000; .\r\n\
                type=pdir;modify=20200101000000; ..\r\n\
                Type=file;Size=1234;Modify=20190203040506;UNIX.mode=0644;UNIX.ownername=me;UNIX.groupname=us; a; b \r\n\
                type=dir;sizd=4096;modify=20190203040506.5;perm=flcdmpe; d\r\n\
                type=OS.unix=slink:/t;size=2; l\r\n\
                type=OS.unix=chr-1/3; null\r\n \
                bare\r\n\
                what is this\r\n";
    let lines = lines(true, text.as_bytes());
    assert_eq!(lines.len(), 6, "{lines:?}");
    let entry = |index: usize| lines[index].clone().into_entry().unwrap();
    let file = entry(0);
    assert_eq!(
        (file.name(), file.kind, file.size, file.mode),
        ("a; b ".into(), File, Some(1234), Some(0o644))
    );
    assert_eq!(file.modified, Some(Modified::exactly(at((2019, 2, 3), (4, 5, 6)), Precision::Second)));
    assert_eq!((file.owner.as_deref(), file.group.as_deref()), (Some("me"), Some("us")));
    assert_eq!((entry(1).kind, entry(1).modified.unwrap().precision), (Directory, Precision::Exact));
    assert_eq!((entry(2).kind, entry(2).target.as_deref()), (Link, Some(&b"/t"[..])));
    assert_eq!((entry(3).kind, entry(4).name()), (Other, "bare".into()));
    assert!(matches!(lines[5], Line::Unreadable(_)));
}

#[test]
fn names_in_latin_1_have_their_text_and_their_bytes() {
    let mut parser = Parser::new(false, FtpEncoding::Latin1, now());
    let mut out = Vec::new();
    parser.push(b"-rw-r--r-- 1 a b 5 Jan 01  2020 caf\xe9\n", &mut out).unwrap();
    let entry = out.remove(0).into_entry().unwrap();
    assert_eq!(
        (entry.name(), entry.raw_name(), entry.reference()),
        ("café".into(), &b"caf\xe9"[..], "caf%E9".into())
    );
}

/// What suppaftp's parser reads of a line, ours reads alike.
#[test]
fn suppaftp_reads_the_same() {
    use suppaftp::list::ListParser;
    for line in [
        "-rw-rw-r-- 1 root  dialout  8192 Nov 5 2018 omar.txt",
        "drwxrwxr-x 1 0  9  4096 Nov 5 2018 docs",
        "lrwxrwxrwx 1 root root 5 Nov 5 2018 l -> docs",
    ] {
        let (ours, theirs) = (one(line), ListParser::parse_posix(line).unwrap());
        assert_eq!(
            (ours.name().as_ref(), ours.kind == Directory),
            (theirs.name(), theirs.is_directory()),
            "{line}"
        );
        assert_eq!(ours.modified.unwrap().time, theirs.modified(), "{line}");
        assert!(ours.kind != File || ours.size == Some(theirs.size() as u64), "{line}");
    }
    let line = "04-08-14  03:09PM                 403   readme.txt";
    let (ours, theirs) = (one(line), ListParser::parse_dos(line).unwrap());
    assert_eq!((ours.size, ours.modified.unwrap().time), (Some(theirs.size() as u64), theirs.modified()));
}

proptest! {
    #[test]
    fn the_same_bytes_in_other_pieces(text in "([-drwx]{1,10}|[0-9]{1,4}|Jan|[:/;=,+ \t\r\n]|[a-z]{1,3}|<DIR>|20:15){0,60}",
        cut in 0usize..200, mlsd: bool) {
        let whole = lines(mlsd, text.as_bytes());
        let mut parser = Parser::new(mlsd, FtpEncoding::Utf8, now());
        let mut out = Vec::new();
        let (first, second) = text.as_bytes().split_at(cut.min(text.len()));
        parser.push(first, &mut out).unwrap();
        parser.push(second, &mut out).unwrap();
        parser.finish(&mut out).unwrap();
        prop_assert_eq!(out, whole);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..300), mlsd: bool) {
        let count = text.iter().filter(|byte| **byte == b'\n').count() + 2;
        prop_assert!(lines(mlsd, &text).len() <= count);
    }

    #[test]
    fn every_name_survives_a_line_of_unix(name in "[^/\r\n\0]{1,20}", size: u32) {
        prop_assume!(!matches!(name.as_str(), "." | "..") && !name.contains(" -> "));
        let entry = one(&format!("-rw-r--r--    1 a        b        {size:>12} Jan 01  2020 {name}\n"));
        prop_assert_eq!(entry.raw_name(), name.as_bytes());
        prop_assert_eq!(entry.size, Some(u64::from(size)));
    }
}
