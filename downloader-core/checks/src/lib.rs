//! Checks of what a content is, for [`Request::check`](downloader_core::Request::check): its media type, the size of an
//! image, whether an archive is whole, whether a page came in its place.
//!
//! They are validators like those of anybody else, on the traits of `downloader-core` alone, in a crate of their own
//! because of what they bring: decoders, one of them in C. All of them read bytes while they pass, hold a bounded part
//! of them, and write none anywhere.
//!
//! ```
//! use downloader_checks::{ArchiveTest, ImageSize, MediaType, NotHtml};
//! use downloader_core::Request;
//! # fn f() -> downloader_core::Result<()> {
//! let archive = Request::get("https://example.org/a.tar.gz")?.check(NotHtml).check(ArchiveTest::named("a.tar.gz"));
//! let picture = Request::get("https://example.org/a")?.check(MediaType::parse("image/*")?).check(ImageSize::new());
//! # Ok(()) }
//! ```

pub mod archive;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod html;
mod image;
mod media_type;
mod pattern;
mod prefix;
mod sniff;

pub use self::archive::{ArchiveKind, ArchiveTest, Compression, Limits};
pub use self::html::NotHtml;
pub use self::image::ImageSize;
pub use self::media_type::MediaType;
pub use self::sniff::sniff;
