//! Tests of the file writer: a file that gets its name from the reply.

use super::*;

fn name(suggested: &str) -> FileName {
    FileName::sanitize(suggested).unwrap()
}

impl Place {
    fn naming(&self) -> (FileWriter, crate::write::Place) {
        FileWriter::in_directory(self.0.path(), "fallback")
    }

    /// Brings in a file under this name, if there is one.
    async fn bring(
        &self,
        writer: &mut FileWriter,
        suggested: Option<&str>,
        content: &'static [u8],
    ) -> Result<()> {
        writer.held().await?;
        if let Some(suggested) = suggested {
            writer.suggest(&name(suggested));
        }
        writer.begin(&origin(Some(content.len() as u64))).await?;
        writer.write(0, Bytes::from_static(content)).await?;
        writer.commit().await
    }
}

#[tokio::test]
async fn the_reply_names_the_file_and_else_it_is_the_fallback() {
    let place = Place::new();
    let (mut writer, there) = place.naming();
    assert_eq!((there.path(), writer.path()), (None, &*place.0.path().join("fallback")));
    writer.suggest(&name("a.iso"));
    writer.begin(&origin(Some(4))).await.unwrap();
    assert!(place.names()[0].starts_with(".fallback."), "{:?}", place.names());
    assert_eq!(there.path(), None, "not before it is there");
    writer.write(0, bytes(0..4)).await.unwrap();
    writer.commit().await.unwrap();
    assert_eq!(there.path(), Some(&*place.0.path().join("a.iso")));
    let (mut writer, there) = place.naming();
    place.bring(&mut writer, None, b"other").await.unwrap();
    assert_eq!(there.path(), Some(&*place.0.path().join("fallback")));
    assert_eq!(place.names(), ["a.iso", "fallback"]);
}

#[tokio::test]
async fn the_reply_of_the_last_run_counts() {
    let place = Place::new();
    let (mut writer, there) = place.naming();
    writer.suggest(&name("first"));
    writer.begin(&origin(None)).await.unwrap();
    writer.write(0, bytes(0..4)).await.unwrap();
    writer.discard().await.unwrap();
    place.bring(&mut writer, Some("second"), b"x").await.unwrap();
    assert_eq!((place.names(), there.taken()), (vec!["second".to_owned()], None));
}

/// What a stranger names is never replaced, unless the caller says so; it shows before any byte, and at the end.
#[tokio::test]
async fn what_is_there_stays_unless_told_otherwise() {
    for (clobber, kind) in [
        (None, Some(ErrorKind::Local)),
        (Some(Clobber::Fail), Some(ErrorKind::Local)),
        (Some(Clobber::Skip), Some(ErrorKind::Refused)),
        (Some(Clobber::Replace), None),
    ] {
        for late in [false, true] {
            let place = Place::new();
            let precious = place.0.path().join("precious");
            let (writer, there) = place.naming();
            let mut writer = clobber.into_iter().fold(writer, FileWriter::clobber);
            if !late {
                fs::write(&precious, "old").unwrap();
            }
            writer.held().await.unwrap();
            writer.suggest(&name("precious"));
            let begun = writer.begin(&origin(Some(3))).await;
            if late {
                begun.clone().unwrap();
                writer.write(0, Bytes::from_static(b"new")).await.unwrap();
                fs::write(&precious, "old").unwrap();
            }
            let ended = if late { writer.commit().await } else { begun };
            assert_eq!(ended.as_ref().err().map(Error::kind), kind, "{clobber:?} {late}");
            if let Err(error) = ended {
                assert!(error.what().contains("precious exists already"), "{error}");
                assert_eq!(there.taken(), Some(&*precious));
                assert_eq!(fs::read(&precious).unwrap(), b"old");
                drop(writer);
                assert_eq!(place.names(), ["precious"]);
            } else if late {
                assert_eq!(fs::read(&precious).unwrap(), b"new");
            }
        }
    }
}

/// A partial is found again by the fallback, whatever the reply will call the file.
#[tokio::test]
async fn a_partial_is_kept_under_the_fallback() {
    let place = Place::new();
    let (writer, _) = place.naming();
    let mut writer = writer.keep_partial(true);
    writer.held().await.unwrap();
    writer.suggest(&name("a.iso"));
    writer.begin(&origin(Some(4 * MIB))).await.unwrap();
    writer.write(0, bytes(0..2 * MIB)).await.unwrap();
    drop(writer);
    assert_eq!(place.names(), [".fallback.part", ".fallback.part.checkpoint"]);
    let (writer, there) = place.naming();
    let mut writer = writer.keep_partial(true);
    let held = writer.held().await.unwrap();
    assert_eq!(held.ranges.total(), 2 * MIB);
    writer.suggest(&name("b.iso"));
    writer.begin(&origin(Some(4 * MIB))).await.unwrap();
    writer.write(2 * MIB, bytes(2 * MIB..4 * MIB)).await.unwrap();
    writer.commit().await.unwrap();
    assert!(fs::read(there.path().unwrap()).unwrap() == bytes(0..4 * MIB));
    assert_eq!(place.names(), ["b.iso"]);
}

/// A link that somebody put there under the name is replaced or stays, and is never followed.
#[tokio::test]
async fn a_link_under_the_name_is_not_followed() {
    let (place, outside) = (Place::new(), Place::new());
    symlink(outside.target(), place.0.path().join("a")).unwrap();
    let (mut writer, _) = place.naming();
    let error = place.bring(&mut writer, Some("a"), b"x").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Local);
    let (writer, _) = place.naming();
    place.bring(&mut writer.clobber(Clobber::Replace), Some("a"), b"x").await.unwrap();
    assert!(outside.names().is_empty() && fs::read(place.0.path().join("a")).unwrap() == b"x");
}
