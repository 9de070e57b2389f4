//! Tests of metalinks: what is read, what is ignored, and what becomes of it. Documents are written out here.

use proptest::prelude::*;

use super::*;
use crate::entity::Entity;
use crate::mirrors::{LAST, MAX_LIST, MOST_URLS};

const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
const OTHER: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn fedora() -> String {
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<metalink version="3.0" xmlns="http://www.metalinker.org/" type="dynamic" xmlns:mm0="http://fedorahosted.org/mirrormanager">
 <files>
  <file name="repomd.xml">
   <mm0:timestamp>1736500000</mm0:timestamp>
   <size>5</size>
   <verification>
    <hash type="md5">5d41402abc4b2a76b9719d911017c592</hash>
    <hash type="sha256">{SHA256}</hash>
    <hash>00</hash>
    <hash type="whirlpool">00</hash>
    <pieces length="2" type="sha256"><hash piece="0" type="sha256">{OTHER}</hash></pieces>
   </verification>
   <mm0:alternates>
    <mm0:alternate>
     <mm0:timestamp>1736400000</mm0:timestamp>
     <size>4</size>
     <verification><hash type="sha256">{OTHER}</hash></verification>
    </mm0:alternate>
    <mm0:alternate><size>3</size></mm0:alternate>
   </mm0:alternates>
   <resources maxconnections="1">
    <url protocol="http" type="http" location="DE" preference="99">http://b.example/x/repomd.xml?a=1&amp;b=2</url>
    <url protocol="rsync" type="rsync" location="DE" preference="100">rsync://r.example/x/repomd.xml</url>
    <url type="http" preference="101"><![CDATA[http://d.example/repomd.xml]]></url>
    <url type="http" preference="100">
      http://a.example/repomd.xml
    </url>
    <url type="bittorrent" preference="100">http://t.example/x.torrent</url>
    <url type="file">file:///etc/passwd</url>
    <odd:url xmlns:odd="urn:odd"><size>9</size>http://odd.example/</odd:url>
   </resources>
  </file>
 </files>
</metalink>
"#
    )
}

fn read(document: &str) -> Metalink {
    Metalink::parse(document.as_bytes(), &Allowed::only(["http", "https"])).unwrap()
}

fn refused(document: &[u8]) -> Error {
    Metalink::parse(document, &Allowed::only(["http"])).unwrap_err()
}

fn v4(content: &str) -> String {
    format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"f\">{content}</file></metalink>"
    )
}

// pulp H7: metalink v3 with alternates.
#[test]
fn version_3_as_fedora_serves_it() {
    let metalink = read(&fedora());
    let file = metalink.file("repomd.xml").unwrap();
    assert_eq!(
        (metalink.files.len(), file.current.size, file.current.timestamp),
        (1, Some(5), Some(1_736_500_000))
    );
    let algorithms: Vec<_> = file.current.digests.iter().map(|(algorithm, _)| *algorithm).collect();
    assert_eq!(algorithms, [Algorithm::Md5, Algorithm::Sha256]);
    assert_eq!(file.alternates.len(), 2);
    assert_eq!((file.alternates[0].size, file.alternates[0].timestamp), (Some(4), Some(1_736_400_000)));
    let mirrors: Vec<_> =
        file.mirrors.iter().map(|mirror| (mirror.url.expose().as_str(), mirror.priority)).collect();
    assert_eq!(
        mirrors,
        [
            ("http://a.example/repomd.xml", 0),
            ("http://b.example/x/repomd.xml?a=1&b=2", 1),
            ("http://d.example/repomd.xml", LAST)
        ]
    );
    assert_eq!(file.mirrors[1].location.as_deref(), Some("DE"));
    for told in [
        "digest without a type",
        "`whirlpool`",
        "`rsync`",
        "0 to 100",
        "`bittorrent`",
        "scheme file",
        "`url` is not known",
    ] {
        let found = metalink.warnings.iter().filter(|warning| warning.contains(told)).count();
        assert_eq!(found, 1, "{told}: {:#?}", metalink.warnings);
    }
    assert_eq!(metalink.warnings.len(), 7, "{:#?}", metalink.warnings);
}

// pulp H7: v4 with priority.
#[test]
fn version_4_orders_by_priority() {
    let document = v4(&format!(
        "<identity>x</identity><size>5</size><hash type=\"sha-256\">{SHA256}</hash>\
         <pieces length=\"2\" type=\"sha-256\"><hash>{OTHER}</hash></pieces><metaurl>http://t/x</metaurl>\
         <url>http://none/</url><url priority=\"2\" location=\"se\">http://two/</url><url priority=\"0\">http://odd/</url>\
         <url priority=\"1\">http://one/</url><url priority=\"999999\">https://last/</url><new/>"
    ));
    let metalink = read(&document);
    let file = &metalink.files[0];
    let mirrors: Vec<_> =
        file.mirrors.iter().map(|mirror| (mirror.url.host().unwrap(), mirror.priority)).collect();
    assert_eq!(mirrors, [("one", 0), ("two", 1), ("none", 999_998), ("odd", 999_998), ("last", 999_998)]);
    assert_eq!((file.current.size, file.current.digests.len()), (Some(5), 1));
    assert_eq!(metalink.warnings.len(), 2, "{:#?}", metalink.warnings);
}

#[test]
fn a_prefix_is_as_good_as_none() {
    let document = "<m:metalink xmlns:m='urn:ietf:params:xml:ns:metalink'><m:file name='f'><m:url>http://h/f</m:url>\
                    <url>http://foreign/</url></m:file></m:metalink>";
    let metalink = read(document);
    assert_eq!(metalink.files[0].mirrors.len(), 1);
    assert_eq!(metalink.warnings.len(), 1);
}

#[test]
fn a_request_asks_for_one_of_the_versions() {
    let metalink = read(&fedora());
    let mut file = metalink.files[0].clone();
    let check = |file: &MetalinkFile, content: &[u8]| -> Result<()> {
        let request = file.request().unwrap();
        let url = "http://h/f".parse().unwrap();
        for validator in &request.validators {
            let entity = Entity::sized(content.len() as u64);
            validator.admit(&Head { url: &url, entity: &entity, media_type: None })?;
            let mut check = validator.start();
            check.update(content)?;
            check.finish()?;
        }
        Ok(())
    };
    assert!(check(&file, b"hello").is_ok() && check(&file, b"test").is_ok());
    for (wrong, size) in [(&b"hellO"[..], false), (b"tesT", false), (b"abc", true), (b"hello!", true)] {
        let error = check(&file, wrong).unwrap_err();
        assert_eq!(
            (error.kind(), error.what().starts_with("size: ")),
            (ErrorKind::Integrity, size),
            "{error}"
        );
    }
    file.alternates.clear();
    assert!(check(&file, b"hello").is_ok() && check(&file, b"test").is_err());
    assert_eq!(file.request().unwrap().size, Some(5));
    file.mirrors.clear();
    assert_eq!(file.request().unwrap_err().kind(), ErrorKind::Input);
}

#[test]
fn without_a_digest_of_the_current_version_alternates_do_not_count() {
    let mut file = read(&fedora()).files[0].clone();
    file.current.digests.clear();
    assert!(file.digest().is_none());
    assert_eq!(file.request().unwrap().size, Some(5));
}

#[test]
fn names_are_for_finding_and_harmless_on_disk() {
    let document = v4("").replace("\"f\"", "\"../../etc/passwd\"");
    let metalink = read(&document);
    let file = metalink.file("../../etc/passwd").unwrap();
    assert_eq!(file.file_name().unwrap().as_str(), "passwd");
}

#[test]
fn what_is_malformed_is_told_with_its_place() {
    for (document, at, told) in [
        (&b"<metalink xmlns='http://www.metalinker.org/'><files></metalink>"[..], 52, "not well-formed"),
        (b"<metalink xmlns='http://www.metalinker.org/'><files>", 52, "ends within"),
        (b"", 0, "ends within"),
        (b"no XML at all", 13, "ends within"),
        (b"<html xmlns='http://www.w3.org/1999/xhtml'/>", 0, "expected `metalink`"),
        (b"<metalink/>", 0, "expected `metalink`"),
        (b"<metalink xmlns='urn:ietf:params:xml:ns:metalink'>&nbsp;</metalink>", 50, "`nbsp`"),
        (
            b"<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name=x/></metalink>",
            50,
            "not well-formed",
        ),
        (b"<metalink \xff", 10, "not UTF-8"),
    ] {
        let text = String::from_utf8_lossy(document);
        let error = refused(document);
        assert_eq!(error.kind(), ErrorKind::Input, "{text}: {error}");
        assert!(error.what().contains(told), "{text}: {error}");
        assert_eq!(error.offset(), Some(at), "{text}: {error}");
    }
}

#[test]
fn everything_is_bounded() {
    let deep = v4(&format!("{}{}", "<x>".repeat(40), "</x>".repeat(40)));
    assert!(refused(deep.as_bytes()).what().contains("nested deeper"));
    assert!(refused(&vec![b' '; MAX_LIST + 1]).what().contains("at most"));
    let many = v4(&"<url>http://h/</url>".repeat(MOST_URLS + 5));
    let metalink = read(&many);
    assert_eq!((metalink.files[0].mirrors.len(), metalink.warnings.len()), (MOST_URLS, 1));
    // Entities of the document's own are not expanded.
    let laughs = format!("<!DOCTYPE l [<!ENTITY a \"http://h/\">]>{}", v4("<url>&a;</url>"));
    assert!(refused(laughs.as_bytes()).what().contains("not defined"));
}

#[test]
fn digests_that_cannot_be_right_are_ignored_and_told() {
    let metalink = read(&v4("<hash type='sha-256'>12</hash><size>-1</size><url>http://h/</url>"));
    let file = &metalink.files[0];
    assert!(file.current.digests.is_empty() && file.current.size.is_none());
    assert_eq!(metalink.warnings.len(), 2, "{:?}", metalink.warnings);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>) {
        let _ = Metalink::parse(&bytes, &Allowed::only(["http"]));
    }

    #[test]
    fn no_changed_document_makes_it_panic(at: prop::sample::Index, cut: prop::sample::Index, with in "[<>&\"'/a-z ]{0,6}") {
        let mut document = fedora();
        let (at, cut) = (at.index(document.len()), cut.index(80));
        // The document is ASCII.
        document.replace_range(at..(at + cut).min(fedora().len()), &with);
        if let Ok(metalink) = Metalink::parse(document.as_bytes(), &Allowed::only(["http"])) {
            for file in &metalink.files {
                prop_assert!(file.mirrors.iter().all(|mirror| mirror.url.scheme() == "http"));
                prop_assert!(file.mirrors.is_sorted_by_key(|mirror| mirror.priority));
                let _ = file.request();
            }
        }
    }
}
