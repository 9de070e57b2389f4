//! Images of each kind, whole, cut, in any pieces, and what is none.

use proptest::prelude::*;

use super::*;

pub(crate) fn png_of(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bytes.extend(width.to_be_bytes());
    bytes.extend(height.to_be_bytes());
    bytes.extend(b"\x08\x06\0\0\0\0\0\0\0rest of it");
    bytes
}

fn jpeg_of(width: u16, height: u16, profile: usize) -> Vec<u8> {
    let mut bytes = b"\xff\xd8".to_vec();
    let mut left = profile;
    while left > 0 {
        let piece = left.min(60_000);
        bytes.extend(b"\xff\xe2");
        bytes.extend((piece as u16 + 2).to_be_bytes());
        // Looks like a frame, and is none.
        bytes.extend(b"\xff\xc0\0\x11\x08\0\x01\0\x01".iter().cycle().take(piece));
        left -= piece;
    }
    bytes.extend(b"\xff\xff\xc2\0\x11\x08");
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend(b"\x03\x01\x22\0 and so on");
    bytes
}

fn webp_of(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = b"RIFF\x40\0\0\0WEBPVP8 \x30\0\0\0\x10\0\0\x9d\x01\x2a".to_vec();
    bytes.extend(width.to_le_bytes());
    bytes.extend(height.to_le_bytes());
    bytes.extend([0; 40]);
    bytes
}

fn avif_of(width: u32, height: u32) -> Vec<u8> {
    fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes(), &name[..], content].concat()
    }
    let size = boxed(b"ispe", &[&[0; 4], &width.to_be_bytes()[..], &height.to_be_bytes()].concat());
    let properties = boxed(b"iprp", &boxed(b"ipco", &size));
    let meta = boxed(b"meta", &[&[0; 4], &properties[..]].concat());
    [boxed(b"ftyp", b"avif\0\0\0\0avifmif1"), meta, boxed(b"mdat", &[7; 100])].concat()
}

fn run(rule: &ImageSize, content: &[u8], pieces: usize) -> Result<Evidence> {
    let mut check = rule.start();
    for chunk in content.chunks(pieces) {
        check.update(chunk)?;
    }
    check.finish()
}

fn measured(content: &[u8]) -> String {
    let whole = run(&ImageSize::new(), content, content.len().max(1)).unwrap();
    assert_eq!(&*whole.check, "image-size");
    whole.value.into()
}

// skroutz 54.
#[test]
fn images_are_measured() {
    assert_eq!(measured(&png_of(10, 10)), "10x10");
    assert_eq!(measured(&jpeg_of(420, 315, 0)), "420x315");
    assert_eq!(measured(&jpeg_of(420, 315, 3_000_000)), "420x315");
    assert_eq!(measured(b"GIF89a\x01\x02\x03\x00\0\0\0"), "513x3");
    assert_eq!(measured(&webp_of(640, 480)), "640x480");
    assert_eq!(measured(&avif_of(1204, 800)), "1204x800");
}

// skroutz 55.
#[test]
fn what_is_no_image_of_these_kinds_has_no_size_and_passes() {
    for content in [&b"BM\x36\0\0\0\0\0\0\0\x36\0\0\0"[..], b"%PDF-1.4\n", b"", b"x", b"\xff\xd8"] {
        assert_eq!(measured(content), "");
    }
}

// skroutz 56.
#[test]
fn a_header_that_is_cut_or_wrong_is_refused() {
    let images = [png_of(10, 10)[..20].to_vec(), jpeg_of(4, 3, 100)[..50].to_vec(), b"GIF89a\x01".to_vec()];
    let wrong = [
        png_of(0, 10),
        jpeg_of(0, 3, 9),
        b"\xff\xd8\xff\xd9 and twelve".to_vec(),
        webp_of(1, 1)[..14].to_vec(),
    ];
    for content in images.iter().chain(&wrong) {
        for pieces in [1, 1000] {
            let error = run(&ImageSize::new(), content, pieces).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Refused, "{content:x?}");
            assert_eq!(error.what(), "image size: the header of the image cannot be read");
        }
    }
}

#[test]
fn limits_are_kept_and_want_an_image() {
    let rule = ImageSize::new().within(10..=20, 1..=10);
    assert_eq!(&*run(&rule, &png_of(10, 10), 5).unwrap().value, "10x10");
    let error = run(&rule, &png_of(21, 10), 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert_eq!(error.what(), "image size: expected 10–20 by 1–10 pixels, found 21x10");
    let error = run(&rule, b"%PDF-1.4\n padding", 5).unwrap_err();
    assert!(error.what().ends_with("found no image whose size can be read"), "{error}");
}

#[test]
fn only_a_bounded_beginning_is_held() {
    let mut endless = avif_of(1, 1)[..24].to_vec();
    endless.extend(b"\x7f\xff\xff\xfffree");
    let mut check = ImageSize::new().start();
    check.update(&endless).unwrap();
    let refused = (0..).map(|_| check.update(&[0; 4096])).take(WINDOW / 4096 + 1).find_map(Result::err);
    assert_eq!(refused.unwrap().kind(), ErrorKind::Refused);
}

proptest! {
    #[test]
    fn pieces_do_not_matter(kind in 0..5usize, pieces in 1usize..50, cut in any::<proptest::sample::Index>()) {
        let content = [png_of(7, 8), jpeg_of(9, 10, 700), b"GIF87a\x05\0\x06\0rest".to_vec(), webp_of(3, 4), avif_of(5, 6)];
        let content = &content[kind];
        let content = &content[..cut.index(content.len() + 1)];
        let whole = run(&ImageSize::new(), content, content.len().max(1)).map(|found| found.value).map_err(|error| error.to_string());
        let split = run(&ImageSize::new(), content, pieces).map(|found| found.value).map_err(|error| error.to_string());
        prop_assert_eq!(whole, split);
    }
}
