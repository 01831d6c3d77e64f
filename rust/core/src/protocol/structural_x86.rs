//! The masks of `structural` by what the processor has: with AVX2 32 bytes at a time, which halves the cost of a scan; with
//! AVX-512 a block is one register, and a comparison gives its mask.
//!
//! The one module of the engine with `unsafe`: calling code for a processor feature needs it, after the
//! look whether the feature is there.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8,
    _mm512_cmpeq_epi8_mask, _mm512_loadu_si512, _mm512_or_si512, _mm512_set1_epi8,
};

use super::structural_scan::{BLOCK, Masks, commas_with, container_end_with};

/// What `structural::container_end` gives; the outer `None`: this processor has neither.
#[allow(clippy::option_option)] // Two questions, two answers.
#[inline]
pub(super) fn container_end(document: &[u8], start: usize) -> Option<Option<usize>> {
    if has_avx512() {
        // SAFETY: the processor has AVX-512.
        return Some(unsafe { end_avx512(document, start) });
    }
    // SAFETY: the processor has AVX2.
    has_avx2().then(|| unsafe { end_avx2(document, start) })
}

/// What `structural::members` gives; the outer `None`: this processor has neither.
#[allow(clippy::option_option)] // Two questions, two answers.
#[inline]
pub(super) fn members(document: &[u8], start: usize, commas: &mut Vec<usize>) -> Option<Option<usize>> {
    if has_avx512() {
        // SAFETY: the processor has AVX-512.
        return Some(unsafe { members_avx512(document, start, commas) });
    }
    // SAFETY: the processor has AVX2.
    has_avx2().then(|| unsafe { members_avx2(document, start, commas) })
}

// The answers are cached by the standard library: a load and a test each.

#[inline]
fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") && has_avx2()
}

#[inline]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("lzcnt")
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,popcnt,lzcnt")]
fn end_avx512(document: &[u8], start: usize) -> Option<usize> {
    container_end_with(document, start, |block| masks_avx512(whole(block)))
}

#[target_feature(enable = "avx512f,avx512bw,avx2,bmi1,bmi2,popcnt,lzcnt")]
fn members_avx512(document: &[u8], start: usize, commas: &mut Vec<usize>) -> Option<usize> {
    let masks = |block: &_| (masks_avx512(whole(block)), find_avx512(whole(block), b','));
    commas_with(document, start, masks, commas)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn masks_avx512(bytes: __m512i) -> Masks {
    let folded = _mm512_or_si512(bytes, _mm512_set1_epi8(0x20));
    Masks {
        quotes: find_avx512(bytes, b'"'),
        backslashes: find_avx512(bytes, b'\\'),
        opens: find_avx512(folded, b'{'),
        closes: find_avx512(folded, b'}'),
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn whole(block: &[u8; BLOCK]) -> __m512i {
    // SAFETY: a block is 64 bytes; the load asks for no alignment.
    unsafe { _mm512_loadu_si512(block.as_ptr().cast()) }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn find_avx512(bytes: __m512i, byte: u8) -> u64 {
    _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(byte.cast_signed()))
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn members_avx2(document: &[u8], start: usize, commas: &mut Vec<usize>) -> Option<usize> {
    commas_with(document, start, |block| (masks_avx2(block), find_avx2(halves(block), b',')), commas)
}

#[target_feature(enable = "avx2,bmi1,bmi2,popcnt,lzcnt")]
fn end_avx2(document: &[u8], start: usize) -> Option<usize> {
    container_end_with(document, start, |block| masks_avx2(block))
}

#[target_feature(enable = "avx2")]
#[inline]
fn masks_avx2(block: &[u8; BLOCK]) -> Masks {
    let (low, high) = halves(block);
    let fold = _mm256_set1_epi8(0x20);
    let folded = (_mm256_or_si256(low, fold), _mm256_or_si256(high, fold));
    Masks {
        quotes: find_avx2((low, high), b'"'),
        backslashes: find_avx2((low, high), b'\\'),
        opens: find_avx2(folded, b'{'),
        closes: find_avx2(folded, b'}'),
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn halves(block: &[u8; BLOCK]) -> (__m256i, __m256i) {
    let half = |offset: usize| -> __m256i {
        // SAFETY: offset is 0 or 32, so the 32 bytes lie in the block; the load asks for no alignment.
        unsafe { _mm256_loadu_si256(block.as_ptr().add(offset).cast()) }
    };
    (half(0), half(BLOCK / 2))
}

#[target_feature(enable = "avx2")]
#[inline]
fn find_avx2((low, high): (__m256i, __m256i), byte: u8) -> u64 {
    let byte = _mm256_set1_epi8(byte.cast_signed());
    let low = _mm256_movemask_epi8(_mm256_cmpeq_epi8(low, byte)).cast_unsigned();
    let high = _mm256_movemask_epi8(_mm256_cmpeq_epi8(high, byte)).cast_unsigned();
    u64::from(low) | u64::from(high) << 32
}

#[cfg(test)]
mod tests {
    use super::{end_avx2, end_avx512, has_avx2, has_avx512, members_avx2, members_avx512};
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        /// What a processor with both never asks of AVX2.
        #[test]
        fn both_agree(inside in r#"([,"a\[\]{}]|\\"|,{20}|a{30}){0,60}"#) {
            if !(has_avx512() && has_avx2()) {
                return Ok(());
            }
            let document = format!("{{{inside}");
            let (mut commas, mut others) = (Vec::new(), Vec::new());
            // SAFETY: the processor has both.
            let (new, old) = unsafe { (end_avx512(document.as_bytes(), 0), end_avx2(document.as_bytes(), 0)) };
            prop_assert_eq!(new, old);
            // SAFETY: the processor has both.
            let (new, old) = unsafe {
                (members_avx512(document.as_bytes(), 0, &mut commas), members_avx2(document.as_bytes(), 0, &mut others))
            };
            prop_assert_eq!((new, commas), (old, others));
        }
    }
}
