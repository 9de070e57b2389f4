//! Files and directories over a session of libssh2.
//!
//! Invariant: as of the other transport: a byte stands at its own offset, and the last piece is given away only when the
//! file is still the one it was. Must not know: threads, connections.

use std::ffi::OsStr;
use std::io::{ErrorKind as Io, Read as _, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use bytes::Bytes;
use downloader_core::listing::EntryEncoder;
use downloader_core::{Error, ErrorKind, Result};
use ssh2::{FileStat, OpenFlags, OpenType};

use super::session::{Session, fault};
use super::{Head, Work, is_current, range_of};
use crate::error::Stage;
use crate::listing::describe;
use crate::open::{entity_of, require_file};
use crate::protocol::{Attributes, Kind, Name};

/// Most bytes read at a time: the library reads ahead four times as far.
const PIECE: u64 = 1 << 20;

/// Bytes read first, then twice as many each time: what came within the read that a cut ends is lost, so that it is never more than what came
/// before. The library asks for no more in one request.
const FIRST_PIECE: u64 = 30_000;

/// Entries that are handed on together.
const ENTRIES: u64 = 128;

/// Reads a file.
pub(super) fn file(session: &Session, work: &mut Work) -> Result<()> {
    let path = Path::new(OsStr::from_bytes(&work.path));
    let opened = session.sftp.open_mode(path, OpenFlags::READ, 0, OpenType::File);
    let mut file = opened.map_err(|error| fault(&error, Stage::Head))?;
    let told = attributes(&file.stat().map_err(|error| fault(&error, Stage::Head))?);
    require_file(&told)?;
    let entity = entity_of(&told);
    let range = range_of(&work.fetch, &entity);
    let is_over = is_current(&work.fetch, &entity) || range.is_empty();
    if !work.tell(Ok(Head::File(told))) || is_over {
        return Ok(());
    }
    let mut at = range.start;
    file.seek(SeekFrom::Start(at)).map_err(|error| broken(error, at))?;
    let mut most = FIRST_PIECE;
    loop {
        let left = range.end.map_or(most, |end| (end - at).min(most));
        most = (most * 2).min(PIECE);
        // At most PIECE, which is a usize.
        let mut piece = vec![0; left as usize];
        let length = file.read(&mut piece).map_err(|error| broken(error, at))?;
        if length == 0 {
            if range.end.is_some() {
                let what = "the file became shorter while it was read";
                return Err(Error::new(ErrorKind::Truncated, what).with_offset(at));
            }
            return Ok(());
        }
        piece.truncate(length);
        let is_last = range.end == Some(at + length as u64);
        if is_last {
            let now = attributes(&file.stat().map_err(|error| fault(&error, Stage::Body))?);
            if (now.size, now.modified) != (told.size, told.modified) {
                return Err(Error::new(ErrorKind::Changed, "the file was written to while it was read")
                    .with_offset(at));
            }
        }
        at += length as u64;
        if !work.send(Ok(Bytes::from(piece))) || is_last {
            return Ok(());
        }
    }
}

/// Lists a directory.
pub(super) fn directory(session: &Session, work: &mut Work) -> Result<()> {
    let path = Path::new(OsStr::from_bytes(&work.path)).to_owned();
    let mut names = session.sftp.opendir(&path).map_err(|error| fault(&error, Stage::Head))?;
    if !work.tell(Ok(Head::Directory)) {
        return Ok(());
    }
    let mut encoder = EntryEncoder::new();
    loop {
        let (name, stat) = match names.readdir() {
            Ok(entry) => entry,
            // The library's word for the end.
            Err(error) if error.code() == ssh2::ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_FILE) => break,
            Err(error) => return Err(fault(&error, Stage::Body)),
        };
        let told = attributes(&stat);
        let target = (told.kind() == Some(Kind::Link)).then(|| session.sftp.readlink(&path.join(&name)).ok());
        let target = target.flatten().map(|target| target.as_os_str().as_bytes().to_vec());
        let name = Name { name: Bytes::copy_from_slice(name.as_os_str().as_bytes()), attributes: told };
        describe(&name, target, &mut encoder);
        if encoder.count().is_multiple_of(ENTRIES) && !encoder.is_empty() && !work.send(Ok(encoder.take())) {
            return Ok(());
        }
    }
    encoder.end();
    work.send(Ok(encoder.take()));
    Ok(())
}

fn attributes(stat: &FileStat) -> Attributes {
    Attributes {
        size: stat.size,
        owner: stat.uid.zip(stat.gid),
        permissions: stat.perm,
        // 32 bits on the wire.
        modified: stat.mtime.and_then(|time| u32::try_from(time).ok()),
    }
}

fn broken(error: std::io::Error, at: u64) -> Error {
    let kind = if error.kind() == Io::TimedOut {
        ErrorKind::Timeout(downloader_core::Phase::Idle)
    } else {
        ErrorKind::Truncated
    };
    Error::new(kind, "connection broke within the content").with_source(error).with_offset(at)
}
