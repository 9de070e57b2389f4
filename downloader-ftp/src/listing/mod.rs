//! stub
use downloader_core::listing::{Line, ListingParser};
use downloader_core::Result;
use super::options::FtpEncoding;
pub(crate) fn parser(_mlsd: bool, _encoding: FtpEncoding) -> Box<dyn ListingParser> { Box::new(Stub) }
struct Stub;
impl ListingParser for Stub {
    fn push(&mut self, _: &[u8], _: &mut Vec<Line>) -> Result<()> { Ok(()) }
    fn finish(&mut self, _: &mut Vec<Line>) -> Result<()> { Ok(()) }
}
