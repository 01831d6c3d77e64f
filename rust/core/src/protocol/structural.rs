//! Skipping a JSON object or array: where does it end? Knows strings and brackets, and nothing else of JSON.
//!
//! 64 bytes at a time: bit masks of quotes and brackets, made here or, where the processor has AVX2 or more, in `structural_x86`;
//! what is done with them is in `structural_scan`.
#![allow(clippy::inline_always)] // Without it the callee is compiled without the processor features of `structural_x86`.

use wide::u8x64;

pub(crate) use super::structural_scan::MOST_COMMAS;
use super::structural_scan::{BLOCK, Masks, commas_with, container_end_with};
#[cfg(target_arch = "x86_64")]
use super::structural_x86;

/// The offset after the bracket that closes the one at `start`; `None` when the document ends before it.
///
/// `{`/`[` and `}`/`]` are not told apart: that is the caller's check on the last byte, and the decoder's on the rest.
#[inline]
pub(crate) fn container_end(document: &[u8], start: usize) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(end) = structural_x86::container_end(document, start) {
        return end;
    }
    container_end_with(document, start, portable)
}

/// The offset of the bracket that closes the one at `start`, and into `commas` those of the commas between its members,
/// up to one more than [`MOST_COMMAS`];
/// `None` when the document ends before it.
pub(crate) fn members(document: &[u8], start: usize, commas: &mut Vec<usize>) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if let Some(end) = structural_x86::members(document, start, commas) {
        return end;
    }
    commas_with(document, start, |block| (portable(block), portable_commas(block)), commas)
}

/// The commas of a block, on any processor.
#[inline(always)]
fn portable_commas(block: &[u8; BLOCK]) -> u64 {
    u8x64::new(*block).simd_eq(u8x64::splat(b',')).to_bitmask()
}

/// The masks of a block, on any processor.
#[inline(always)]
fn portable(block: &[u8; BLOCK]) -> Masks {
    let bytes = u8x64::new(*block);
    // `[` and `{`, `]` and `}` differ in this bit only.
    let folded = bytes | u8x64::splat(0x20);
    Masks {
        quotes: bytes.simd_eq(u8x64::splat(b'"')).to_bitmask(),
        backslashes: bytes.simd_eq(u8x64::splat(b'\\')).to_bitmask(),
        opens: folded.simd_eq(u8x64::splat(b'{')).to_bitmask(),
        closes: folded.simd_eq(u8x64::splat(b'}')).to_bitmask(),
    }
}

#[cfg(test)]
mod tests {
    use super::{commas_with, container_end, container_end_with, members, portable, portable_commas};
    use proptest::prelude::*;

    /// The same question, asked byte by byte.
    fn plain(document: &[u8]) -> Option<usize> {
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for (position, &byte) in document.iter().enumerate() {
            if escaped {
                // Outside strings a backslash is no JSON; it still escapes, here as there.
                escaped = false;
                if byte == b'"' || byte == b'\\' {
                    continue;
                }
            }
            match byte {
                b'\\' => escaped = true,
                b'"' => in_string = !in_string,
                b'{' | b'[' if !in_string => depth += 1,
                b'}' | b']' if !in_string => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(position + 1);
                    }
                }
                _ => {}
            }
        }
        None
    }

    /// The commas of the container at the beginning, byte by byte, and where it ends.
    fn plain_members(document: &[u8]) -> Option<(Vec<usize>, usize)> {
        let end = plain(document)? - 1;
        let commas = (1..end).filter(|&at| {
            // What stands before it leaves one container open, and no string.
            let closed = [&document[..at], b"]"].concat();
            document[at] == b',' && plain(&closed) == Some(closed.len())
        });
        Some((commas.collect(), end))
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn members_agree_with_a_byte_scanner(inside in r#"([,"a\[\]{}]|\\"|,{20}|a{30}){0,60}"#) {
            let document = format!("{{{inside}");
            let mut commas = Vec::new();
            let end = members(document.as_bytes(), 0, &mut commas);
            prop_assert_eq!(end.map(|end| (commas.clone(), end)), plain_members(document.as_bytes()));
            let mut others = Vec::new();
            let masks = |block: &_| (portable(block), portable_commas(block));
            prop_assert_eq!(end, commas_with(document.as_bytes(), 0, masks, &mut others));
            prop_assert_eq!(commas, others);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_a_byte_scanner(inside in r#"[\\"\[\]{}a ]{0,300}"#) {
            let document = format!("{{{inside}");
            prop_assert_eq!(container_end(document.as_bytes(), 0), plain(document.as_bytes()));
        }

        #[test]
        fn portable_and_special_masks_agree(inside in prop::collection::vec(any::<u8>(), 0..300)) {
            let document = [b"{", &*inside].concat();
            prop_assert_eq!(container_end(&document, 0), container_end_with(&document, 0, portable));
        }

        #[test]
        fn agrees_where_strings_are_long(strings in prop::collection::vec(r#"(\\\\|\\"|[\]}a]){0,150}"#, 0..8)) {
            let document = format!("{{\"{}\"}} ", strings.join("\",[\"\"],\""));
            prop_assert_eq!(container_end(document.as_bytes(), 0), Some(document.len() - 1));
            prop_assert_eq!(plain(document.as_bytes()), Some(document.len() - 1));
        }
    }
}
