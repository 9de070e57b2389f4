//! Digests as they are written in fields: base64, or hexadecimal.
//!
//! Invariant: what is decoded has exactly the length that its algorithm gives. Must not know: fields.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// RFC 9651 §4.2.7: neither missing padding nor bits set behind the end are a reason to refuse.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// `length` bytes in base64.
pub(super) fn base64(text: &[u8], length: usize) -> Option<Vec<u8>> {
    // Longer than any digest of this length can be written: not decoded at all.
    if text.len() > length.div_ceil(3) * 4 {
        return None;
    }
    BASE64.decode(text).ok().filter(|bytes| bytes.len() == length)
}

/// `length` bytes in hexadecimal of either case.
pub(super) fn hexadecimal(text: &[u8], length: usize) -> Option<Vec<u8>> {
    if text.len() != 2 * length {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// Bytes in lower-case hexadecimal.
pub(super) fn to_hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(digit.into(), 16));
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_and_bits_behind_the_end_do_not_matter_but_the_length_does() {
        assert_eq!(base64(b"AAEC/w==", 4), Some(vec![0, 1, 2, 255]));
        assert_eq!(base64(b"AAEC/w", 4), Some(vec![0, 1, 2, 255]));
        assert_eq!(base64(b"AAEC/x", 4), Some(vec![0, 1, 2, 255]));
        for bad in ["AAEC", "AAEC/wAA", "AAEC/w===", "AAEC_w==", "AAEC /w", "", "="] {
            assert_eq!(base64(bad.as_bytes(), 4), None, "{bad:?}");
        }
        assert_eq!(hexadecimal(b"0001fF", 3), Some(vec![0, 1, 255]));
        assert_eq!(hexadecimal(b"0001f", 3), None);
        assert_eq!(hexadecimal(b"0001fg", 3), None);
    }

    proptest! {
        #[test]
        fn what_is_decoded_has_its_length_and_nothing_panics(text: Vec<u8>, length in 0usize..70) {
            for decoded in [base64(&text, length), hexadecimal(&text, length)].into_iter().flatten() {
                prop_assert_eq!(decoded.len(), length);
            }
        }

        #[test]
        fn the_two_forms_of_a_digest_are_never_taken_for_each_other(bytes in proptest::collection::vec(any::<u8>(), 4..65)) {
            let hex = to_hexadecimal(&bytes);
            prop_assert_eq!(hexadecimal(hex.as_bytes(), bytes.len()), Some(bytes.clone()));
            prop_assert_eq!(base64(hex.as_bytes(), bytes.len()), None);
            let text = BASE64.encode(&bytes);
            prop_assert_eq!(base64(text.as_bytes(), bytes.len()), Some(bytes.clone()));
            prop_assert_eq!(hexadecimal(text.as_bytes(), bytes.len()), None);
        }
    }
}
